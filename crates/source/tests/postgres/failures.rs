//! A database that is away, slow, or back.

use std::time::{Duration, Instant};

use tastemaker_source::{Cursor, Postgres, ReadThrough, SourceError, TierOptions};
use tastemaker_types::Timestamp;

use crate::common::{ATTRIBUTES, fetch, settings, shop, titled};

const TIMEOUT: &str = "timeout = \"500ms\"";

#[tokio::test]
async fn a_killed_server_is_an_error_in_time_and_is_read_again_once_it_is_back() {
    let (mut server, postgres) = shop(TIMEOUT);
    server.sql("INSERT INTO items (id, title) VALUES ('a', 'A')");
    assert_eq!(fetch(&postgres, &["a"]).await.unwrap()[0].state, titled("A"));
    server.kill();
    for _ in 0..3 {
        let began = Instant::now();
        let error = fetch(&postgres, &["a"]).await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable(_) | SourceError::Timeout(_)), "{error}");
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    }
    server.restart();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fetch(&postgres, &["a"]).await {
            Ok(found) => break assert_eq!(found[0].state, titled("A")),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_frozen_server_holds_nobody_longer_than_the_timeout() {
    let (server, postgres) = shop(TIMEOUT);
    server.sql("INSERT INTO items (id, title) VALUES ('a', 'A')");
    fetch(&postgres, &["a"]).await.unwrap();
    let tier = ReadThrough::new(postgres, TierOptions::from(&settings(&server, ATTRIBUTES, TIMEOUT).source));
    server.freeze();
    let ask = async || {
        let began = Instant::now();
        (tier.get(&["a".to_owned()]).await, began.elapsed())
    };
    let (answer, took) = ask().await;
    assert!(matches!(answer, Err(SourceError::Timeout(_))), "{answer:?}");
    assert!(took < Duration::from_millis(900), "{took:?}");
    // The next ones do not even wait.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (answer, took) = ask().await;
    assert!(matches!(answer, Err(SourceError::Resting(_))), "{answer:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    server.thaw();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask().await.0.is_err() {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask().await.0.unwrap()[0].state, titled("A"));
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up_by_the_server_too() {
    let (server, _) = shop("");
    server.sql("CREATE VIEW slow AS SELECT id, title, price, updated_at FROM items, pg_sleep(30)");
    let postgres = Postgres::new(&settings(&server, ATTRIBUTES, &format!("table = \"slow\"\n{TIMEOUT}"))).unwrap();
    let cursor = Cursor { updated: Timestamp::EPOCH, id: None };
    server.sql("INSERT INTO items (id) VALUES ('a')");
    assert!(postgres.changes(&cursor, 10).await.is_err());
    tokio::time::sleep(Duration::from_millis(700)).await;
    let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tastemaker' AND state = 'active'";
    assert_eq!(server.sql(running), "0");
}

#[tokio::test]
async fn nothing_can_be_written_through_it() {
    let (server, _) = shop("");
    server.sql(
        "CREATE FUNCTION sly() RETURNS text LANGUAGE sql AS $$INSERT INTO items (id) VALUES ('sly') RETURNING id$$;
        CREATE VIEW items_sly AS SELECT sly() AS id, 'x' AS title, 1 AS price, now() AS updated_at",
    );
    let postgres = Postgres::new(&settings(&server, ATTRIBUTES, "table = \"items_sly\"")).unwrap();
    let error = fetch(&postgres, &["sly"]).await.unwrap_err();
    assert!(error.to_string().contains("read-only transaction"), "{error}");
    assert_eq!(server.sql("SELECT count(*) FROM items"), "0");
}
