//! What the client is told of a command beside the command itself.

/// What a command is called in metrics and messages, and how it may be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    name: &'static str,
    repeatable: bool,
    bulk: bool,
    costly: bool,
}

impl Operation {
    /// Of a command that changes nothing, or that does the same when done twice: it may be retried.
    pub const fn repeatable(name: &'static str) -> Self {
        Self { name, repeatable: true, bulk: false, costly: false }
    }

    /// Of a command that must not be sent twice.
    pub const fn once(name: &'static str) -> Self {
        Self { name, repeatable: false, bulk: false, costly: false }
    }

    /// With the deadline of bulk loads, `redis.bulk_timeout`, in place of that of requests.
    #[must_use]
    pub const fn bulk(self) -> Self {
        Self { bulk: true, ..self }
    }

    /// Of a command that by its nature may take several times as long as others of requests: its deadline is so much later, and that it passes says
    /// nothing about the server.
    #[must_use]
    pub const fn costly(self) -> Self {
        Self { costly: true, ..self }
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    pub(super) const fn is_repeatable(self) -> bool {
        self.repeatable
    }

    pub(super) const fn is_bulk(self) -> bool {
        self.bulk
    }

    pub(super) const fn is_costly(self) -> bool {
        self.costly
    }
}
