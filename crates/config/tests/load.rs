//! The project file as its users meet it: what is accepted, what is refused and in which words, and what overrides what.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use tastemaker_config::{
    ApiKey, Config, ConfigError, EmbeddingModel, ExcludeSeen, LoadOptions, Loaded, Origin, Scope, TEMPLATE, schema,
};
use tastemaker_types::AttributeType;

fn refused(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

fn load(text: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tastemaker.toml");
    std::fs::write(&path, text).unwrap();
    let mut options = LoadOptions { path, ..Default::default() };
    options.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for argument in set {
        options.set(argument).unwrap();
    }
    Config::load(&options)
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn the_example_of_the_design_is_read() {
    let config = Config::parse(
        r#"
[project]
name = "shop"

[items.attributes]
category  = "tag"
price     = "number"
available = "bool"

[events]
impression = {}
click      = { positive = true, weight = 1.0 }
purchase   = { positive = true, weight = 5, conversion = true }

[embeddings]
model = "normalized_svd"
rank = 512

[recommend]
eligibility = "available"
budget = "40ms"
exclude_seen = "all"
sources.fresh = { enabled = false }
diversity.max_per = { category = 3 }
"#,
    )
    .unwrap();
    let names: Vec<_> = config.items.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["category", "price", "available"], "declaration order is kept");
    assert_eq!(config.items.schema().get("price"), Some(AttributeType::Number));
    assert_eq!(config.events.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["impression", "click", "purchase"]);
    assert_eq!(config.events.positive_weight("purchase", None), Some(5.0));
    assert_eq!((config.embeddings.model, config.embeddings.rank), (EmbeddingModel::NormalizedSvd, 512));
    assert_eq!(config.recommend.budget.to_string(), "40ms");
    assert_eq!(config.recommend.exclude_seen, ExcludeSeen::All);
    assert!(!config.recommend.sources.fresh.enabled);
    assert_eq!(config.recommend.sources.fresh.quota, Some(50), "what a source leaves out stays at its default");
    assert_eq!(config.recommend.diversity.max_per["category"], 3);
}

#[test]
fn events_of_the_file_replace_the_default_ones_but_impression_stays() {
    let config = Config::parse("[events]\nlike = { positive = true }").unwrap();
    assert_eq!(config.events.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["impression", "like"]);
}

#[test]
fn every_mistake_is_told_with_its_place_and_a_remedy() {
    let key = format!("hash = \"{}\"", "a".repeat(64));
    let cases: Vec<(String, &str)> = vec![
        // Keys.
        (
            "[recommend]\ncandidate = 5".into(),
            "tastemaker.toml:2:1: unknown key 'recommend.candidate'; did you mean 'candidates'?",
        ),
        ("[recomend]\n".into(), "tastemaker.toml:1:2: unknown key 'recomend'; did you mean 'recommend'?"),
        (
            "[training]\n  rank = 8".into(),
            "tastemaker.toml:2:3: unknown key 'training.rank'; did you mean 'embeddings.rank'?",
        ),
        (
            "[logging]\nlevel = \"info,tastemaker_server=debgu\"".into(),
            "tastemaker.toml:2:1: logging.level has no level 'debgu'; did you mean 'debug'?",
        ),
        ("[logging]\nzzzzzzz = 8".into(), "tastemaker.toml:2:1: unknown key 'logging.zzzzzzz'; known: format, level"),
        (
            "[events]\nclick = { positve = true, positive = true }".into(),
            "tastemaker.toml:2:11: unknown key 'events.click.positve'; did you mean 'positive'?",
        ),
        // Types.
        (
            "[embeddings]\nrank = \"big\"".into(),
            "tastemaker.toml:2:1: embeddings.rank is \"big\"; it takes a whole number",
        ),
        ("[embeddings]\nrank = 8.5".into(), "tastemaker.toml:2:1: embeddings.rank is 8.5; it takes a whole number"),
        ("[project]\nname = 7".into(), "tastemaker.toml:2:1: project.name is 7; it takes text in quotes"),
        ("project = 7".into(), "tastemaker.toml:1:1: project is 7; it takes a table"),
        (
            "recommend.attributes = \"title\"".into(),
            "tastemaker.toml:1:11: recommend.attributes is \"title\"; it takes a list",
        ),
        (
            "[recommend.sources.popular]\nenabled = \"yes\"".into(),
            "tastemaker.toml:2:1: recommend.sources.popular.enabled is \"yes\"; it takes true or false",
        ),
        (
            "[embeddings]\nregularization = nan".into(),
            "tastemaker.toml:2:1: embeddings.regularization is not a finite number of 64 bits",
        ),
        // Choices.
        (
            "[embeddings]\nmodel = \"asl\"".into(),
            "tastemaker.toml:2:1: embeddings.model is \"asl\"; did you mean 'als'?",
        ),
        (
            "[items.attributes]\nprice = \"float\"".into(),
            "tastemaker.toml:2:1: items.attributes.price is \"float\"; known: bool, number, tag, tags, text, time",
        ),
        // Ranges.
        ("[embeddings]\nrank = 0".into(), "tastemaker.toml:2:1: embeddings.rank is 0; allowed: 1 to 4096"),
        ("[embeddings]\nseed = -1".into(), "tastemaker.toml:2:1: embeddings.seed is -1; allowed: at least 0"),
        ("[training]\nholdout = 1.0".into(), "tastemaker.toml:2:1: training.holdout is 1; allowed: 0 to 0.9"),
        (
            "[events]\nclick = { positive = true, weight = 0 }".into(),
            "tastemaker.toml:2:28: events.click.weight is 0; allowed: 0.000001 to 1000000",
        ),
        (
            "[recommend]\ncandidates = 5".into(),
            "tastemaker.toml:2:1: recommend.limit is 10, above recommend.candidates, 5; raise candidates or lower limit",
        ),
        ("[recommend]\nbudget = \"0s\"".into(), "tastemaker.toml:2:1: recommend.budget is 0ms; allowed: 1ms to 1m"),
        (
            "[storage]\nsegment_size = \"5GiB\"".into(),
            "tastemaker.toml:2:1: storage.segment_size is 5GiB; allowed: 1MiB to 4GiB",
        ),
        // Texts with a form.
        (
            "[recommend]\nbudget = \"fast\"".into(),
            "tastemaker.toml:2:1: recommend.budget: 'fast' is not a length of time; write a whole number and a unit: 500ms, 30s, 15m, 12h, 7d or 2w",
        ),
        (
            "[server]\nbody_limit = \"8\"".into(),
            "tastemaker.toml:2:1: server.body_limit: '8' is not a size; write a whole number and a unit: 512KiB, 8MiB or 1GiB",
        ),
        (
            "[server]\nlisten = \"8080\"".into(),
            "tastemaker.toml:2:1: server.listen: '8080' is not an address and port; write 127.0.0.1:8080",
        ),
        // Between keys.
        (
            "[server]\nstateless = true".into(),
            "tastemaker.toml:2:1: server.stateless needs a Redis to answer from; set storage.online, or leave server.stateless out",
        ),
        (
            "[storage]\nonline = \"http://:secret@cache\"".into(),
            "tastemaker.toml:2:1: storage.online does not begin with redis:// or rediss://; write redis://host:6379, or leave it out to keep online state in the process",
        ),
        (
            "[storage]\nonline = \"redis://me:secret@\"".into(),
            "tastemaker.toml:2:1: storage.online names no host; write redis://host:6379",
        ),
        (
            "[storage]\nonline = \"redis://user:word@host:6379/1?protocol=resp3\"".into(),
            "tastemaker.toml:2:1: storage.online names another database than 0, where the search module makes no index; leave the number out, and set redis.prefix to keep projects apart",
        ),
        (
            "[redis]\nprefix = \"shop:item:\"".into(),
            "tastemaker.toml:2:1: redis.prefix \"shop:item:\" has item: or user: in it, so that another project could take its keys for items or users; choose another",
        ),
        (
            "[events]\nclick = { positive = true }\n[storage]\nonline = \"redis://h\"\n[[features]]\nentity = \"user\"\nname = \"Embedding\"\naggregate = \"count\"\nevents = [\"click\"]".into(),
            "tastemaker.toml:7:1: feature 'Embedding' has a name that the vectors in Redis use; choose another",
        ),
        (
            "[redis]\nprefix = \"{shop}\"".into(),
            "tastemaker.toml:2:1: redis.prefix is \"{shop}\"; give at most 64 bytes without control characters, { and }",
        ),
        (
            "[redis]\nnodes = [\"10.0.0.2:6379\"]".into(),
            "tastemaker.toml:2:1: redis.nodes are addresses of sentinels or cluster nodes; set redis.topology to sentinel or cluster, or remove them",
        ),
        (
            "[redis]\ntopology = \"cluster\"\nnodes = [\"10.0.0.2\"]".into(),
            "tastemaker.toml:3:10: redis.nodes[0] is \"10.0.0.2\"; write a host and port, such as \"10.0.0.2:6379\"",
        ),
        (
            "[redis.tls]\ncert_file = \"our.pem\"".into(),
            "tastemaker.toml:2:1: redis.tls.cert_file is set without redis.tls.key_file; give both or none",
        ),
        (
            "[items.source]\npostgres = \"mysql://:hunter2@db/shop\"".into(),
            "tastemaker.toml:2:1: items.source.postgres does not begin with postgres:// or postgresql://; write postgres://user@host/database",
        ),
        (
            "[items.source]\npostgres = \"postgres://db/shop?p%61ssword=hunter2\"".into(),
            "tastemaker.toml:2:1: items.source.postgres has a password behind its question mark, where it would be shown; set TASTEMAKER_ITEMS__SOURCE__PASSWORD",
        ),
        (
            "[items.source]\ntable = \"a.b.c\"".into(),
            "tastemaker.toml:2:1: items.source.table: \"a.b.c\" names no table; write \"table\" or \"schema.table\", and a name with a dot or quote in double quotes",
        ),
        (
            "[items.attributes]\nprice = \"number\"\n[items.source]\ncolumns = { prise = \"cost\" }".into(),
            "tastemaker.toml:4:13: items.source.columns.prise names no declared attribute: 'prise'; did you mean 'price'?",
        ),
        (
            "[items.source]\nid_column = \"\"".into(),
            "tastemaker.toml:2:1: items.source.id_column is \"\"; give a name of 1 to 63 bytes, as PostgreSQL knows it",
        ),
        (
            "[items.source]\ntimeout = \"5m\"".into(),
            "tastemaker.toml:2:1: items.source.timeout is 5m; allowed: 10ms to 1m",
        ),
        (
            "[items.source]\ntabel = \"items\"".into(),
            "tastemaker.toml:2:1: unknown key 'items.source.tabel'; did you mean 'table'?",
        ),
        (
            "[items.attributes]\n\"unit price\" = \"number\"".into(),
            "tastemaker.toml:2:1: attribute 'unit price' cannot be written in an expression; use letters, digits and _, not a digit first, at most 64 of them",
        ),
        (
            "[items.attributes]\nid = \"tag\"".into(),
            "tastemaker.toml:2:1: attribute 'id' has a name that the API uses itself; choose another",
        ),
        (
            "[users.attributes]\nage = \"number\"\nAge = \"number\"".into(),
            "tastemaker.toml:3:1: attributes 'age' and 'Age' differ in upper and lower case alone; rename one",
        ),
        (
            "[events]\nview = {}".into(),
            "tastemaker.toml:1:2: no event type is positive, so there would be nothing to learn from; set positive = true on one, such as click",
        ),
        (
            "[events]\nclick = { positive = true }\nimpression = { positive = true }".into(),
            "tastemaker.toml:3:1: impression says that an item was shown, so it cannot be positive; declare another event type",
        ),
        (
            "[events]\nclick = { positive = true }\nrating = { min_value = 4 }".into(),
            "tastemaker.toml:3:1: events.rating has min_value but is not positive; add positive = true or remove min_value",
        ),
        (
            "[recommend]\nlimit = 20\ncandidates = 5".into(),
            "tastemaker.toml:2:1: recommend.limit is 20, above recommend.candidates, 5; raise candidates or lower limit",
        ),
        (
            "[items.attributes]\ncategory = \"tag\"\n[recommend.diversity]\nmax_per = { categry = 2 }".into(),
            "tastemaker.toml:4:13: recommend.diversity.max_per.categry names no declared attribute: 'categry'; did you mean 'category'?",
        ),
        (
            "[items.attributes]\nprice = \"number\"\n[recommend.diversity]\nmax_per = { price = 2 }".into(),
            "tastemaker.toml:4:13: recommend.diversity.max_per.price needs a tag, tags or bool attribute; 'price' is number",
        ),
        (
            "[items.attributes]\ntitle = \"text\"\n[recommend]\nattributes = [\"title\", \"titel\"]".into(),
            "tastemaker.toml:4:24: recommend.attributes[1] names no declared attribute: 'titel'; did you mean 'title'?",
        ),
        (
            "[recommend.deadlines]\nembedding = \"1m\"".into(),
            "tastemaker.toml:2:1: recommend.deadlines.embedding is 1m; allowed: 1ms to 50ms",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:8080\"".into(),
            "tastemaker.toml:2:1: server.listen is 0.0.0.0:8080, which others can reach, but no API key is set; add [[server.api_keys]] or listen on 127.0.0.1",
        ),
        (
            "[[server.api_keys]]\nname = \"a\"\nscopes = [\"read\"]".into(),
            "tastemaker.toml:1:1: server.api_keys[0] has no 'hash'",
        ),
        (
            "[[server.api_keys]]\nname = \"a\"\nhash = \"secret\"\nscopes = [\"read\"]".into(),
            "tastemaker.toml:3:1: server.api_keys[0].hash is not a SHA-256 in 64 hexadecimal digits; make one with: printf %s \"$KEY\" | sha256sum",
        ),
        (
            format!("[[server.api_keys]]\nname = \"a\"\n{key}\nscopes = [\"reed\"]"),
            "tastemaker.toml:4:11: server.api_keys[0].scopes[0] is \"reed\"; did you mean 'read'?",
        ),
        (
            "[import.events]\ntype = \"purchas\"".into(),
            "tastemaker.toml:2:1: import.events.type: unknown event type 'purchas'; did you mean 'purchase'?; event types are declared under [events] in tastemaker.toml",
        ),
        (
            "[import.items.file]\ndelimiter = \"ab\"".into(),
            "tastemaker.toml:2:1: import.items.file.delimiter is \"ab\"; give one ASCII character, or \"::\"",
        ),
        // Features.
        (
            "[[features]]\nentity = \"user\"\nname = \"position\"\naggregate = \"count\"".into(),
            "tastemaker.toml:3:1: features[0].name: 'position' is a column that stands beside features; choose another name",
        ),
        (
            "[[features]]\nentity = \"item\"\nname = \"r\"\naggregate = \"rate\"\nper = [\"impression\"]\nprior_mean = 0.1".into(),
            "tastemaker.toml:6:1: features[0].prior_mean means nothing without prior; give prior, or remove it",
        ),
        // Views.
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"user\"\nfeatures = { event_timestamp = \"time\" }".into(),
            "tastemaker.toml:4:14: feature_views[0].features.event_timestamp: 'event_timestamp' is a column that stands beside features; choose another name",
        ),
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"item\"\nfeatures = { x = \"number\" }\nuser_column = \"u\"".into(),
            "tastemaker.toml:5:1: feature_views[0].user_column means nothing to a view of items; remove it",
        ),
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"user\"\nfeatures = { x = \"number\" }\nitem_column = \"i\"".into(),
            "tastemaker.toml:5:1: feature_views[0].item_column means nothing to a view of users; remove it",
        ),
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"user\"\nfeatures = { x = \"number\" }\npath = \"w.parquet\"\nquery = \"select 1\"".into(),
            "tastemaker.toml:6:1: feature_views[0] has both path and query; keep one",
        ),
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"user\"\nfeatures = { x = \"number\" }\nquery = \" \"".into(),
            "tastemaker.toml:5:1: feature_views[0].query is empty; write a query, or remove it if rows are pushed",
        ),
        (
            "[[feature_views]]\nname = \"w\"\nentity = \"user\"\nfeatures = { x = \"number\" }\nqery = \"select 1\"".into(),
            "tastemaker.toml:5:1: unknown key 'feature_views[0].qery'; did you mean 'query'?",
        ),
        // What is not TOML.
        ("[project\nname = 3".into(), "tastemaker.toml:1:9: not valid TOML: unclosed table, expected `]`"),
        ("[project]\nname = \"a\"\nname = \"b\"".into(), "tastemaker.toml:3:1: not valid TOML: duplicate key"),
    ];
    let mut different = Vec::new();
    for (text, expected) in &cases {
        let found = refused(text);
        if found != [*expected] {
            different.push(format!("{text}\n  expected {expected}\n  found    {found:#?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[embeddings]\nrnak = 3\nrank = 0\n[server]\nlisten = \"x\"\n[recommend]\nbudget = \"soon\"\nlimit = 500\nmax_limit = 400\n";
    assert_eq!(
        refused(text),
        [
            "tastemaker.toml:2:1: unknown key 'embeddings.rnak'; did you mean 'rank'?",
            "tastemaker.toml:3:1: embeddings.rank is 0; allowed: 1 to 4096",
            "tastemaker.toml:5:1: server.listen: 'x' is not an address and port; write 127.0.0.1:8080",
            "tastemaker.toml:7:1: recommend.budget: 'soon' is not a length of time; write a whole number and a unit: 500ms, 30s, 15m, 12h, 7d or 2w",
            "tastemaker.toml:8:1: recommend.limit is 500, above recommend.max_limit, 400; raise max_limit or lower limit",
        ]
    );
}

#[test]
fn a_mistyped_attribute_type_does_not_make_its_uses_wrong() {
    let text = "[items.attributes]\ncategory = \"tga\"\n[recommend.diversity]\nmax_per = { category = 2 }";
    assert_eq!(refused(text), ["tastemaker.toml:2:1: items.attributes.category is \"tga\"; did you mean 'tag'?"]);
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let file = "[embeddings]\nrank = 8\niterations = 8\nseed = 8";
    let env =
        [("TASTEMAKER_EMBEDDINGS__RANK", "16"), ("TASTEMAKER_EMBEDDINGS__ITERATIONS", "16"), ("TASTEMAKER_DATA", "/x")];
    let loaded = load(file, &env, &["embeddings.rank=32"]).unwrap();
    let embeddings = &loaded.config.embeddings;
    assert_eq!((embeddings.rank, embeddings.iterations, embeddings.seed), (32, 16, 8));

    let origin = |key: &str| loaded.settings().into_iter().find(|s| s.key == key).unwrap().origin;
    assert_eq!(origin("embeddings.rank"), Origin::Set { key: "embeddings.rank".into() });
    assert_eq!(origin("embeddings.iterations"), Origin::Env { name: "TASTEMAKER_EMBEDDINGS__ITERATIONS".into() });
    assert!(matches!(origin("embeddings.seed"), Origin::File { line: 4, column: 1, .. }));
    assert_eq!(origin("embeddings.model"), Origin::Default);
}

#[test]
fn overrides_read_text_lists_tables_and_emptiness_by_what_the_key_takes() {
    let file = "[items.attributes]\ntitle = \"text\"\ngenres = \"tags\"\n[recommend]\neligibility = \"true\"";
    let set = [
        "project.name=42",
        "recommend.attributes=title, genres",
        "recommend.eligibility=",
        "recommend.sources.popular={ enabled = false }",
        "events.purchase.weight=2.5",
        "items.attributes.price=number",
        "recommend.budget=20ms",
    ];
    let config = load(file, &[], &set).unwrap().config;
    assert_eq!(config.project.name, "42");
    assert_eq!(config.recommend.attributes.unwrap(), ["title", "genres"]);
    assert_eq!(config.recommend.eligibility, None);
    assert!(!config.recommend.sources.popular.enabled);
    assert_eq!(config.events.positive_weight("purchase", None), Some(2.5), "the rest of the default type stays");
    assert_eq!(config.items.attributes.len(), 3);
    assert_eq!(config.recommend.budget.to_string(), "20ms");
}

#[test]
fn mistakes_in_overrides_name_the_variable_or_the_argument() {
    let env = [
        ("TASTEMAKER_RECOMMEND__LIMITS", "5"),
        ("TASTEMAKER_EMBEDDINGS__RANK", "big"),
        ("TASTEMAKER_ITEMS_SOURCE_NEGATIVE_TTL", "5m"),
    ];
    let error = load("", &env, &["training.threads=9999", "a.b=c"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "TASTEMAKER_ITEMS_SOURCE_NEGATIVE_TTL: it sets nothing; to set items.source.negative_ttl, write TASTEMAKER_ITEMS__SOURCE__NEGATIVE_TTL\n\
         TASTEMAKER_EMBEDDINGS__RANK: embeddings.rank is \"big\"; it takes a whole number\n\
         TASTEMAKER_RECOMMEND__LIMITS: unknown key 'recommend.limits'; did you mean 'limit'?\n\
         --set a.b: unknown key 'a'; known: embeddings, events, feature_services, feature_views, features, import, items, logging, project, recommend, redis, server, …\n\
         --set training.threads: training.threads is 9999; allowed: 0 to 1024"
    );
    let mut options = LoadOptions::default();
    assert_eq!(
        options.set("embeddings.rank").unwrap_err().to_string(),
        "'--set embeddings.rank' has no key and value; write --set section.key=value, such as --set embeddings.rank=128"
    );
}

#[test]
fn a_relative_data_folder_lies_beside_the_project_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tastemaker.toml");
    std::fs::write(&path, "[storage]\ndata_dir = \"state\"").unwrap();
    let loaded = Config::load(&LoadOptions { path, ..Default::default() }).unwrap();
    assert_eq!(loaded.config.storage.data_dir, folder.path().join("state"));
    assert!(loaded.show().contains("storage.data_dir = \"state\""), "shown as it was written");
    assert_eq!(Config::parse("").unwrap().storage.data_dir, Path::new("data"));
}

#[test]
fn relative_tables_and_queries_of_views_lie_beside_the_project_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tastemaker.toml");
    let view = |name: &str, source: &str| {
        format!(
            "[[feature_views]]\nname = \"{name}\"\nentity = \"user\"\nfeatures = {{ {name} = \"number\" }}\n{source}\n"
        )
    };
    let views =
        [view("a", "path = \"a/*.parquet\""), view("b", "query_file = \"b.sql\""), view("c", "query = \"select 1\"")];
    std::fs::write(&path, views.concat()).unwrap();
    let loaded = Config::load(&LoadOptions { path, ..Default::default() }).unwrap();
    let [a, b, c] = &loaded.config.feature_views[..] else { panic!("three views") };
    assert_eq!(a.path, Some(folder.path().join("a/*.parquet")));
    assert_eq!((&b.query_file, b.is_query()), (&Some(folder.path().join("b.sql")), true));
    assert_eq!((c.query.as_deref(), c.is_query(), a.is_query()), (Some("select 1"), true, false));
    let shown = loaded.show();
    assert!(shown.contains("query_file = \"b.sql\"") && shown.contains("path = \"a/*.parquet\""), "{shown}");
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let error =
        Config::load(&LoadOptions { path: "nowhere/tastemaker.toml".into(), ..Default::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no project file nowhere/tastemaker.toml; write one with `tastemaker init`, or name another with --config"
    );
}

#[test]
fn show_lists_every_value_with_its_origin_and_no_secret() {
    let hash = ApiKey::hash_of("open sesame");
    let file = format!("[[server.api_keys]]\nname = \"shop\"\nhash = \"{hash}\"\nscopes = [\"read\"]\n");
    let loaded = load(&file, &[("TASTEMAKER_PROJECT__NAME", "käse")], &[]).unwrap();
    let shown = loaded.show();
    assert!(!shown.contains(&hash));
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or("none").to_owned();
    assert!(line("project.name").ends_with("# TASTEMAKER_PROJECT__NAME"), "{}", line("project.name"));
    assert!(line("server.api_keys[0].hash = \"<secret>\"").ends_with("tastemaker.toml:3:1"));
    assert!(line("recommend.eligibility is not set").ends_with("# default"));
    assert!(line("events.purchase.weight = 5.0").ends_with("# default"));
    assert!(
        loaded.config.server.api_keys[0].allows(Scope::Read) && !loaded.config.server.api_keys[0].allows(Scope::Write)
    );
    let json = serde_json::to_value(loaded.settings()).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({
            "key": "project.name", "value": "käse", "origin": { "from": "env", "name": "TASTEMAKER_PROJECT__NAME" }
        })
    );
}

#[test]
fn no_password_of_the_items_database_is_shown() {
    let file = "[items.source]\npostgres = \"postgres://me:hunter2@db/shop\"\n";
    let loaded = load(file, &[("TASTEMAKER_ITEMS__SOURCE__PASSWORD", "hunter2")], &[]).unwrap();
    assert_eq!(loaded.config.items.source.password.as_deref(), Some("hunter2"));
    let (shown, json) = (loaded.show(), serde_json::to_string(&loaded.settings()).unwrap());
    let debug = format!("{:?}", loaded.config);
    for text in [shown, json, debug] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn the_template_is_the_defaults_with_and_without_its_comments() {
    assert_eq!(Config::parse(TEMPLATE).unwrap(), Config::default());
    fn setting(line: &str) -> Option<&str> {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '['))
    }
    let uncommented: Vec<&str> = TEMPLATE.lines().map(|line| setting(line).unwrap_or(line)).collect();
    assert_ne!(uncommented.join("\n"), TEMPLATE.trim_end());
    assert_eq!(Config::parse(&uncommented.join("\n")).unwrap(), Config::default());
}

#[test]
fn the_examples_in_the_template_are_valid() {
    let mut text = String::new();
    for line in TEMPLATE.lines() {
        let example = line.strip_prefix("# ").filter(|rest| rest.starts_with("[[") || rest.contains(" = "));
        text.push_str(example.filter(|rest| !rest.contains("; ")).unwrap_or(line));
        text.push('\n');
    }
    let config = Config::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(config.recommend.diversity.max_per["category"], 3);
    assert_eq!(config.server.api_keys.len(), 1);
    assert_eq!(config.import.events.event_type.as_deref(), Some("purchase"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A slip of the hand gives another configuration or problems with a place, and nothing worse.
    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..TEMPLATE.len(), length in 0..40_usize, put in "[\\[\\]{}=\"#.a-z0-9\n]{0,6}") {
        let (start, end) = (TEMPLATE.floor_char_boundary(at), TEMPLATE.floor_char_boundary(at + length));
        let text = format!("{}{put}{}", &TEMPLATE[..start], &TEMPLATE[end..]).replace("\n#", "\n");
        if let Err(error) = Config::parse(&text) {
            prop_assert!(!error.problems().is_empty());
            for problem in error.problems() {
                prop_assert!(problem.to_string().starts_with("tastemaker.toml"), "{}", problem);
            }
        }
    }

    /// Nor does any override.
    #[test]
    fn any_override_is_read_or_refused(key in "(recommend|server|events|items|x)(\\.[a-z_0-9\"]{0,12}){0,3}", value in "[ -~]{0,12}") {
        let _ = load(TEMPLATE, &[(&format!("TASTEMAKER_{}", key.replace('.', "__").to_uppercase()), &value)], &[]);
        let _ = load(TEMPLATE, &[], &[&format!("{key}={value}")]);
    }
}

#[test]
fn the_shop_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/tastemaker.toml");
    let loaded = Config::load(&LoadOptions { path, ..Default::default() }).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.items.schema().get("available"), Some(AttributeType::Bool));
}

#[test]
fn a_configuration_survives_being_written_and_read() {
    let config =
        Config::parse("[items.attributes]\nb = \"tag\"\na = \"tags\"\n[recommend]\nboost = \"1 + 1\"").unwrap();
    let text = toml::to_string(&config).unwrap();
    assert_eq!(Config::parse(&text).unwrap(), config);
}

#[test]
fn only_what_training_depends_on_changes_the_hash() {
    let hash = |text: &str| Config::parse(text).unwrap().config_hash();
    let base = hash("");
    assert_eq!(base.len(), 64);
    assert_eq!(base, hash("[server]\nlisten = \"127.0.0.1:9\"\n[embeddings]\nrank = 64"));
    for changed in ["[embeddings]\nrank = 65", "[events]\nclick = { positive = true }", "[training]\nholdout = 0.2"] {
        assert_ne!(base, hash(changed), "{changed}");
    }
}

#[test]
fn the_schema_closes_every_table_and_describes_every_key() {
    fn walk(path: &str, node: &serde_json::Value) {
        if let Some(properties) = node.get("properties").and_then(|p| p.as_object()) {
            // Closed, or, beside its own keys, open to names whose tables are closed.
            match &node["additionalProperties"] {
                entry if entry.is_object() => walk(&format!("{path}.NAME"), entry),
                closed => assert_eq!(*closed, false, "{path}"),
            }
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                assert!(
                    property["description"].as_str().is_some_and(|d| d.ends_with('.')),
                    "{path} has no description"
                );
                walk(&path, property);
            }
        }
    }
    walk("", schema());
    assert_eq!(schema()["properties"]["embeddings"]["properties"]["rank"]["maximum"], 4096);
}

#[test]
fn a_source_of_events_stands_beside_the_types_and_is_none() {
    let text = "[events.source]\nredis_stream = \"shop:events\"\nurl = \"redis://me:hunter2@a:1\"\n";
    let loaded = load(text, &[], &["events.source.batch=50"]).unwrap();
    let events = &loaded.config.events;
    assert_eq!(events.source.redis_stream.as_deref(), Some("shop:events"));
    assert_eq!((events.source.batch, events.source.group.as_str()), (50, "tastemaker"));
    let names = |config: &Config| config.events.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&loaded.config), ["impression", "click", "rating", "purchase"], "the default types stay");
    let shown = loaded.show();
    assert!(shown.contains("events.source.redis_stream = \"shop:events\"") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(loaded.config.config_hash(), Config::default().config_hash(), "no model depends on it");

    let config = Config::parse(&format!("[events]\nlike = {{ positive = true }}\n{text}")).unwrap();
    assert_eq!((names(&config), config.events.source.batch), (vec!["impression".to_owned(), "like".into()], 1_000));
}

#[test]
fn mistakes_in_the_source_of_events_are_told_with_their_place() {
    let error = |text: &str| Config::parse(text).unwrap_err().to_string();
    for (text, part) in [
        (
            "[events.source]\nredis_strem = \"s\"",
            "unknown key 'events.source.redis_strem'; did you mean 'redis_stream'?",
        ),
        ("[events.sorce]\nredis_stream = \"s\"", "did you mean 'events.source.redis_stream'?"),
        ("[events]\nsource = { positive = true }", "unknown key 'events.source.positive'"),
        ("[events.source]\nredis_stream = \"s\"", "set events.source.url"),
        ("[events.source]\nurl = \"http://a\"", "events.source.url does not begin with redis://"),
        ("[events.source]\nclaim_after = \"soon\"", "tastemaker.toml:2:1: events.source.claim_after"),
        ("[events.source]\nclaim_after = \"1ms\"", "allowed: 1s to 1d"),
        ("[events.source]\nredis_stream = \"s\"\nurl = \"redis://a\"\nbatch = 50000", "above server.batch_limit"),
        ("[events.source]\ngroup = \"\"", "events.source.group is empty"),
        ("[events.source]\nredis_stream = \"s\"\nurl = \"redis://a\"\ndead_letter = \"s\"", "need another one"),
    ] {
        let error = error(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}
