//! Every metric of Tastemaker: the one place that names them. `docs/operations.md` holds the same table, and a test
//! compares the two.

use crate::definition::{CounterMetric, Definition, GaugeMetric, HistogramMetric, Kind, label_count, metrics};

/// Bounds of request latency in seconds, dense around the promise that an answer takes less than 100 ms.
pub const REQUEST_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Bounds of one stage of the pipeline in seconds: the request bounds with finer ones below.
pub const STAGE_SECONDS: &[f64] =
    &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25];

metrics! {
    /// HTTP answers, by route template, method and status.
    counter HTTP_REQUESTS = "tastemaker_http_requests_total" ["route", "method", "status"];
    /// Time from the request's head to the answer, by route template, method and status.
    histogram HTTP_SECONDS = "tastemaker_http_request_duration_seconds" ["route", "method", "status"], REQUEST_SECONDS;
    /// HTTP requests being worked on.
    gauge HTTP_IN_FLIGHT = "tastemaker_http_requests_in_flight" [];
    /// Open HTTP connections.
    gauge HTTP_CONNECTIONS = "tastemaker_http_connections" [];
    /// Requests turned away at once, by reason: overload, connections, draining.
    counter SHED = "tastemaker_http_shed_total" ["reason"];
    /// Requests refused by authentication, by reason: missing, unknown, scope.
    counter AUTH_REFUSED = "tastemaker_auth_refused_total" ["reason"];
    /// Recommendation answers, by endpoint: recommendations, similar, rank.
    counter ANSWERS = "tastemaker_answers_total" ["endpoint"];
    /// Answers that were less than whole, by reason.
    counter DEGRADED = "tastemaker_degraded_answers_total" ["reason"];
    /// Answers with no item at all, by endpoint.
    counter EMPTY = "tastemaker_empty_answers_total" ["endpoint"];
    /// Time in one stage of the recommendation pipeline.
    histogram STAGE_SECONDS_SPENT = "tastemaker_stage_duration_seconds" ["stage"], STAGE_SECONDS;
    /// Stages that failed or ran out of time.
    counter STAGE_FAILURES = "tastemaker_stage_failures_total" ["stage"];
    /// Lookups in a cache, by cache (expressions; items in the process, then redis_items; catalog and item_source before the items' database) and result: hit, negative_hit, miss.
    counter CACHE_LOOKUPS = "tastemaker_cache_lookups_total" ["cache", "result"];
    /// Records that clients sent, by record (event, item, user, feature_row) and result: accepted, duplicate, refused.
    counter INGESTED = "tastemaker_ingested_records_total" ["record", "result"];
    /// Values of features read, by feature view and status: PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE.
    counter FEATURE_VALUES = "tastemaker_feature_values_total" ["view", "status"];
    /// Age of the newest row of a batch feature view, by its event time.
    gauge FEATURE_VIEW_AGE_SECONDS = "tastemaker_feature_view_age_seconds" ["view"];
    /// Values of events that were not what a streaming feature takes, and were left out.
    counter FEATURE_REFUSED_INPUTS = "tastemaker_feature_refused_inputs_total" [];
    /// Logged values of features that the server has computed again, each once, see `recommend.validate_every`.
    counter FEATURE_VALIDATION_VALUES = "tastemaker_feature_validation_values_total" [];
    /// Those of them that differ in any bit, by feature.
    counter FEATURE_VALIDATION_MISMATCHES = "tastemaker_feature_validation_mismatches_total" ["feature"];
    /// Writes that the log could not take, by reason: full, failed.
    counter LOG_WRITE_FAILURES = "tastemaker_log_write_failures_total" ["reason"];
    /// Records in the event log.
    gauge LOG_APPENDED = "tastemaker_log_appended_records" [];
    /// Records of the event log that online state has seen.
    gauge LOG_APPLIED = "tastemaker_log_applied_records" [];
    /// Records appended but not applied yet.
    gauge LOG_LAG = "tastemaker_log_lag_records" [];
    /// Bytes of records that wait to be written to the event log.
    gauge LOG_WAITING_BYTES = "tastemaker_log_waiting_bytes" [];
    /// Time that a write waited for its sync and its application.
    histogram LOG_COMMIT_SECONDS = "tastemaker_log_commit_duration_seconds" [], REQUEST_SECONDS;
    /// Served recommendations that were not logged because the queue was full.
    counter SERVED_DROPPED = "tastemaker_served_log_dropped_total" [];
    /// Time that replaying the log took at start.
    gauge REPLAY_SECONDS = "tastemaker_replay_duration_seconds" [];
    /// Version of the generation that serves; 0 when there is none.
    gauge GENERATION_VERSION = "tastemaker_generation_version" [];
    /// Age of the generation that serves, since it was trained.
    gauge GENERATION_AGE_SECONDS = "tastemaker_generation_age_seconds" [];
    /// Generations that a running server took or refused, by result: installed, refused.
    counter GENERATION_LOADS = "tastemaker_generation_loads_total" ["result"];
    /// Time of a command or pipeline to Redis, retries included, by operation.
    histogram REDIS_SECONDS = "tastemaker_redis_command_duration_seconds" ["operation"], STAGE_SECONDS;
    /// Commands to Redis that failed, by operation and kind of failure.
    counter REDIS_ERRORS = "tastemaker_redis_errors_total" ["operation", "kind"];
    /// Commands to Redis that were sent again.
    counter REDIS_RETRIES = "tastemaker_redis_retries_total" ["operation"];
    /// Whether commands to Redis are sent: 0 they are, 1 they are not since it does not answer, 0.5 a ping is under way.
    gauge REDIS_BREAKER = "tastemaker_redis_breaker_open" [];
    /// Connections to Redis that were made, by result: made, failed.
    counter REDIS_CONNECTIONS = "tastemaker_redis_connections_total" ["result"];
    /// Whether Redis has everything of the project.
    gauge REDIS_WHOLE = "tastemaker_redis_whole" [];
    /// Users and items that wait to be written to Redis.
    gauge REDIS_PENDING = "tastemaker_redis_pending_writes" [];
    /// Records of the event log that Redis does not have yet.
    gauge REDIS_LAG = "tastemaker_redis_lag_records" [];
    /// The generation that Redis serves; 0 when there is none.
    gauge REDIS_GENERATION = "tastemaker_redis_generation_version" [];
    /// Reads of keys that Redis has seen, by everybody, by result: hit, miss.
    counter REDIS_KEYSPACE = "tastemaker_redis_keyspace_lookups_total" ["result"];
    /// Keys that Redis threw out for want of memory. Users and items are state and not cache: any increase is an alert.
    counter REDIS_EVICTED = "tastemaker_redis_evicted_keys_total" [];
    /// Keys whose time in Redis was over.
    counter REDIS_EXPIRED = "tastemaker_redis_expired_keys_total" [];
    /// Memory that Redis uses.
    gauge REDIS_MEMORY_BYTES = "tastemaker_redis_memory_bytes" [];
    /// The most memory that Redis may use; 0 if there is no limit.
    gauge REDIS_MAXMEMORY_BYTES = "tastemaker_redis_maxmemory_bytes" [];
    /// Memory that the system gave Redis by memory that it uses.
    gauge REDIS_FRAGMENTATION = "tastemaker_redis_memory_fragmentation_ratio" [];
    /// Items in the index that serves, as of the last ten minutes; on the server with the log.
    gauge REDIS_INDEX_DOCUMENTS = "tastemaker_redis_index_documents" [];
    /// Memory that the index takes; likewise.
    gauge REDIS_INDEX_BYTES = "tastemaker_redis_index_bytes" [];
    /// Items that could not be indexed; likewise.
    gauge REDIS_INDEX_FAILURES = "tastemaker_redis_index_failures" [];
    /// Entries of the stream of events, by result: accepted, duplicate, refused, lost (deleted or trimmed away unread: any increase is an alert).
    counter STREAM_ENTRIES = "tastemaker_stream_entries_total" ["result"];
    /// Entries of the stream that the group was not given yet; NaN where Redis cannot tell.
    gauge STREAM_LAG = "tastemaker_stream_lag_entries" [];
    /// Entries of the stream that were given to a consumer of the group and not acknowledged.
    gauge STREAM_PENDING = "tastemaker_stream_pending_entries" [];
    /// Whether events come from the stream: 1 they do, or would, 0 they cannot.
    gauge STREAM_UP = "tastemaker_stream_up" [];
    /// Items in the catalog.
    gauge ITEMS = "tastemaker_items" [];
    /// Users with state.
    gauge USERS = "tastemaker_users" [];
    /// Time of a query of the items' database, by query: fetch (by ids), changes.
    histogram ITEMS_SOURCE_SECONDS = "tastemaker_items_source_query_duration_seconds" ["query"], REQUEST_SECONDS;
    /// Queries of the items' database that failed, by query: fetch, changes, listen.
    counter ITEMS_SOURCE_ERRORS = "tastemaker_items_source_errors_total" ["query"];
    /// Rows of the items' database that changed the catalog or could not, by result: upserted, deleted, refused.
    counter ITEMS_SOURCE_ROWS = "tastemaker_items_source_rows_total" ["result"];
    /// Age of what is known of the items' database: the time since the last whole look at its changes began.
    gauge ITEMS_SOURCE_LAG_SECONDS = "tastemaker_items_source_lag_seconds" [];
    /// Resident memory of the process.
    gauge MEMORY_BYTES = "process_resident_memory_bytes" [];
    /// Open file descriptors of the process.
    gauge OPEN_FILES = "process_open_fds" [];
    /// Time since the process started to serve.
    gauge UPTIME_SECONDS = "tastemaker_uptime_seconds" [];
}

/// The table of all metrics as Markdown, as the documentation shows it.
pub fn markdown_table() -> String {
    let mut table = String::from("| metric | kind | labels | what |\n| --- | --- | --- | --- |\n");
    for definition in ALL {
        let labels = if definition.labels.is_empty() {
            "–".to_owned()
        } else {
            definition.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ")
        };
        table.push_str(&format!(
            "| `{}` | {} | {labels} | {} |\n",
            definition.name,
            definition.kind.as_str(),
            definition.help
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for definition in ALL {
            assert!(seen.insert(definition.name), "{} twice", definition.name);
            assert!(definition.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert!(definition.help.ends_with('.'), "{}", definition.name);
            if definition.kind == Kind::Counter {
                assert!(definition.name.ends_with("_total"), "{}", definition.name);
            }
        }
    }

    #[test]
    fn no_label_can_hold_an_entity() {
        for definition in ALL {
            for label in definition.labels {
                assert!(!label.contains("user") && !label.contains("item") && *label != "path", "{}", definition.name);
            }
        }
    }

    #[test]
    fn buckets_ascend_and_know_the_promise() {
        for definition in ALL {
            if let Kind::Histogram(bounds) = definition.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", definition.name);
                assert!(bounds.contains(&0.1), "{} has no bound at the 100 ms promise", definition.name);
            }
        }
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let page = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md")).unwrap();
        assert!(page.contains(&markdown_table()), "docs/operations.md lacks this table:\n{}", markdown_table());
    }
}
