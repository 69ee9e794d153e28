//! Rules of `[[features]]`, `[[feature_views]]` and `[recommend.context]`. Expressions are checked where they are compiled.

use std::collections::BTreeSet;

use tastemaker_types::{AttributeType, Window, did_you_mean};

use crate::tree::{join, join_index};
use crate::validate::{MAX_NAME_BYTES, Rules};
use crate::{AggregateKind, Config, Entity, FeatureConfig, FeatureViewConfig};

const MAX_FEATURES: usize = 1_000;
/// As for a query at the terminal.
const MAX_QUERY_BYTES: usize = 1 << 20;
const SECOND: Window = Window::from_millis(1_000);
const CENTURY: Window = Window::from_days(36_500);
/// Views that are there without being declared.
const OWN_VIEWS: [&str; 4] = ["user", "item", "pair", "model"];
/// Columns that stand beside features in pushes, in answers to Feast's clients and in files of features of the past.
const OWN_COLUMNS: [&str; 8] =
    ["user_id", "item_id", "event_timestamp", "created", "request_id", "timestamp", "position", "score"];

impl Rules<'_> {
    pub(crate) fn features(&mut self, config: &Config) {
        let mut names: BTreeSet<(Entity, &str)> = BTreeSet::new();
        let count = config.features.len() + config.feature_views.iter().map(|view| view.features.len()).sum::<usize>();
        if count > MAX_FEATURES {
            self.refuse("features", format!("{count} features are declared; at most {MAX_FEATURES} are allowed"));
        }
        for (index, feature) in config.features.iter().enumerate() {
            let path = join_index("features", index);
            self.feature_name(config, &join(&path, "name"), feature.entity, &feature.name, &mut names);
            self.feature(config, &path, feature);
        }
        let mut views: BTreeSet<&str> = OWN_VIEWS.into();
        for (index, view) in config.feature_views.iter().enumerate() {
            let path = join_index("feature_views", index);
            let name = join(&path, "name");
            self.word(&name, &view.name);
            if !views.insert(&view.name) {
                self.refuse(
                    &name,
                    format!("{name} is '{}', which is taken; give each view a name of its own", view.name),
                );
            }
            for name in view.features.keys() {
                self.feature_name(config, &format!("{path}.features.{name}"), view.entity, name, &mut names);
            }
            for name in view.defaults.keys().filter(|name| !view.features.contains_key(*name)) {
                let hint = did_you_mean(name, view.features.keys().map(String::as_str));
                let key = format!("{path}.defaults.{name}");
                self.refuse(&key, format!("{key} is the default of no feature of the view{hint}"));
            }
            self.feature_view(&path, view);
        }
        for (name, kind) in &config.recommend.context {
            let path = join("recommend.context", name);
            self.word(&path, name);
            if name == "now" {
                self.refuse(&path, "context.now is the time of the request already; choose another name");
            }
            if *kind == AttributeType::Tags {
                self.refuse(&path, format!("{path} is tags; a parameter is a tag, text, number, bool or time"));
            }
        }
    }

    fn feature_view(&mut self, path: &str, view: &FeatureViewConfig) {
        if view.features.is_empty() {
            self.refuse(&join(path, "features"), format!("{path} has no features; name them with their types"));
        }
        if let Some(ttl) = view.ttl {
            self.within(&join(path, "ttl"), ttl, SECOND, CENTURY);
        }
        let stranger = match view.entity {
            _ if self.is_refused(&join(path, "entity")) => None,
            Entity::User => Some("item_column"),
            Entity::Item => Some("user_column"),
            Entity::Pair => None,
        };
        if let Some(key) = stranger.map(|name| join(path, name)).filter(|key| self.is_given(key)) {
            let kind = view.entity.name();
            self.refuse(&key, format!("{key} means nothing to a view of {kind}s; remove it"));
        }
        let sources =
            [("path", view.path.is_some()), ("query", view.query.is_some()), ("query_file", view.query_file.is_some())];
        let mut given = sources.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        if let (Some(one), Some(other)) = (given.next(), given.next()) {
            self.refuse(&join(path, other), format!("{path} has both {one} and {other}; keep one"));
        }
        if let Some(query) = &view.query {
            let key = join(path, "query");
            if query.trim().is_empty() {
                self.refuse(&key, format!("{key} is empty; write a query, or remove it if rows are pushed"));
            } else if query.len() > MAX_QUERY_BYTES {
                self.refuse(&key, format!("{key} has {} bytes; at most {MAX_QUERY_BYTES} are allowed", query.len()));
            }
        }
    }

    fn word(&mut self, path: &str, name: &str) {
        let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !word || name.len() > MAX_NAME_BYTES {
            self.refuse(
                path,
                format!(
                    "{path} is {name:?}; use letters, digits and _, not a digit first, at most {MAX_NAME_BYTES} of them"
                ),
            );
        }
    }

    fn feature_name<'a>(
        &mut self,
        config: &Config,
        path: &str,
        entity: Entity,
        name: &'a str,
        names: &mut BTreeSet<(Entity, &'a str)>,
    ) {
        self.word(path, name);
        let kind = entity.name();
        let attributes = match entity {
            Entity::User => Some(&config.users.attributes),
            Entity::Item => Some(&config.items.attributes),
            Entity::Pair => None,
        };
        if attributes.is_some_and(|attributes| attributes.contains_key(name)) {
            self.refuse(path, format!("{path}: '{name}' is an attribute of {kind}s already; choose another name"));
        } else if name == format!("{kind}_embedding") {
            self.refuse(path, format!("{path}: '{name}' is the vector that models make; choose another name"));
        } else if OWN_COLUMNS.contains(&name) {
            self.refuse(path, format!("{path}: '{name}' is a column that stands beside features; choose another name"));
        } else if !names.insert((entity, name)) {
            self.refuse(path, format!("{path}: another feature of {kind}s is called '{name}'; rename one"));
        }
    }

    fn feature(&mut self, config: &Config, path: &str, feature: &FeatureConfig) {
        let key = |name: &str| join(path, name);
        for (name, types) in [("events", &feature.events), ("per", &feature.per)] {
            for (index, event_type) in types.iter().enumerate() {
                if let Err(error) = config.events.get(event_type) {
                    let place = join_index(&key(name), index);
                    self.refuse(&place, format!("{place}: {error}"));
                }
            }
        }
        for (name, time) in [("ttl", feature.ttl), ("window", feature.window), ("half_life", feature.half_life)] {
            if let Some(time) = time {
                self.within(&key(name), time, SECOND, CENTURY);
            }
        }
        if let Some(view) = &feature.view {
            let path = key("view");
            self.word(&path, view);
            if config.feature_views.iter().any(|known| known.name == *view) || view == "model" {
                self.refuse(&path, format!("{path} is '{view}', which is another kind of view; choose another name"));
            }
        }
        let given = [
            ("events", !feature.events.is_empty()),
            ("filter", feature.filter.is_some()),
            ("value", feature.value.is_some()),
            ("group_by", feature.group_by.is_some()),
            ("max_groups", feature.max_groups.is_some()),
            ("window", feature.window.is_some()),
            ("gap", feature.gap.is_some()),
            ("half_life", feature.half_life.is_some()),
            ("k", feature.k.is_some()),
            ("per", !feature.per.is_empty()),
            ("prior", feature.prior.is_some()),
            ("prior_mean", feature.prior_mean.is_some()),
        ];
        let given = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        let Some(aggregate) = feature.aggregate else {
            if self.is_refused(&key("aggregate")) {
                return;
            }
            if feature.expression.as_ref().is_none_or(|text| text.trim().is_empty()) {
                self.refuse(path, format!("{path} has neither aggregate nor expression; give one"));
            }
            for name in given.chain(feature.ttl.map(|_| "ttl")) {
                self.refuse(
                    &key(name),
                    format!("{path}.{name} belongs to an aggregate, and this is an expression; remove it"),
                );
            }
            return;
        };
        if feature.expression.is_some() {
            self.refuse(&key("expression"), format!("{path} has both aggregate and expression; keep one"));
        }
        use AggregateKind as A;
        let session = matches!(aggregate, A::SessionDuration | A::SessionEventCount | A::SessionItems);
        let takes = |name: &str| match name {
            "window" => !session && aggregate != A::Decayed,
            "gap" => session,
            "half_life" => aggregate == A::Decayed,
            "k" => matches!(aggregate, A::LastK | A::TopK | A::SessionItems),
            "per" | "prior" | "prior_mean" => aggregate == A::Rate,
            "max_groups" => feature.group_by.is_some(),
            _ => true,
        };
        let strangers: Vec<&str> = given.filter(|name| !takes(name)).collect();
        for name in strangers {
            self.refuse(&key(name), format!("{path}.{name} means nothing to this aggregate; remove it"));
        }
        let without_prior = feature.prior.is_none() && !self.is_refused(&key("prior"));
        if aggregate == A::Rate && feature.prior_mean.is_some() && without_prior {
            let message = format!("{path}.prior_mean means nothing without prior; give prior, or remove it");
            self.refuse(&key("prior_mean"), message);
        }
        if aggregate == A::Rate && feature.per.is_empty() {
            let hint = did_you_mean("impression", config.events.iter().map(|(name, _)| name));
            self.refuse(path, format!("{path} is a rate, but 'per' is missing: the events that it is per{hint}"));
        }
    }
}
