//! Views of whose rows the log has none: their features are the columns that the join of their tables finds, with no entity and no cell
//! between. What tables and the log come to together is in [`super::sweep`].

use std::ops::Range;

use arrow_array::{Array, ArrayRef, BooleanArray, Scalar};
use arrow_schema::ArrowError;
use tastemaker_types::FeatureValue;

use super::OfflineError;
use crate::columns::value_column;
use crate::read::Status;
use crate::set::{FeatureId, ValueType};
use crate::table::{FeatureStatus, Joined};

/// A feature of such a view.
#[derive(Debug, Clone)]
pub(super) struct AloneFeature {
    pub(super) id: FeatureId,
    pub(super) value_type: ValueType,
    pub(super) default: Option<FeatureValue>,
    /// Its place in what is read of the table.
    pub(super) place: usize,
}

/// What such a view says to the rows that ask.
pub(super) struct Alone<'a> {
    pub(super) features: &'a [AloneFeature],
    pub(super) joined: Joined,
}

/// A feature of some rows: its values, and a status for each.
pub(super) type Told = (ArrayRef, Vec<Status>);

impl Alone<'_> {
    /// The features of some of the rows.
    pub(super) fn columns(&self, rows: Range<usize>) -> Result<Vec<(FeatureId, Told)>, OfflineError> {
        let joined = self.joined.rows(rows)?;
        let told = |feature: &AloneFeature| {
            let found = joined.features.get(feature.place)?;
            let statuses = found.statuses.iter().map(|status| Status::from(*status)).collect();
            Some(feature.with_default(&found.values).map(|values| (feature.id, (values, statuses))))
        };
        Ok(self.features.iter().filter_map(told).collect::<Result<_, ArrowError>>()?)
    }
}

impl AloneFeature {
    fn with_default(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let (Some(default), Some(valid)) = (&self.default, values.logical_nulls()) else {
            return Ok(ArrayRef::clone(values));
        };
        let default = Scalar::new(value_column(self.value_type, std::iter::once(Some(default))));
        arrow_select::zip::zip(&BooleanArray::new(valid.into_inner(), None), values, &default)
    }
}

impl From<FeatureStatus> for Status {
    fn from(status: FeatureStatus) -> Self {
        match status {
            FeatureStatus::Present => Self::Present,
            FeatureStatus::NullValue => Self::NullValue,
            FeatureStatus::NotFound => Self::NotFound,
            FeatureStatus::OutsideMaxAge => Self::OutsideMaxAge,
        }
    }
}
