//! Reads through the tier, counted in the log of the server.

use std::sync::Arc;
use std::time::Duration;

use tastemaker_source::{ReadThrough, State, TierOptions};
use tastemaker_testkit::PostgresServer;

use crate::common::{ATTRIBUTES, settings, shop, titled};

fn queries(server: &PostgresServer) -> usize {
    server.log().lines().filter(|line| line.contains("execute") && line.contains("= ANY ($1")).count()
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_are_one_query() {
    let (server, postgres) = shop("");
    server.sql("INSERT INTO items (id, title) SELECT n::text, 'item ' || n FROM generate_series(1, 400) AS n");
    let options = TierOptions::from(&settings(&server, ATTRIBUTES, "").source);
    let tier = Arc::new(ReadThrough::new(postgres, options));
    let ask = |ids: Vec<String>| {
        let tier = Arc::clone(&tier);
        tokio::spawn(async move { tier.get(&ids).await.unwrap() })
    };
    let asking: Vec<_> = (0..100).map(|_| ask(vec!["7".to_owned()])).collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap()[0].state, titled("item 7"));
    }
    assert_eq!(queries(&server), 1);

    // Different ids that are asked for together share queries, and a large request has as many as its batches.
    let asking: Vec<_> = (101..=200).map(|n: u32| ask(vec![n.to_string()])).collect();
    for (n, answer) in (101..).zip(asking) {
        assert_eq!(answer.await.unwrap()[0].state, titled(&format!("item {n}")));
    }
    assert!(queries(&server) <= 5, "{}", queries(&server));
    assert_eq!(tier.stats().misses, 200);
}

#[tokio::test]
async fn what_is_there_and_what_is_not_is_remembered_for_its_time() {
    let (server, postgres) = shop("");
    server.sql("INSERT INTO items (id, title) VALUES ('a', 'A')");
    let source = "ttl = \"600ms\"\nnegative_ttl = \"200ms\"";
    let tier = ReadThrough::new(postgres, TierOptions::from(&settings(&server, ATTRIBUTES, source).source));
    let ids = ["a".to_owned(), "b".to_owned()];
    for _ in 0..5 {
        let found = tier.get(&ids).await.unwrap();
        assert_eq!((&found[0].state, &found[1].state), (&titled("A"), &State::Absent));
    }
    assert_eq!(queries(&server), 1);
    let stats = tier.stats();
    assert_eq!((stats.hits, stats.negative_hits, stats.misses, stats.errors), (4, 4, 2, 0));

    server.sql("INSERT INTO items (id, title) VALUES ('b', 'B'); UPDATE items SET title = 'A2' WHERE id = 'a'");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let found = tier.get(&ids).await.unwrap();
    assert_eq!((&found[0].state, &found[1].state), (&titled("A"), &titled("B")), "the negative answer had its time");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(tier.get(&ids[..1]).await.unwrap()[0].state, titled("A2"));
    server.sql("UPDATE items SET title = 'A3' WHERE id = 'a'");
    tier.forget("a");
    assert_eq!(tier.get(&ids[..1]).await.unwrap()[0].state, titled("A3"));
}
