//! What an expression is checked against: the columns it may name and the kinds of value they hold.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use tastemaker_types::{AttributeSchema, AttributeType, did_you_mean, nearest};

/// The kinds of value that an expression computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True, false or NULL.
    Bool,
    /// A finite 64-bit float.
    Number,
    /// Text, compared byte by byte; a tag is a text.
    Text,
    /// A list of texts.
    Tags,
    /// An instant, to the microsecond.
    Time,
    /// A length of time, to the microsecond.
    Interval,
}

impl Kind {
    /// The Arrow type that a result of this kind has.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Number => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Tags => arrow_type(AttributeType::Tags),
            Self::Time => arrow_type(AttributeType::Time),
            Self::Interval => DataType::Duration(TimeUnit::Microsecond),
        }
    }

    /// The kind that a column of this Arrow type is read as, if expressions can read it.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            numeric if numeric.is_numeric() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(_, values) if Self::of(values) == Some(Self::Text) => Self::Text,
            DataType::List(item) | DataType::LargeList(item) if Self::of(item.data_type()) == Some(Self::Text) => {
                Self::Tags
            }
            DataType::Timestamp(..) => Self::Time,
            DataType::Duration(_) => Self::Interval,
            _ => return None,
        })
    }

    /// With its article, for error sentences.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Bool => "a bool",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Tags => "a list of texts",
            Self::Time => "a time",
            Self::Interval => "an interval",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Number => "number",
            Self::Text => "text",
            Self::Tags => "tags",
            Self::Time => "time",
            Self::Interval => "interval",
        })
    }
}

/// The Arrow type that holds an attribute of a declared type.
pub fn arrow_type(attribute: AttributeType) -> DataType {
    match attribute {
        AttributeType::Tag => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        AttributeType::Tags => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        AttributeType::Text => DataType::Utf8,
        AttributeType::Number => DataType::Float64,
        AttributeType::Bool => DataType::Boolean,
        AttributeType::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// A column that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its place in the [`Schema`].
    pub index: usize,
    /// Its name in the [`Schema`].
    pub name: Arc<str>,
    /// What it holds.
    pub kind: Kind,
    /// What users call its type: `tag` for a dictionary, else the kind.
    pub(crate) noun: &'static str,
}

#[derive(Debug, Clone)]
struct Declared {
    name: Arc<str>,
    data_type: DataType,
}

/// The columns that expressions may name, in order.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    columns: Vec<Declared>,
    by_name: HashMap<Arc<str>, usize>,
    default_qualifier: Option<String>,
}

impl Schema {
    /// From names, which may be qualified (`user.age`), and Arrow types. Of two columns with one name, the first counts. A
    /// column of a type that expressions cannot read is refused when it is used.
    pub fn new<N: Into<Arc<str>>>(columns: impl IntoIterator<Item = (N, DataType)>) -> Self {
        let mut schema = Self::default();
        for (name, data_type) in columns {
            let name = name.into();
            schema.by_name.entry(Arc::clone(&name)).or_insert(schema.columns.len());
            schema.columns.push(Declared { name, data_type });
        }
        schema
    }

    /// The declared attributes of one entity, in declaration order, with unqualified names.
    pub fn for_attributes(attributes: &AttributeSchema) -> Self {
        Self::new(attributes.fields().iter().map(|(name, kind)| (name.as_str(), arrow_type(*kind))))
    }

    /// Lets `qualifier.x` and `x` both name the column `x` or `qualifier.x`, whichever there is.
    #[must_use]
    pub fn with_default_qualifier(mut self, qualifier: impl Into<String>) -> Self {
        self.default_qualifier = Some(qualifier.into());
        self
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &*column.name)
    }

    /// The end of the sentence that there is no such column.
    pub(crate) fn hint(&self, name: &str) -> String {
        let qualifier = self.default_qualifier.as_deref().unwrap_or("");
        let bare = unqualified(name, qualifier);
        // What needs no qualifier is compared without it, since most letters of a long one would be alike.
        let near = nearest(bare, self.names().map(|known| unqualified(known, qualifier)));
        match near.and_then(|near| self.names().find(|known| unqualified(known, qualifier) == near)) {
            Some(known) => format!("; did you mean '{known}'?"),
            None => did_you_mean(bare, self.names()),
        }
    }

    /// The column of this name, and its Arrow type.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Arc<str>, &DataType)> {
        let index = self.by_name.get(name).copied().or_else(|| {
            let qualifier = self.default_qualifier.as_deref()?;
            match name.strip_prefix(qualifier).and_then(|rest| rest.strip_prefix('.')) {
                Some(unqualified) => self.by_name.get(unqualified).copied(),
                None => self.by_name.get(format!("{qualifier}.{name}").as_str()).copied(),
            }
        })?;
        let column = self.columns.get(index)?;
        Some((index, &column.name, &column.data_type))
    }
}

/// The name without this qualifier.
fn unqualified<'n>(name: &'n str, qualifier: &str) -> &'n str {
    name.strip_prefix(qualifier).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}
