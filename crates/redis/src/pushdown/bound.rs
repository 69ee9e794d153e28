//! Filters that pass at least what they should, and how they combine.

/// What a filter passes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Passes {
    All,
    None,
    These(Text),
}

/// A filter as the module reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether it is several conditions of which one is a negation, or has such a part: as a branch of `|` beside another condition the module
    /// would lose some of what passes it (`@a:{x} ((-@b:{y} @c:{z}) | @d:{w})`).
    negates: bool,
}

impl Passes {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, these) | (these, Self::All) => these,
            (Self::These(a), Self::These(b)) => {
                let negates = [&a, &b].iter().any(|part| part.negates || part.is_negation());
                Self::These(Text { text: format!("{} {}", a.text, b.text), negates })
            }
        }
    }

    /// What passes one of them.
    pub(super) fn any(all: Vec<Self>) -> Self {
        let mut texts = Vec::with_capacity(all.len());
        for passes in all {
            match passes {
                Self::All => return Self::All,
                Self::None => {}
                Self::These(text) => texts.push(text),
            }
        }
        if texts.len() < 2 {
            return texts.pop().map_or(Self::None, Self::These);
        }
        let text = if texts.iter().any(|text| text.negates) {
            // What not all of them refuse.
            let refused: Vec<_> = texts.into_iter().map(Text::negated).collect();
            format!("-({})", refused.join(" "))
        } else {
            let texts: Vec<_> = texts.into_iter().map(|text| text.text).collect();
            format!("({})", texts.join(" | "))
        };
        Self::These(Text { text, negates: false })
    }

    /// As one operand.
    pub(super) fn grouped(self) -> Self {
        match self {
            Self::These(Text { text, negates }) => Self::These(Text { text: format!("({text})"), negates }),
            other => other,
        }
    }
}

impl Text {
    fn is_negation(&self) -> bool {
        self.text.starts_with('-')
    }

    fn negated(self) -> String {
        self.text.strip_prefix('-').map_or_else(|| format!("-{}", self.text), str::to_owned)
    }
}

/// A filter that passes at least what it should.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) passes: Passes,
    /// Whether it passes nothing else.
    pub(super) exact: bool,
}

impl Bound {
    pub(super) const UNKNOWN: Self = Self { passes: Passes::All, exact: false };
    pub(super) const NOTHING: Self = Self { passes: Passes::None, exact: true };
    pub(super) const EVERYTHING: Self = Self { passes: Passes::All, exact: true };

    /// A condition of one word or in brackets.
    pub(super) fn these(text: String) -> Self {
        Self { passes: Passes::These(Text { text, negates: false }), exact: true }
    }
}
