# Everyday commands; `just` lists them.

_default:
    @just --list

# The main job on bundled real data
demo:
    cargo run --release -- demo

# Every test
test *args:
    cargo xtask test {{ args }}

# The tests of a build with SQL
test-sql:
    cargo xtask test --sql

# Format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --features tastemaker-cli/postgres --all-targets -- -D warnings

# All that a change must pass
ci:
    .ci/run

# Rerun a benchmark: quality, training, scaling, retrieval, features, serving, ingest, durability
bench name *args:
    cargo xtask bench {{ name }} {{ args }}

# Licences, sources and duplicates of dependencies
deny:
    cargo deny check bans licenses sources
