//! Tests of the embedded indexes as a whole: the contract, recall under filters, files, and rebuilds.

use std::path::Path;

use proptest::prelude::*;

use super::{
    BuildOptions, FlatIndex, HnswIndex, IndexError, NO_ROW, Plan, PlannedIndex, SearchParams, VectorIndex,
    contract::{self, brute_force, recall, vectors},
};
use crate::Bitmap;

const DEFAULT: SearchParams = SearchParams { ef: None, exact: false };
const EXACT: SearchParams = SearchParams { ef: None, exact: true };

fn hnsw(dim: usize, items: Vec<f32>) -> HnswIndex {
    HnswIndex::build(dim, items, None, &BuildOptions::default()).unwrap()
}

fn planned(dim: usize, items: Vec<f32>) -> PlannedIndex {
    PlannedIndex::build(dim, items, None, &BuildOptions::default()).unwrap()
}

#[test]
fn the_flat_index_keeps_the_contract() {
    contract::check(|dim, items| FlatIndex::build(dim, items, None).unwrap());
}

#[test]
fn the_graph_index_keeps_the_contract() {
    contract::check(hnsw);
}

#[test]
fn the_planned_index_keeps_the_contract() {
    contract::check(planned);
}

#[test]
fn recall_holds_at_every_share_of_passing_rows() {
    const ITEMS: u32 = 20_000;
    let (items, tastes) = vectors(ITEMS as usize, 32, 1);
    let (queries, query_tastes) = vectors(50, 32, 2);
    let index = planned(32, items);
    for (one_in, plans) in [(1, "graph"), (2, ""), (20, "scan"), (200, "scan"), (2000, "scan")] {
        for kind in ["random", "near", "far"] {
            let mut found = 0.0;
            for (query, &taste) in queries.chunks_exact(32).zip(&query_tastes) {
                let wanted = (ITEMS / one_in) as usize;
                let distance = |row: u32| (tastes[row as usize] + 20 - taste) % 20;
                let mut rows: Vec<u32> = (0..ITEMS).collect();
                match kind {
                    "random" => rows.sort_by_key(|row| row.wrapping_mul(2_654_435_761)),
                    "near" => rows.sort_by_key(|&row| distance(row)),
                    _ => rows.sort_by_key(|&row| std::cmp::Reverse(distance(row))),
                }
                let filter = Bitmap::from_rows(ITEMS as usize, rows.into_iter().take(wanted));
                let filter = (one_in > 1).then_some(&filter);
                let truth = index.search(query, 10, filter, &EXACT).unwrap().hits;
                let truth: Vec<u32> = truth.iter().map(|hit| hit.row).collect();
                let hits = index.search(query, 10, filter, &DEFAULT).unwrap();
                assert!(hits.plan.name().contains(plans), "{one_in}: {:?}", hits.plan);
                found += recall(&hits.hits, &truth) / 50.0;
            }
            assert!(found >= 0.97, "one in {one_in} passing, {kind}: recall@10 is {found}");
        }
    }
}

#[test]
fn a_filter_that_passes_nothing_near_the_query_still_finds_what_passes() {
    // Two directions; the filter passes the one that the query does not look at.
    let mut items = vec![0.0; 20_000 * 4];
    for (row, vector) in items.chunks_exact_mut(4).enumerate() {
        let along = 1.0 + (row / 2) as f32 / 1e4;
        vector.copy_from_slice(if row % 2 == 0 { &[1.0, 0.0, 0.0, 0.1] } else { &[-1.0, 0.0, 0.1, 0.0] });
        vector.iter_mut().for_each(|x| *x *= along);
    }
    let filter = Bitmap::from_rows(20_000, (0..20_000).filter(|row| row % 2 == 1));
    let query = [1.0, 0.0, 0.0, 0.0];
    let truth = brute_force(&items, &query, 10, |row| filter.contains(row));
    let hits = planned(4, items).search(&query, 10, Some(&filter), &DEFAULT).unwrap();
    assert!(recall(&hits.hits, &truth) >= 0.97, "{:?}", hits.plan);
}

#[test]
fn a_file_answers_like_the_index_it_was_saved_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let (items, _) = vectors(2000, 20, 1);
    let index = planned(20, items.clone());
    index.save(&path).unwrap();
    let same = PlannedIndex::load(&path, None).unwrap();
    let flat = FlatIndex::load(&path, None).unwrap();
    // Positions map to rows: reversed, every tenth without a row.
    let rows: Vec<u32> = (0..2000).map(|position| if position % 10 == 0 { NO_ROW } else { 5000 - position }).collect();
    let mapped = PlannedIndex::load(&path, Some(rows.clone())).unwrap();
    assert_eq!((same.len(), flat.len(), mapped.len()), (2000, 2000, 1800));
    assert_eq!(mapped.vector(4999).as_deref(), Some(&items[20..40]));
    assert_eq!(mapped.vector(5000), None);
    for query in vectors(20, 20, 2).0.chunks_exact(20) {
        let hits = index.search(query, 10, None, &DEFAULT).unwrap();
        assert_eq!(same.search(query, 10, None, &DEFAULT).unwrap(), hits);
        let exact = index.search(query, 10, None, &EXACT).unwrap().hits;
        assert_eq!(flat.search(query, 10, None, &DEFAULT).unwrap().hits, exact);
        let truth: Vec<u32> =
            brute_force(&items, query, 10, |row| row % 10 != 0).iter().map(|row| 5000 - row).collect();
        let found = mapped.search(query, 10, None, &DEFAULT).unwrap().hits;
        assert!(found.iter().all(|hit| (hit.row % 10 != 0) && hit.row <= 5000));
        assert!(recall(&found, &truth) > 0.89);
    }
}

#[test]
fn an_index_saves_its_changes_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let flat = FlatIndex::build(2, vec![1.0; 40], None).unwrap();
    let graph = hnsw(2, vec![1.0; 40]);
    for index in [&flat as &dyn VectorIndex, &graph] {
        index.upsert(100, &[2.0, 3.0]).unwrap();
        index.delete(5).unwrap();
        index.save(&path).unwrap();
        let loaded = FlatIndex::load(&path, None).unwrap();
        assert_eq!((loaded.len(), loaded.vector(100), loaded.vector(5)), (20, Some(vec![2.0, 3.0]), None));
    }
}

#[test]
fn a_rebuild_keeps_every_row_and_what_changes_meanwhile() {
    let (items, _) = vectors(1000, 8, 1);
    let index = planned(8, items.clone());
    for row in 0..200 {
        index.upsert(2000 + row, &[row as f32; 8]).unwrap();
        index.delete(row).unwrap();
    }
    assert_eq!(index.pending(), 200);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(index.rebuild().unwrap()));
        for row in 0..50 {
            index.upsert(3000 + row, &[1e3; 8]).unwrap();
            index.delete(2000 + row).unwrap();
        }
    });
    assert!(index.pending() <= 50);
    assert_eq!(index.len(), 1000 - 200 + 150 + 50);
    for (row, expected) in [(0, None), (2000, None), (2199, Some(199.0)), (3049, Some(1e3))] {
        assert_eq!(index.vector(row), expected.map(|x| vec![x; 8]), "row {row}");
    }
    assert_eq!(index.vector(500).as_deref(), Some(&items[4000..4008]));
    assert_eq!(index.search(&[1.0; 8], 1000, None, &DEFAULT).unwrap().hits.len(), 1000);
}

#[test]
fn deleted_rows_are_walked_through_and_not_returned() {
    let (items, _) = vectors(5000, 16, 1);
    let index = hnsw(16, items.clone());
    for row in (0..5000).filter(|row| row % 3 == 0) {
        index.delete(row).unwrap();
    }
    let mut found = 0.0;
    for query in vectors(50, 16, 2).0.chunks_exact(16) {
        let hits = index.search(query, 10, None, &DEFAULT).unwrap();
        assert_eq!(hits.plan, Plan::Graph);
        found += recall(&hits.hits, &brute_force(&items, query, 10, |row| row % 3 != 0)) / 50.0;
    }
    assert!(found >= 0.97, "recall@10 is {found}");
}

#[test]
fn vectors_and_rows_that_make_no_index_are_refused() {
    let build = |items: Vec<f32>, rows: Option<Vec<u32>>| PlannedIndex::build(2, items, rows, &BuildOptions::default());
    assert!(matches!(build(vec![1.0; 3], None), Err(IndexError::Shape { values: 3, dim: 2 })));
    assert!(matches!(build(vec![f32::NAN; 2], None), Err(IndexError::Component { .. })));
    assert!(matches!(build(vec![1.0; 4], Some(vec![7, 7])), Err(IndexError::DuplicateRow { row: 7 })));
    assert!(matches!(build(vec![1.0; 4], Some(vec![7])), Err(IndexError::RowMap { position: 1, mapped: 1 })));
    assert!(matches!(build(vec![1.0; 2], Some(vec![super::MAX_ROWS])), Err(IndexError::OutOfRange { .. })));
    let options = BuildOptions { neighbours: 1, ..BuildOptions::default() };
    assert!(matches!(HnswIndex::build(2, vec![1.0; 4], None, &options), Err(IndexError::OutOfRange { .. })));
    assert!(matches!(FlatIndex::build(0, Vec::new(), None), Err(IndexError::OutOfRange { .. })));
}

fn saved(path: &Path) -> Vec<u8> {
    planned(6, vectors(300, 6, 1).0).save(path).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn files_of_another_kind_or_format_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let bytes = saved(&path);
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        PlannedIndex::load(&path, None).map(|_| ())
    };
    assert!(matches!(load(b""), Err(IndexError::NotAnIndex { .. })));
    assert!(matches!(load(&[b'x'; 9000]), Err(IndexError::NotAnIndex { .. })));
    let mut newer = bytes.clone();
    newer[8] = 9;
    assert!(matches!(load(&newer), Err(IndexError::Version { found: 9, .. })));
    assert!(matches!(load(&bytes[..bytes.len() - 4096]), Err(IndexError::Corrupt { .. })));
    load(&bytes).unwrap();
    FlatIndex::build(2, vec![1.0; 4], None).unwrap().save(&path).unwrap();
    assert!(matches!(HnswIndex::load(&path, None), Err(IndexError::Corrupt { .. })), "there is no graph in it");
    let missing = PlannedIndex::load(&dir.path().join("missing"), None);
    assert!(matches!(missing, Err(IndexError::Io { .. })));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let bytes = saved(&path);
    for len in (0..bytes.len() - 4096).step_by(509) {
        std::fs::write(&path, &bytes[..len]).unwrap();
        assert!(PlannedIndex::load(&path, None).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn a_neighbour_out_of_bounds_is_refused_even_under_a_right_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = hnsw(4, vectors(100, 4, 1).0);
    let snapshot = index.live.snapshot();
    let (vectors, mut shape) = (&snapshot.base.vectors, Vec::new());
    let sections = snapshot.base.graph.sections(&mut shape);
    let mut links: Vec<u32> = bytemuck::allocation::pod_collect_to_vec(sections[1].1);
    links[17] = 100;
    let mut forged = sections.clone();
    forged[1].1 = bytemuck::cast_slice(&links);
    super::storage::save(&path, vectors, &forged).unwrap();
    assert!(matches!(HnswIndex::load(&path, None), Err(IndexError::Corrupt { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_flipped_byte_is_refused_or_without_effect(places in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let intact = saved(&path);
        let mut bytes = intact.clone();
        for (place, flip) in places {
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(index) = PlannedIndex::load(&path, None) {
            // Only padding may change unnoticed.
            prop_assert_eq!(index.search(&[1.0; 6], 300, None, &DEFAULT).unwrap().hits.len(), 300);
        }
    }
}
