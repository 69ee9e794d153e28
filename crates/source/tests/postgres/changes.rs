//! The feed of changes, and being told of them.

use std::time::{Duration, Instant};

use tastemaker_source::{Feed, Notice, Postgres, State};
use tastemaker_types::Window;

use crate::common::{settings, shop, titled};

/// Reads until the round is over; ids in the order read.
async fn round(postgres: &Postgres, feed: &mut Feed, limit: usize) -> Vec<(String, State)> {
    let (mut next, mut read) = (Some(feed.begin()), Vec::new());
    while let Some(cursor) = next {
        let page = postgres.changes(&cursor, limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        next = feed.advance(&page);
        read.extend(page.rows.into_iter().map(|(id, known)| (id, known.state)));
    }
    read
}

#[tokio::test]
async fn every_row_comes_once_in_a_round_however_small_the_pages() {
    let (server, postgres) = shop("");
    // Many rows of the very same time, in no order of ids.
    server.sql(
        "INSERT INTO items (id, title, updated_at) SELECT md5(n::text), n::text, timestamptz '2026-01-01' + (n / 40) * interval '1 second'
         FROM generate_series(0, 199) AS n",
    );
    for limit in [1, 7, 40, 200, 1_000] {
        let mut ids: Vec<_> = round(&postgres, &mut Feed::new(None, Window::default()), limit)
            .await
            .into_iter()
            .map(|row| row.0)
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 200, "pages of {limit}");
    }
    let mut feed = Feed::new(None, Window::from_millis(1_000));
    assert_eq!(round(&postgres, &mut feed, 50).await.len(), 200);
    assert_eq!(round(&postgres, &mut feed, 50).await, [], "nothing changed since");
    server.sql("UPDATE items SET title = 'new', updated_at = clock_timestamp() WHERE id = md5('5')");
    let id = format!("{:x}", 0xe4da3b7fbbce2345d7772b0674a318d5_u128);
    assert_eq!(round(&postgres, &mut feed, 50).await, [(id, titled("new"))]);
}

#[tokio::test]
async fn a_transaction_that_ends_late_is_not_lost() {
    let (server, postgres) = shop("");
    let mut feed = Feed::new(None, Window::from_millis(20_000));
    server.sql("INSERT INTO items (id, title) VALUES ('before', 'A')");
    // It takes its time at its beginning, and ends two seconds later.
    let late = std::thread::spawn({
        let url = server.url("postgres");
        move || {
            let folder = std::env::var("TASTEMAKER_POSTGRES").unwrap();
            let sql = "INSERT INTO items (id, title, updated_at) VALUES ('late', 'L', now()); SELECT pg_sleep(2)";
            let status = std::process::Command::new(format!("{folder}/psql")).args([&url, "-q", "-c", sql]).output();
            assert!(status.unwrap().status.success());
        }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.sql("INSERT INTO items (id, title) VALUES ('after', 'B')");
    let ids = |rows: Vec<(String, State)>| rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(ids(round(&postgres, &mut feed, 10).await), ["before", "after"]);
    late.join().unwrap();
    assert_eq!(ids(round(&postgres, &mut feed, 10).await), ["before", "late", "after"]);
}

#[tokio::test]
async fn deleted_rows_come_as_absent_and_rows_of_the_future_hide_nothing() {
    let (server, postgres) = shop("deleted_column = \"deleted\"");
    server.sql("INSERT INTO items (id, title, updated_at) VALUES ('future', 'F', '2999-01-01'), ('a', 'A', now())");
    let mut feed = Feed::new(None, Window::from_millis(0));
    assert_eq!(round(&postgres, &mut feed, 1).await.len(), 2);
    server.sql("UPDATE items SET deleted = true, updated_at = clock_timestamp() WHERE id = 'a'");
    let rows = round(&postgres, &mut feed, 10).await;
    assert_eq!(rows, [("a".to_owned(), State::Absent), ("future".to_owned(), titled("F"))]);
}

#[tokio::test]
async fn integer_ids_are_paged_by_their_number() {
    let (server, _) = shop("");
    server.sql(
        "CREATE TABLE numbered (id bigint PRIMARY KEY, title text, price numeric, updated_at timestamp NOT NULL);
         INSERT INTO numbered SELECT n, n::text, NULL, '2026-01-01' FROM generate_series(-5, 20) AS n",
    );
    let postgres = Postgres::new(&settings(&server, crate::common::ATTRIBUTES, "table = \"numbered\"")).unwrap();
    let rows = round(&postgres, &mut Feed::new(None, Window::default()), 4).await;
    let ids: Vec<i64> = rows.iter().map(|row| row.0.parse().unwrap()).collect();
    assert_eq!(ids, (-5..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_notice_comes_within_a_second_and_a_lost_connection_is_told() {
    let (server, postgres) = shop("");
    let mut listener = postgres.listen("Items \"changed\"").await.unwrap();
    for (payload, notice) in [("a'b", Notice::Item("a'b".to_owned())), ("", Notice::Anything)] {
        let began = Instant::now();
        server.sql(&format!("SELECT pg_notify('Items \"changed\"', $q${payload}$q$)"));
        assert_eq!(listener.next().await.unwrap(), notice);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    assert!(matches!(listener.next().await, Ok(Notice::Lost) | Err(_)));
    let waiting = tokio::spawn(async move { listener.next().await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.sql("NOTIFY \"Items \"\"changed\"\"\", 'again'");
    assert_eq!(waiting.await.unwrap().unwrap(), Notice::Item("again".to_owned()));
}
