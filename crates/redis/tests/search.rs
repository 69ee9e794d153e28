//! Indexes, searches and written entities on a real Redis, in both protocols.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::redis_speaking;
use tastemaker_config::{RedisIndexConfig, RedisIndexKind, RedisProtocol, RedisVectorType};
use tastemaker_redis::search::{Filter, IndexSchema, Knn, Query, Returned};
use tastemaker_redis::{Client, ItemWrite, Items, Operation, RedisError, VectorFormat, Written};
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Position, Timestamp, Value};

const WRITE: Operation = Operation::repeatable("write");
const SEARCH: Operation = Operation::repeatable("search");

fn schema() -> AttributeSchema {
    AttributeSchema::new([
        ("category".to_owned(), AttributeType::Tag),
        ("price".to_owned(), AttributeType::Number),
        ("sortable".to_owned(), AttributeType::Tag),
        ("title".to_owned(), AttributeType::Text),
    ])
}

fn item(id: &str, position: u64, price: f64, vectors: Vec<(String, Vec<u8>)>) -> ItemWrite {
    let attributes = [("category".to_owned(), Value::Text("a".to_owned())), ("price".to_owned(), Value::Number(price))];
    ItemWrite::Upsert {
        id: id.to_owned(),
        position: Position(position),
        first_seen: Some(Timestamp::from_micros(5)),
        attributes: Attributes::from(attributes),
        replace: true,
        vectors,
    }
}

async fn make_index(client: &Client, generation: &str, format: VectorFormat, kind: RedisIndexKind) {
    let index = RedisIndexConfig { kind, vector_type: format.kind, ..RedisIndexConfig::default() };
    client.create_index(&IndexSchema { generation, format, attributes: &schema(), index: &index }).await.unwrap();
}

fn nearest(vector: Vec<u8>, returned: Returned) -> Query {
    Query::nearest("t:idx:items", Filter::all(), Knn { k: 10, vector, policy: None, ef_runtime: None }, returned)
}

#[tokio::test]
async fn the_nearest_are_found_with_their_fields_in_both_protocols_and_vector_types() {
    for protocol in [RedisProtocol::Resp2, RedisProtocol::Resp3] {
        for kind in [RedisVectorType::Float32, RedisVectorType::Float16] {
            let (_server, client) = redis_speaking(protocol);
            let format = VectorFormat { dimension: 2, kind };
            make_index(&client, "1", format, RedisIndexKind::Hnsw).await;
            // Made twice is made once.
            make_index(&client, "1", format, RedisIndexKind::Hnsw).await;
            client.point_alias("1").await.unwrap();
            let items = Items::new(client.clone(), schema());
            let vector = |x: [f32; 2]| vec![("1".to_owned(), format.item(&x, 5.0))];
            let writes = [
                item("käse 🎬:{x}", 1, 0.123_456_789_012_345_67, vector([0.5, 0.0])),
                item("b", 2, 2.0, vector([4.0, 3.0])),
                item("no vector", 3, 3.0, vec![]),
            ];
            assert_eq!(items.write(WRITE, &writes).await.unwrap(), [Written::Now; 3]);

            let query = format.query(&[1.0, 0.0]);
            let found = client.search(SEARCH, &nearest(query.clone(), Returned::Hash)).await.unwrap();
            assert_eq!(found.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b", "käse 🎬:{x}"]);
            let score = VectorFormat::inner_product(found.rows[0].distance.unwrap(), &[1.0, 0.0], 5.0);
            assert!((score - 4.0).abs() < 0.05, "{score}");
            assert_eq!(found.rows[1].field("price"), Some(&b"0.12345678901234566"[..]));

            let fields = Returned::Fields(vec!["category".to_owned(), "title".to_owned()]);
            let found = client.search(SEARCH, &nearest(query.clone(), fields)).await.unwrap();
            assert_eq!(found.rows[0].fields, [("category".to_owned(), b"a".to_vec())]);
            let found = client.search(SEARCH, &nearest(query, Returned::Ids)).await.unwrap();
            assert!(found.rows.iter().all(|row| row.fields.is_empty() && row.distance.is_some()));
            let counted = client.search(SEARCH, &Query::count("t:idx:items", Filter::all())).await.unwrap();
            assert_eq!((counted.total, counted.rows.len()), (3, 0));

            let info = client.index_info("t:idx:items").await.unwrap();
            assert_eq!((info.name.as_str(), info.documents, info.failures), ("t:idx:items:1", 3, 0));
            assert!(!info.indexing && info.vector_bytes > 0);
        }
    }
}

#[tokio::test]
async fn the_alias_goes_from_generation_to_generation_and_back() {
    let (_server, client) = redis_speaking(RedisProtocol::Resp3);
    let format = VectorFormat { dimension: 2, kind: RedisVectorType::Float32 };
    assert_eq!(client.serving_generation().await.unwrap(), None);
    let query = nearest(format.query(&[1.0, 0.0]), Returned::Ids);
    let missing = client.search(SEARCH, &query).await.unwrap_err();
    assert_eq!(missing, RedisError::NoIndex { index: "t:idx:items".to_owned() });
    assert_eq!(client.point_alias("7").await, Err(RedisError::NoIndex { index: "t:idx:items:7".to_owned() }));
    for generation in ["1", "2"] {
        make_index(&client, generation, format, RedisIndexKind::Flat).await;
    }
    let items = Items::new(client.clone(), schema());
    let vectors = |one: [f32; 2], two: [f32; 2]| {
        vec![("1".to_owned(), format.item(&one, 1.0)), ("2".to_owned(), format.item(&two, 1.0))]
    };
    let writes =
        [item("a", 1, 1.0, vectors([1.0, 0.0], [0.0, 1.0])), item("b", 2, 1.0, vectors([0.0, 1.0], [1.0, 0.0]))];
    items.write(WRITE, &writes).await.unwrap();
    for (generation, nearest) in [("1", "a"), ("2", "b"), ("1", "a")] {
        client.point_alias(generation).await.unwrap();
        assert_eq!(client.serving_generation().await.unwrap().as_deref(), Some(generation));
        assert_eq!(client.search(SEARCH, &query).await.unwrap().rows[0].id, nearest);
    }
    client.remove_alias().await.unwrap();
    client.remove_alias().await.unwrap();
    client.drop_index("1").await.unwrap();
    client.drop_index("1").await.unwrap();
    assert_eq!(client.indexes().await.unwrap(), ["t:idx:items:2"]);
    assert!(items.read(&["a"]).await.unwrap()[0].is_some(), "dropping an index leaves the hashes");
}
