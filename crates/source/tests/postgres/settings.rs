//! Settings that do not fit the database are told in words that help.

use tastemaker_config::Config;
use tastemaker_source::{Postgres, SourceError};
use tastemaker_testkit::PostgresServer;

use crate::common::{ATTRIBUTES, TABLE, fetch, settings, shop};

#[tokio::test]
async fn a_mistake_names_the_table_the_column_and_the_remedy() {
    let server = PostgresServer::start();
    server.sql(TABLE);
    server.sql("CREATE TABLE odd (id jsonb, title text, price text, updated_at text)");
    let attributes = |more: &str| format!("{ATTRIBUTES}{more}");
    let cases = [
        (attributes(""), "table = \"itemz\"", r#"there is no table "itemz""#),
        (attributes(""), "table = \"nowhere.items\"", r#"there is no table "nowhere"."items""#),
        (
            attributes("prise = \"number\""),
            "",
            "has no column 'prise'; did you mean 'price'?; set items.source.columns.prise",
        ),
        (attributes(""), "id_column = \"ide\"", "has no column 'ide'"),
        (
            attributes(""),
            "updated_at_column = \"title\"",
            "column 'title' of \"public\".\"items\" is text, which cannot be the time of a change",
        ),
        (attributes(""), "deleted_column = \"price\"", "is numeric(12,2), which cannot be a mark of deletion"),
        (
            attributes(""),
            "table = \"odd\"",
            "column 'id' of \"odd\" is jsonb, which cannot be an id; use a column of text, an integer or a uuid",
        ),
        (
            attributes(""),
            "columns = { price = \"title\" }",
            "column 'title' of \"public\".\"items\" is text, which cannot be attribute 'price', a number; use a column of numeric",
        ),
    ];
    for (attributes, source, message) in cases {
        let postgres = Postgres::new(&settings(&server, &attributes, source)).unwrap();
        let error = fetch(&postgres, &["a"]).await.unwrap_err().to_string();
        assert!(error.contains(message), "{source}: {error}");
        assert_eq!(postgres.inspect().await.unwrap_err().to_string(), error);
    }
}

#[tokio::test]
async fn an_inspection_says_what_an_index_is_missing_for() {
    let (server, postgres) = shop("");
    let inspection = postgres.inspect().await.unwrap();
    assert_eq!((inspection.columns, inspection.updated_is_indexed, inspection.id_is_indexed), (2, true, true));
    server.sql("DROP INDEX items_updated_at_idx; CREATE INDEX ON items (title, updated_at)");
    let inspection = postgres.inspect().await.unwrap();
    assert_eq!((inspection.updated_is_indexed, inspection.id_is_indexed), (false, true));
}

#[tokio::test]
async fn the_least_rights_are_enough_and_fewer_are_told() {
    let (server, _) = shop("");
    server
        .sql("REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE reader LOGIN; INSERT INTO items (id) VALUES ('a')");
    let toml = format!("{ATTRIBUTES}[items.source]\npostgres = \"{}\"", server.url("reader"));
    let postgres = Postgres::new(&Config::parse(&toml).unwrap().items).unwrap();
    assert!(matches!(fetch(&postgres, &["a"]).await, Err(SourceError::NoTable { .. } | SourceError::Refused { .. })));
    server.sql("GRANT USAGE ON SCHEMA public TO reader");
    let error = fetch(&postgres, &["a"]).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table items"), "{error}");
    server.sql("GRANT SELECT (id, title, price, updated_at) ON items TO reader");
    fetch(&postgres, &["a"]).await.unwrap();
    postgres.inspect().await.unwrap();
    postgres.listen("items").await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_the_reason() {
    let toml =
        format!("{ATTRIBUTES}[items.source]\npostgres = \"postgres://me:hunter2@127.0.0.1:1/x\"\ntimeout = \"300ms\"");
    let postgres = Postgres::new(&Config::parse(&toml).unwrap().items).unwrap();
    let error = postgres.inspect().await.unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
    assert!(!format!("{postgres:?}").contains("hunter2"));
}
