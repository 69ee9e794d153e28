//! Reading by id: types, odd ids, odd names.

use tastemaker_source::{Postgres, State};
use tastemaker_testkit::PostgresServer;
use tastemaker_types::{Timestamp, Value};

use crate::common::{fetch, present, settings, shop, titled};

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[tokio::test]
async fn every_type_is_read_as_the_attribute_that_it_is_declared_as() {
    let server = PostgresServer::start();
    server.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad');
         CREATE DOMAIN money_amount AS numeric(10, 2);
         CREATE TABLE items (id text PRIMARY KEY, updated_at timestamp,
           plain text, short varchar(9), padded char(5), mood mood, code uuid, shelf smallint,
           genres text[], moods mood[], amount money_amount, price numeric, stock bigint, weight real, ratio double precision, sold boolean,
           at timestamptz, local timestamp, day date);
         INSERT INTO items VALUES ('all', '2026-01-02 03:04:05.678901',
           'käse', 'kurz', 'ab', 'glad', '00000000-0000-0000-0000-0000000000ff', 7,
           '{b,NULL,a,b}', '{sad,glad}', 9.50, 1e3, 9007199254740992, 0.5, 1e-3, true,
           '2026-01-02T03:04:05.678901+02', '2026-01-02T03:04:05.678901', '1970-01-02');
         INSERT INTO items (id) VALUES ('none');
         INSERT INTO items (id, genres, at, day) VALUES ('edges', '{{a,b},{c,d}}', 'infinity', '9999-12-31');
         INSERT INTO items (id, price) VALUES ('nan', 'NaN'), ('vast', '1e400'::numeric);
         INSERT INTO items (id, plain) VALUES ('long', repeat('x', 65537)), ('longest', repeat('x', 65536));",
    );
    let attributes = "[items.attributes]\nplain = \"text\"\nshort = \"tag\"\npadded = \"tag\"\nmood = \"tag\"\ncode = \"tag\"\nshelf = \"tag\"
        genres = \"tags\"\nmoods = \"tags\"\namount = \"number\"\nprice = \"number\"\nstock = \"number\"\nweight = \"number\"\nratio = \"number\"
        sold = \"bool\"\nat = \"time\"\nlocal = \"time\"\nday = \"time\"";
    let postgres = Postgres::new(&settings(&server, attributes, "")).unwrap();
    let found = fetch(&postgres, &["all", "none", "edges", "nan", "vast", "long", "longest", "missing"]).await.unwrap();
    let time = |text: &str| Value::Time(text.parse::<Timestamp>().unwrap());
    let tags = |tags: &[&str]| Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
    assert_eq!(
        found[0].state,
        present(&[
            ("plain", text("käse")),
            ("short", text("kurz")),
            ("padded", text("ab")),
            ("mood", text("glad")),
            ("code", text("00000000-0000-0000-0000-0000000000ff")),
            ("shelf", text("7")),
            ("genres", tags(&["a", "b"])),
            ("moods", tags(&["glad", "sad"])),
            ("amount", Value::Number(9.5)),
            ("price", Value::Number(1_000.0)),
            ("stock", Value::Number(9_007_199_254_740_992.0)),
            ("weight", Value::Number(0.5)),
            ("ratio", Value::Number(0.001)),
            ("sold", Value::Bool(true)),
            ("at", time("2026-01-02T01:04:05.678901Z")),
            ("local", time("2026-01-02T03:04:05.678901Z")),
            ("day", time("1970-01-02")),
        ])
    );
    assert_eq!(found[0].updated, Some("2026-01-02T03:04:05.678901Z".parse().unwrap()));
    assert_eq!(found[1].state, present(&[]), "NULL is absent");
    assert_eq!(found[1].updated, None);
    assert_eq!(found[2].state, present(&[("genres", tags(&["a", "b", "c", "d"]))]), "no such time is absent");
    for (place, word) in [(3, "finite"), (4, "finite"), (5, "too large")] {
        let State::Refused(reason) = &found[place].state else { panic!("{:?}", found[place]) };
        assert!(reason.contains(word), "{reason}");
    }
    assert_eq!(found[6].state, present(&[("plain", text(&"x".repeat(65_536)))]));
    assert_eq!(found[7].state, State::Absent);
}

#[tokio::test]
async fn ids_are_letters_and_nothing_else() {
    let (server, postgres) = shop("");
    let odd = [
        "o'clock",
        "\"quoted\"",
        "a\\b",
        "商品-42",
        "🎬",
        "{a,b}",
        "NULL",
        "%_",
        " spaced ",
        "x'; DROP TABLE items; --",
    ];
    for id in odd {
        server.sql(&format!("INSERT INTO items (id, title) VALUES ($q${id}$q$, $q$of {id}$q$)"));
    }
    let found = fetch(&postgres, &odd).await.unwrap();
    for (id, known) in odd.iter().zip(found) {
        assert_eq!(known.state, titled(&format!("of {id}")), "{id}");
    }
    let strange = ["", "a\0b", "O'CLOCK", "spaced", &"x".repeat(9_999)];
    let found = fetch(&postgres, &strange).await.unwrap();
    assert!(found.iter().all(|known| known.state == State::Absent), "{found:?}");
}

#[tokio::test]
async fn ids_may_be_integers_or_uuids_of_any_table_and_column() {
    let server = PostgresServer::start();
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    server.sql(&format!(
        r#"CREATE SCHEMA "my.shop";
           CREATE TABLE "my.shop"."Items""; DROP TABLE x; --" ("the ""id""" integer PRIMARY KEY, "price; DROP" numeric, "When" timestamptz);
           INSERT INTO "my.shop"."Items""; DROP TABLE x; --" VALUES (7, 1.5, '2026-01-01'), (-3, 2.5, '2026-01-02');
           CREATE TABLE things (id uuid PRIMARY KEY, updated_at timestamptz, price numeric);
           INSERT INTO things VALUES ('{uuid}', now(), 3);
           CREATE VIEW seen AS SELECT id::char(40) AS id, updated_at, price FROM things;"#
    ));
    let attributes = "[items.attributes]\nprice = \"number\"";
    let quoted = r#"table = '"my.shop"."Items""; DROP TABLE x; --"'
id_column = 'the "id"'
updated_at_column = "When"
columns = { price = "price; DROP" }"#;
    let postgres = Postgres::new(&settings(&server, attributes, quoted)).unwrap();
    let price = |price: f64| present(&[("price", Value::Number(price))]);
    let found = fetch(&postgres, &["7", "-3", "07", " 7", "+7", "7.0", "x", "99999999999999999999"]).await.unwrap();
    let states: Vec<_> = found.into_iter().map(|known| known.state).collect();
    assert_eq!(states[..2], [price(1.5), price(2.5)]);
    assert!(states[2..].iter().all(|state| *state == State::Absent), "{states:?}");

    for table in ["things", "public.seen"] {
        let postgres = Postgres::new(&settings(&server, attributes, &format!("table = \"{table}\""))).unwrap();
        let found = fetch(&postgres, &[uuid, &uuid.to_uppercase(), "nothing"]).await.unwrap();
        let states: Vec<_> = found.into_iter().map(|known| known.state).collect();
        assert_eq!(states, [price(3.0), State::Absent, State::Absent], "{table}");
    }
}

#[tokio::test]
async fn a_mark_of_deletion_is_a_bool_or_a_time() {
    let (server, postgres) = shop("deleted_column = \"deleted\"");
    server.sql("INSERT INTO items (id, title, deleted) VALUES ('a', 'A', true), ('b', 'B', false), ('c', 'C', NULL)");
    let states: Vec<_> =
        fetch(&postgres, &["a", "b", "c"]).await.unwrap().into_iter().map(|known| known.state).collect();
    assert_eq!(states, [State::Absent, titled("B"), titled("C")]);

    // The very same reader: the table has become another.
    server.sql("ALTER TABLE items ALTER deleted TYPE timestamptz USING CASE WHEN deleted THEN now() END");
    let _ = fetch(&postgres, &["a"]).await;
    let states: Vec<_> = fetch(&postgres, &["a", "b"]).await.unwrap().into_iter().map(|known| known.state).collect();
    assert_eq!(states, [State::Absent, titled("B")]);
}
