//! Streaming features: from `[[features]]` with `aggregate` to a kernel for each kind of entity, and from events to the kernel's inputs.

use std::collections::{BTreeSet, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use tastemaker_config::{AggregateKind, Config, Entity, FeatureConfig};
use tastemaker_expr::{EvalError, Expr, Kind, Params, Schema};
use tastemaker_types::{Event, Window};

use super::events::event_schema;
use super::fingerprint::typed_key;
use super::{Feature, FeatureSet, FeatureSetError, LONG_AGO_AND_FAR_AHEAD, Source, ValueType, default_of};
use crate::kernel::{Definition, Input, InputValue, Kernel, Operation, Role};

pub use super::events::EventColumns;

/// Values of `last_k`, `top_k` and `session_items` unless their declaration says.
const K: u32 = 10;
/// Groups of a grouped feature unless its declaration says.
const GROUPS: u32 = 64;

/// How one streaming feature reads events.
#[derive(Debug, Clone)]
struct Stream {
    filter: Option<Expr>,
    value: ValueOf,
    group: Option<Expr>,
}

/// What an event's value is.
#[derive(Debug, Clone)]
enum ValueOf {
    /// None is needed.
    Nothing,
    /// `value` of the event.
    Event,
    /// The id of the item, or of the user for a feature of an item.
    OtherSide,
    Expr(Expr),
}

/// The streaming features of one kind of entity.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    kernel: Kernel,
    streams: Vec<Stream>,
    /// By event type: the features that it concerns, and as what.
    by_type: HashMap<String, Vec<(u16, Role)>>,
}

/// What streaming features read of some events, evaluated.
#[derive(Debug, Default)]
pub struct Evaluated {
    columns: Vec<Columns>,
}

#[derive(Debug, Default)]
struct Columns {
    filter: Option<BooleanArray>,
    value: Option<Value>,
    group: Option<Group>,
}

#[derive(Debug)]
enum Value {
    Numbers(Float64Array),
    Texts(StringArray),
}

#[derive(Debug)]
enum Group {
    One(StringArray),
    Many(ListArray, StringArray),
}

impl FeatureSet {
    pub(super) fn add_streams(&mut self, config: &Config) -> Result<(), FeatureSetError> {
        let schema = event_schema(&config.items.schema());
        let mut definitions: [Vec<Definition>; 3] = Default::default();
        for (index, feature) in config.features.iter().enumerate() {
            let Some(aggregate) = feature.aggregate else { continue };
            let compiled = compile(&format!("features[{index}]"), feature, aggregate, &schema)?;
            let place = feature.entity as usize;
            let (Some(streams), Some(definitions)) = (self.streams.get_mut(place), definitions.get_mut(place)) else {
                continue;
            };
            let default =
                default_of(&format!("features[{index}].default"), compiled.value_type, feature.default.as_ref())?;
            let number = definitions.len();
            let types = if feature.events.is_empty() {
                config.events.iter().map(|(name, _)| name.to_owned()).collect()
            } else {
                feature.events.clone()
            };
            let roles = [(Role::Numerator, types), (Role::Denominator, feature.per.clone())];
            for (role, types) in roles {
                for event_type in types.into_iter().collect::<BTreeSet<_>>() {
                    streams.by_type.entry(event_type).or_default().push((number as u16, role));
                }
            }
            let stream = compiled.stream;
            [&stream.filter, &stream.group].into_iter().flatten().for_each(|expr| self.event_columns.add(expr));
            if let ValueOf::Expr(expr) = &stream.value {
                self.event_columns.add(expr);
            }
            streams.streams.push(stream);
            definitions.push(compiled.definition);
            self.add(Feature {
                entity: feature.entity,
                name: feature.name.clone(),
                view: feature.view.clone().unwrap_or_else(|| feature.entity.name().to_owned()),
                value_type: compiled.value_type,
                source: Source::Stream(number),
                ttl: feature.ttl,
                default,
            });
        }
        for (streams, definitions) in self.streams.iter_mut().zip(definitions) {
            streams.kernel = Kernel::new(definitions).map_err(|error| FeatureSetError::new("features", error))?;
        }
        Ok(())
    }
}

struct Compiled {
    stream: Stream,
    definition: Definition,
    value_type: ValueType,
}

fn compile(
    key: &str,
    feature: &FeatureConfig,
    aggregate: AggregateKind,
    schema: &Schema,
) -> Result<Compiled, FeatureSetError> {
    let at = |name: &str| format!("{key}.{name}");
    let expression = |name: &str, text: &Option<String>, condition: bool| {
        let compile = |now| {
            let compile = if condition { Expr::compile_filter } else { Expr::compile };
            text.as_ref().map(|text| compile(text, schema, &Params::at(now))).transpose()
        };
        let refuse = |error: tastemaker_expr::ExprError| FeatureSetError::new(at(name), error.within(name.to_owned()));
        let [compiled, later] = LONG_AGO_AND_FAR_AHEAD.map(compile);
        let (compiled, later) = (compiled.map_err(refuse)?, later.map_err(refuse)?);
        // What depends on the moment of compilation would not be the same in a replay.
        if compiled.as_ref().map(Expr::cache_key) != later.as_ref().map(Expr::cache_key) {
            return Err(FeatureSetError::new(at(name), "now() cannot be used of an event; use its timestamp"));
        }
        Ok(compiled)
    };
    let filter = expression("filter", &feature.filter, true)?;
    let value = expression("value", &feature.value, false)?;
    let group = expression("group_by", &feature.group_by, false)?;

    use AggregateKind as A;
    let k = feature.k.unwrap_or(K);
    let needed = |name: &str, given: Option<Window>| {
        let message = || format!("{name} is missing; give the time, such as \"30m\"");
        given.ok_or_else(|| FeatureSetError::new(at(name), message()))
    };
    let operation = match aggregate {
        A::Count => Operation::Count,
        A::Sum => Operation::Sum,
        A::Mean => Operation::Mean,
        A::Min => Operation::Min,
        A::Max => Operation::Max,
        A::Variance => Operation::Variance,
        A::Last => Operation::Last,
        A::LastK => Operation::LastK { k },
        A::Distinct => Operation::Distinct,
        A::TopK => Operation::TopK { k },
        A::Rate => {
            Operation::Rate { prior: feature.prior.unwrap_or(0.0), prior_mean: feature.prior_mean.unwrap_or(0.0) }
        }
        A::TimeSinceLast => Operation::TimeSinceLast,
        A::SessionDuration => Operation::SessionDuration { gap: needed("gap", feature.gap)? },
        A::SessionEventCount => Operation::SessionEventCount { gap: needed("gap", feature.gap)? },
        A::SessionItems => Operation::SessionItems { gap: needed("gap", feature.gap)?, k },
        A::Decayed => Operation::Decayed { half_life: needed("half_life", feature.half_life)? },
    };
    let value = match (aggregate, value) {
        (A::Count | A::TimeSinceLast | A::SessionDuration | A::SessionEventCount, None) => ValueOf::Nothing,
        (A::Count | A::TimeSinceLast | A::SessionDuration | A::SessionEventCount, Some(_)) => {
            let message = format!("a {} has no value; leave it out", operation.name());
            return Err(FeatureSetError::new(at("value"), message));
        }
        // Events of a rate count one each, unless told otherwise.
        (A::Rate, None) => ValueOf::Nothing,
        (A::Last | A::LastK | A::Distinct | A::TopK | A::SessionItems, None) => ValueOf::OtherSide,
        (_, None) => ValueOf::Event,
        (_, Some(expr)) => ValueOf::Expr(expr),
    };
    let takes_text = matches!(aggregate, A::Last | A::LastK | A::Distinct | A::TopK | A::SessionItems);
    let text = match &value {
        ValueOf::OtherSide => true,
        ValueOf::Expr(expr) => match expr.kind() {
            Some(Kind::Text) if takes_text => true,
            Some(Kind::Number | Kind::Bool) => false,
            kind => {
                let found = kind.map_or_else(|| "always NULL".to_owned(), |kind| format!("a {kind}"));
                let wanted = if takes_text { "a number or a text" } else { "a number" };
                return Err(FeatureSetError::new(at("value"), format!("the value is {found}; it has to be {wanted}")));
            }
        },
        ValueOf::Nothing | ValueOf::Event => false,
    };
    let value_type = match aggregate {
        _ if group.is_some() => ValueType::Map,
        A::Last if text => ValueType::Text,
        A::LastK | A::SessionItems => ValueType::Texts,
        A::TopK => ValueType::Map,
        _ => ValueType::Number,
    };
    let inputs = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        feature.events,
        feature.per,
        filter.as_ref().map(typed_key),
        (feature.value.is_some(), if let ValueOf::Expr(expr) = &value { typed_key(expr) } else { String::new() }),
        group.as_ref().map(typed_key)
    );
    let groups = group.as_ref().map(|_| feature.max_groups.unwrap_or(GROUPS));
    let definition = Definition { operation, window: feature.window, groups, inputs };
    // Checked alone, so that an error names this feature.
    Kernel::new(vec![definition.clone()]).map_err(|error| FeatureSetError::new(key, error.problem))?;
    Ok(Compiled { stream: Stream { filter, value, group }, definition, value_type })
}

impl Streams {
    /// The state machines.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Whether there is no streaming feature.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The types of events that a feature takes in, with what they are to it, in order.
    pub(super) fn event_types(&self, feature: usize) -> Vec<(&str, &'static str)> {
        let role = |role: &Role| if *role == Role::Numerator { "counts" } else { "per" };
        let of = self.by_type.iter().flat_map(|(name, features)| features.iter().map(move |of| (name.as_str(), of)));
        let mut types: Vec<_> = of
            .filter(|(_, (of, _))| usize::from(*of) == feature)
            .map(|(name, (_, as_what))| (name, role(as_what)))
            .collect();
        types.sort_unstable();
        types
    }

    /// Whether an event of this type says anything to these features.
    pub fn concerns(&self, event_type: &str) -> bool {
        self.by_type.contains_key(event_type)
    }

    /// Evaluates what the features read, over the columns of some events.
    ///
    /// # Errors
    /// Never for a batch of [`EventColumns::batch`].
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, EvalError> {
        let columns = self.streams.iter().map(|stream| {
            Ok(Columns {
                filter: stream.filter.as_ref().map(|filter| filter.filter(batch)).transpose()?,
                value: match &stream.value {
                    ValueOf::Expr(expr) => Some(value_column(&expr.evaluate(batch)?)?),
                    _ => None,
                },
                group: stream.group.as_ref().map(|group| group_column(group.evaluate(batch)?)).transpose()?,
            })
        });
        Ok(Evaluated { columns: columns.collect::<Result<_, EvalError>>()? })
    }

    /// Adds to `inputs` what the event at `place` of the evaluated ones says to the features of `entity`.
    pub fn inputs<'a>(
        &self,
        entity: Entity,
        event: &'a Event,
        place: usize,
        evaluated: &'a Evaluated,
        inputs: &mut Vec<Input<'a>>,
    ) {
        for (feature, role) in self.by_type.get(&event.event_type).into_iter().flatten() {
            let number = usize::from(*feature);
            let (Some(stream), Some(columns)) = (self.streams.get(number), evaluated.columns.get(number)) else {
                continue;
            };
            if columns.filter.as_ref().is_some_and(|filter| !filter.value(place)) {
                continue;
            }
            let value = match (&stream.value, &columns.value) {
                (ValueOf::Event, _) => event.value.map_or(InputValue::None, InputValue::Number),
                (ValueOf::OtherSide, _) if entity == Entity::Item => InputValue::Text(&event.user_id),
                (ValueOf::OtherSide, _) => InputValue::Text(&event.item_id),
                (_, Some(Value::Numbers(numbers))) if numbers.is_valid(place) => {
                    InputValue::Number(numbers.value(place))
                }
                (_, Some(Value::Texts(texts))) if texts.is_valid(place) => InputValue::Text(texts.value(place)),
                _ => InputValue::None,
            };
            // A value that is NULL says nothing, also where no value would be needed.
            if matches!(stream.value, ValueOf::Expr(_)) && value == InputValue::None {
                continue;
            }
            let input = Input { feature: *feature, value, group: None, role: *role };
            match &columns.group {
                None => inputs.push(input),
                Some(Group::One(groups)) if groups.is_valid(place) => {
                    inputs.push(Input { group: Some(groups.value(place)), ..input });
                }
                Some(Group::Many(lists, tags)) if lists.is_valid(place) => {
                    let offsets = lists.value_offsets();
                    let range = offsets.get(place).zip(offsets.get(place + 1));
                    let range = range.map_or(0..0, |(from, to)| *from as usize..*to as usize);
                    let valid = range.filter(|tag| tags.is_valid(*tag));
                    inputs.extend(valid.map(|tag| Input { group: Some(tags.value(tag)), ..input }));
                }
                Some(_) => {}
            }
        }
    }
}

fn value_column(array: &ArrayRef) -> Result<Value, EvalError> {
    let text = matches!(array.data_type(), DataType::Utf8 | DataType::Dictionary(..));
    let target = if text { DataType::Utf8 } else { DataType::Float64 };
    let array = arrow_cast::cast(array, &target)?;
    Ok(match text {
        true => Value::Texts(array.as_string::<i32>().clone()),
        false => Value::Numbers(array.as_primitive::<Float64Type>().clone()),
    })
}

fn group_column(array: ArrayRef) -> Result<Group, EvalError> {
    if let Some(lists) = array.as_list_opt::<i32>() {
        let tags = arrow_cast::cast(lists.values(), &DataType::Utf8)?;
        return Ok(Group::Many(lists.clone(), tags.as_string::<i32>().clone()));
    }
    if array.data_type().is_numeric() {
        // Written as `top_k` writes them: 3, not 3.0; no −0.
        let numbers = arrow_cast::cast(&array, &DataType::Float64)?;
        let name =
            |number: Option<f64>| number.filter(|number| number.is_finite()).map(|number| (number + 0.0).to_string());
        return Ok(Group::One(numbers.as_primitive::<Float64Type>().iter().map(name).collect()));
    }
    Ok(Group::One(arrow_cast::cast(&array, &DataType::Utf8)?.as_string::<i32>().clone()))
}
