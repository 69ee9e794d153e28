//! The attributes of one entity over time.

use std::sync::Arc;

use tastemaker_types::Attributes;

/// What a record does to attributes.
pub(super) enum Change {
    /// Sets these, beside those that are there or instead of them.
    Upsert { replace: bool, attributes: Attributes },
    /// Removes all.
    Delete,
}

/// The attributes that changes of up to some time amount to, applied in the order of the log. Changes are added by time.
#[derive(Default)]
pub(super) struct Timeline {
    /// In the order of the log.
    changes: Vec<(u64, Change)>,
    current: Option<Arc<Attributes>>,
}

impl Timeline {
    /// Adds a change from a place of the log.
    pub(super) fn add(&mut self, position: u64, change: Change) {
        let place = self.changes.partition_point(|(known, _)| *known < position);
        self.changes.insert(place, (position, change));
        // A clock was wrong if a change is not the last of the log so far: what came after it in the log is done once more, on top.
        let from = if place + 1 == self.changes.len() { place } else { 0 };
        let mut attributes = match (from, self.current.take()) {
            (0, _) | (_, None) => Attributes::new(),
            (_, Some(current)) => Arc::unwrap_or_clone(current),
        };
        for (_, change) in self.changes.iter().skip(from) {
            match change {
                Change::Upsert { replace, attributes: new } => {
                    if *replace {
                        attributes.clear();
                    }
                    attributes.extend(new.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                Change::Delete => attributes.clear(),
            }
        }
        self.current = (!attributes.is_empty()).then(|| Arc::new(attributes));
    }

    /// The attributes now.
    pub(super) fn current(&self) -> Option<Arc<Attributes>> {
        self.current.clone()
    }
}
