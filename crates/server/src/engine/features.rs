//! Reading features online: a request is checked whole, then read from state at one moment.

use serde::{Serialize, Serializer};
use tastemaker_api::{CellRef, ColumnRef, OnlineFeatures as Written};
use tastemaker_config::Entity;
use tastemaker_features::set::{Feature, FeatureId, SharedFeatures, ValueType};
use tastemaker_features::{Cell, Embeddings, FeatureColumn, Fetched, ReadPlan, Status};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_recommend::World;
use tastemaker_types::{Attributes, FeatureValue, Timestamp, validate_id};

use super::Engine;
use crate::EngineError;

/// The most rows of one read.
const MAX_ROWS: usize = 10_000;
/// The most features of one read.
const MAX_FEATURES: usize = 1_000;
/// The most values of one read.
const MAX_VALUES: usize = 2_000_000;
/// The most bytes of one answer, about as they are written.
const MAX_BYTES: usize = 128 << 20;
/// About as many bytes as a value, its status and its time take, if it is no text, list or map.
pub(crate) const BYTES_PER_VALUE: usize = 48;
/// As many bytes as a number of a vector takes, and one of a map without its name.
const BYTES_PER_NUMBER: usize = 12;
/// What is read before another look at how large the answer is, and whether anybody waits for it; in values like numbers.
const STEP: usize = 50_000;

/// Asks for features of users, of items, or of pairs of both.
#[derive(Debug, Clone, Default)]
pub struct FeaturesRequest {
    /// Ids of users.
    pub users: Vec<String>,
    /// Ids of items. With users, too, the two are pairs: equally long, or one of them is a single id that goes with all of the other.
    pub items: Vec<String>,
    /// One of the two was given, and is empty: whoever has no candidates is answered with no rows.
    pub no_rows: bool,
    /// Features by name, as `entity.name` or as `view:name`.
    pub features: Vec<String>,
    /// A declared list of features, instead.
    pub service: Option<String>,
    /// Request parameters.
    pub context: Attributes,
    /// The moment that values are of; the present if left out.
    pub now: Option<Timestamp>,
}

/// A request that can be answered.
pub(crate) struct FeatureRead {
    request: FeaturesRequest,
    names: Vec<String>,
    plan: ReadPlan,
    rows: usize,
}

impl FeatureRead {
    /// How much work it is, in values like numbers: a vector may be of thousands of them.
    pub(crate) fn weight(&self) -> usize {
        self.rows.saturating_mul(self.row_weight())
    }

    fn row_weight(&self) -> usize {
        let weight = |id: &FeatureId| match self.plan.set().feature(*id).map(|feature| feature.value_type) {
            Some(ValueType::Vector) => 200,
            Some(ValueType::Text | ValueType::Texts | ValueType::Map) => 20,
            _ => 1,
        };
        self.plan.wanted().iter().map(weight).sum()
    }
}

/// Values of features, column by column.
#[derive(Debug)]
pub struct OnlineFeatures {
    /// How many cells each column has.
    pub rows: usize,
    names: Vec<String>,
    columns: Vec<FeatureColumn>,
    set: SharedFeatures,
}

impl OnlineFeatures {
    /// How many values there are.
    pub fn values(&self) -> usize {
        self.rows * self.names.len()
    }

    /// Each feature in the order asked for: as it was asked for, what it is, and a cell for each row.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Feature, &[Cell])> {
        let columns = self.names.iter().zip(&self.columns);
        columns
            .filter_map(|(name, column)| Some((name.as_str(), self.set.feature(column.id)?, column.cells.as_slice())))
    }
}

/// The cells of a column as they are written.
pub(crate) type Cells<'a> = std::iter::Map<std::slice::Iter<'a, Cell>, fn(&'a Cell) -> CellRef<'a>>;

pub(crate) fn cells(cells: &[Cell]) -> Cells<'_> {
    cells.iter().map(|cell| CellRef {
        value: cell.value.as_ref(),
        status: cell.status.name(),
        event_time: cell.event_time,
    })
}

/// As `POST /v1/features/online` answers it.
impl Serialize for OnlineFeatures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.columns().map(|(name, feature, values)| ColumnRef {
            name,
            value_type: feature.value_type.name(),
            cells: cells(values),
        });
        Written { rows: self.rows, features: columns.collect() }.serialize(serializer)
    }
}

pub(super) fn wrong(field: impl Into<String>, message: impl Into<String>) -> EngineError {
    EngineError::FeatureRequest { field: field.into(), message: message.into() }
}

impl Engine {
    /// The present values of features.
    ///
    /// # Errors
    /// [`EngineError::FeatureRequest`] names what is wrong with the request: an unknown feature, a feature of an entity
    /// whose ids are not given, too much at once.
    pub fn online_features(&self, request: FeaturesRequest) -> Result<OnlineFeatures, EngineError> {
        self.read_features(&self.recommender.world(), self.plan_features(request)?, &|| false)
    }

    /// What a request reads of: everything here, or, without the log, what Redis has of its users and items.
    pub(crate) async fn world_of(&self, read: &FeatureRead) -> Result<World, EngineError> {
        match self.online.as_ref().filter(|_| self.is_stateless()) {
            Some(online) => Ok(online.remote().world_of(&read.request.users, &read.request.items).await?),
            None => Ok(self.recommender.world()),
        }
    }

    /// Checks a request.
    pub(crate) fn plan_features(&self, mut request: FeaturesRequest) -> Result<FeatureRead, EngineError> {
        let rows = rows(&request)?;
        let (names, wanted) = self.wanted(&mut request)?;
        let set = self.state.features();
        let given = |entity| match entity {
            _ if request.no_rows => true,
            Entity::User => !request.users.is_empty(),
            Entity::Item => !request.items.is_empty(),
            Entity::Pair => !request.users.is_empty() && !request.items.is_empty(),
        };
        for (name, id) in names.iter().zip(&wanted) {
            let Some(feature) = set.feature(*id) else { continue };
            if !given(feature.entity) {
                let needed = match feature.entity {
                    Entity::User => "users; give their ids",
                    Entity::Item => "items; give their ids",
                    Entity::Pair => "pairs; give ids of both users and items",
                };
                let message = format!("'{name}' is a feature of {needed}");
                return Err(wrong("entities", message));
            }
        }
        let values = rows.saturating_mul(wanted.len());
        if values > MAX_VALUES {
            let message = format!(
                "{rows} rows of {} features are {values} values; ask for at most {MAX_VALUES} at a time",
                wanted.len()
            );
            return Err(wrong("entities", message));
        }
        let context = std::mem::take(&mut request.context);
        request.context = set.context().coerce_all(context).map_err(|error| wrong("context", error.to_string()))?;
        Ok(FeatureRead { plan: ReadPlan::new(set, wanted), request, names, rows })
    }

    /// What the features are called and which they are.
    fn wanted(&self, request: &mut FeaturesRequest) -> Result<(Vec<String>, Vec<FeatureId>), EngineError> {
        let set = self.state.features();
        let given = std::mem::take(&mut request.features);
        let (names, ids) = match &request.service {
            Some(_) if !given.is_empty() => {
                return Err(wrong("features", "give features or a feature_service, not both"));
            }
            Some(service) => {
                let ids = set.service(service).map_err(|message| wrong("feature_service", message))?.to_vec();
                (self.config.feature_services.get(service).cloned().unwrap_or_default(), ids)
            }
            None => {
                check_most("features", given.len(), MAX_FEATURES)?;
                let find = |(place, name): (usize, &String)| {
                    set.by_reference(name).map_err(|message| wrong(format!("features[{place}]"), message))
                };
                let ids = given.iter().enumerate().map(find).collect::<Result<Vec<_>, _>>()?;
                (given, ids)
            }
        };
        if ids.is_empty() {
            return Err(wrong("features", "give the names of features, or a feature_service"));
        }
        let mut seen = vec![false; set.features().len()];
        let mut again = |id: FeatureId| seen.get_mut(id.0).is_some_and(|seen| std::mem::replace(seen, true));
        if let Some((name, _)) = names.iter().zip(&ids).find(|(_, id)| again(**id)) {
            return Err(wrong("features", format!("'{name}' is asked for twice; remove one")));
        }
        Ok((names, ids))
    }

    /// Reads what was asked for, unless it is `abandoned`.
    pub(crate) fn read_features(
        &self,
        world: &World,
        read: FeatureRead,
        abandoned: &dyn Fn() -> bool,
    ) -> Result<OnlineFeatures, EngineError> {
        let step = (STEP / read.row_weight().max(1)).max(1);
        let FeatureRead { request: FeaturesRequest { users, items, context, now, .. }, names, plan, rows } = read;
        let now = now.unwrap_or_else(Timestamp::now);
        let embeddings = world.generation.as_deref().map(|generation| generation as &dyn Embeddings);
        let catalog = world.catalog.snapshot();
        let places: Vec<Option<u32>> = items.iter().map(|id| catalog.row(id)).collect();
        let fetch_users =
            |users: &[String]| world.state.fetch_users(&plan, users.iter().map(String::as_str), now, embeddings);
        let fetch_items = |places: &[Option<u32>]| world.state.fetch_items(&plan, places, now, embeddings).fetched;
        // One that goes with all of the other is read once, so that it is the same in all rows.
        let (one_user, one_item) = (users.len() == 1 && rows > 1, places.len() == 1 && rows > 1);
        let the_user = (one_user && plan.needs(Entity::User)).then(|| fetch_users(&users));
        let the_item = (one_item && plan.needs(Entity::Item)).then(|| fetch_items(&places));
        let mut columns: Vec<FeatureColumn> = Vec::new();
        let mut bytes = 0;
        // Columns without rows are columns, too.
        for start in (0..rows.max(1)).step_by(step) {
            let end = (start + step).min(rows);
            if abandoned() {
                return Err(wrong("entities", "nobody waits for the answer any more"));
            }
            let of_users = match &the_user {
                None if plan.needs(Entity::User) => users.get(start..end).map(fetch_users),
                _ => None,
            };
            let of_items = match &the_item {
                None if plan.needs(Entity::Item) => places.get(start..end).map(fetch_items),
                _ => None,
            };
            let of_pairs = plan.needs(Entity::Pair).then(|| {
                let pair = |row: usize| {
                    let user = users.get(if one_user { 0 } else { row }).map_or("", String::as_str);
                    (user, places.get(if one_item { 0 } else { row }).copied().flatten())
                };
                world.state.fetch_pairs(&plan, (start..end).map(pair), now)
            });
            let fetched = [
                (Entity::User, of_users.as_ref().or(the_user.as_ref())),
                (Entity::Item, of_items.as_ref().or(the_item.as_ref())),
                (Entity::Pair, of_pairs.as_ref()),
            ];
            let fetched: Vec<(Entity, &Fetched)> =
                fetched.into_iter().filter_map(|(entity, fetched)| Some((entity, fetched?))).collect();
            let part = plan
                .assemble(end - start, now, &context, &fetched)
                .map_err(|error| EngineError::setup("evaluate a feature's expression", &error))?;
            bytes += part.iter().flat_map(|column| &column.cells).map(written_bytes).sum::<usize>();
            if bytes > MAX_BYTES {
                let fits = (end as u128 * MAX_BYTES as u128 / bytes as u128).max(1);
                let message = format!(
                    "{rows} rows of these features are more than {} MiB; ask for at most {fits} rows at a time, or for fewer features",
                    MAX_BYTES >> 20
                );
                return Err(wrong("entities", message));
            }
            if columns.is_empty() {
                columns = part;
            } else {
                columns.iter_mut().zip(part).for_each(|(column, part)| column.cells.extend(part.cells));
            }
        }
        let features = OnlineFeatures { rows, names, columns, set: self.state.features().clone() };
        self.count_reads(&features);
        Ok(features)
    }

    /// Counts values by feature view and status.
    fn count_reads(&self, features: &OnlineFeatures) {
        const STATUSES: [Status; 4] = [Status::Present, Status::NullValue, Status::NotFound, Status::OutsideMaxAge];
        let mut views: Vec<(&str, [u64; 4])> = Vec::new();
        for (_, feature, cells) in features.columns() {
            let mut of_column = [0_u64; 4];
            for cell in cells {
                let place = cell.status as usize;
                of_column.get_mut(place).into_iter().for_each(|count| *count += 1);
            }
            match views.iter_mut().find(|(view, _)| *view == feature.view) {
                Some((_, counts)) => counts.iter_mut().zip(of_column).for_each(|(sum, count)| *sum += count),
                None => views.push((&feature.view, of_column)),
            }
        }
        for (view, counts) in views {
            for (status, count) in STATUSES.iter().zip(counts) {
                self.monitor.count(&metrics::FEATURE_VALUES, [view, status.name()], count);
            }
        }
    }
}

/// About how many bytes a cell takes in the answer.
fn written_bytes(cell: &Cell) -> usize {
    let value = match &cell.value {
        Some(FeatureValue::Text(text)) => text.len(),
        Some(FeatureValue::Texts(texts)) => texts.iter().map(|text| text.len() + 3).sum(),
        Some(FeatureValue::Vector(vector)) => vector.len() * BYTES_PER_NUMBER,
        Some(FeatureValue::Map(map)) => map.iter().map(|(name, _)| name.len() + 2 * BYTES_PER_NUMBER).sum(),
        _ => 0,
    };
    BYTES_PER_VALUE + value
}

/// How many rows there are, after checking the ids.
fn rows(request: &FeaturesRequest) -> Result<usize, EngineError> {
    let (users, items) = (request.users.len(), request.items.len());
    check_most("entities.user", users, MAX_ROWS)?;
    check_most("entities.item", items, MAX_ROWS)?;
    for (what, ids) in [("user", &request.users), ("item", &request.items)] {
        for (place, id) in ids.iter().enumerate() {
            validate_id("the id", id).map_err(|error| wrong(format!("entities.{what}[{place}]"), error.to_string()))?;
        }
    }
    match (users, items) {
        _ if request.no_rows => Ok(0),
        (0, 0) => Err(wrong("entities", "give ids of users, of items, or of both")),
        (rows, 0) | (0, rows) => Ok(rows),
        (one, rows) | (rows, one) if one == 1 || one == rows => Ok(rows),
        _ => {
            let message = format!(
                "{users} users and {items} items make no pairs; give as many of both, or one of either with many of the other"
            );
            Err(wrong("entities", message))
        }
    }
}

fn check_most(field: &str, given: usize, most: usize) -> Result<(), EngineError> {
    if given > most {
        return Err(wrong(field, format!("{given} are given; at most {most} are allowed")));
    }
    Ok(())
}
