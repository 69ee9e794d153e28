//! Vectors like those of a factor model: a few hundred tastes, components of falling variance, norms with a heavy tail. Deterministic.

use std::path::Path;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tastemaker_store::index::FlatIndex;

pub(crate) struct Data {
    pub(crate) dim: usize,
    pub(crate) items: Vec<f32>,
    pub(crate) queries: Vec<f32>,
    /// Ten true neighbours of each query.
    pub(crate) truth: Vec<u32>,
    /// The taste of each item and of each query.
    pub(crate) item_tastes: Vec<u32>,
    pub(crate) query_tastes: Vec<u32>,
}

/// Clusters of items.
const TASTES: usize = 400;

pub(crate) fn generate(items: usize, queries: usize, dim: usize) -> Data {
    let mut rng = StdRng::seed_from_u64(42);
    let spread: Vec<f32> = (0..dim).map(|component| (1.0 + component as f32).powf(-0.4)).collect();
    let point = |rng: &mut StdRng| -> Vec<f32> { spread.iter().map(|spread| spread * normal(rng)).collect() };
    let centres: Vec<Vec<f32>> = (0..TASTES).map(|_| point(&mut rng)).collect();
    // Popular tastes have more items: the square of a uniform number.
    let taste = |rng: &mut StdRng| ((rng.random::<f32>().powi(2) * TASTES as f32) as usize).min(TASTES - 1);
    let mut data = Data {
        dim,
        items: Vec::with_capacity(items * dim),
        queries: Vec::with_capacity(queries * dim),
        truth: Vec::new(),
        item_tastes: Vec::new(),
        query_tastes: Vec::new(),
    };
    for _ in 0..items {
        let (centre, norm) = (taste(&mut rng), (0.5 * normal(&mut rng)).exp());
        let noise = point(&mut rng);
        data.items.extend(centres[centre].iter().zip(noise).map(|(centre, noise)| norm * (centre + 0.8 * noise)));
        data.item_tastes.push(centre as u32);
    }
    for _ in 0..queries {
        let (first, second) = (taste(&mut rng), taste(&mut rng));
        let (share, noise) = (rng.random_range(0.5..1.0), point(&mut rng));
        let mix = centres[first].iter().zip(&centres[second]).zip(noise);
        data.queries.extend(mix.map(|((a, b), noise)| share * a + (1.0 - share) * b + 0.5 * noise));
        data.query_tastes.push(first as u32);
    }
    let exact = FlatIndex::build(dim, data.items.clone(), None).unwrap();
    data.truth = super::truth(&exact, &data.queries);
    data
}

/// A standard normal number (Box & Muller 1958).
fn normal(rng: &mut StdRng) -> f32 {
    let (u, v): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

impl Data {
    pub(crate) fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        write("dim", self.dim.to_string().as_bytes());
        write("items.f32", bytemuck::cast_slice(&self.items));
        write("queries.f32", bytemuck::cast_slice(&self.queries));
        write("truth.u32", bytemuck::cast_slice(&self.truth));
        write("item_tastes.u32", bytemuck::cast_slice(&self.item_tastes));
        write("query_tastes.u32", bytemuck::cast_slice(&self.query_tastes));
    }

    /// Reads what [`write`](Self::write) wrote, or vectors from elsewhere in the same form.
    pub(crate) fn read(dir: &Path) -> Self {
        fn values<T: bytemuck::Pod>(dir: &Path, name: &str) -> Vec<T> {
            let bytes =
                std::fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{}: {error}", dir.join(name).display()));
            bytemuck::allocation::pod_collect_to_vec(&bytes)
        }
        Self {
            dim: std::fs::read_to_string(dir.join("dim")).unwrap().trim().parse().unwrap(),
            items: values(dir, "items.f32"),
            queries: values(dir, "queries.f32"),
            truth: values(dir, "truth.u32"),
            item_tastes: values(dir, "item_tastes.u32"),
            query_tastes: values(dir, "query_tastes.u32"),
        }
    }
}
