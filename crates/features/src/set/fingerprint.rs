//! Numbers that tell whether a feature is still declared as it was.

use tastemaker_expr::Expr;
use tastemaker_types::Window;
use xxhash_rust::xxh3::xxh3_64;

use super::{FeatureId, FeatureSet, InputColumn, Source};

/// Equal keys mean equal results on columns of equal types.
pub(super) fn typed_key(expr: &Expr) -> String {
    let kinds: Vec<String> =
        expr.column_refs().iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    format!("{} {kinds:?}", expr.cache_key())
}

impl FeatureSet {
    /// A number that is the same in every process as long as the feature, and all that it is computed from, is declared the same.
    pub fn fingerprint(&self, id: FeatureId) -> u64 {
        let Some(feature) = self.feature(id) else { return 0 };
        let source = match feature.source {
            Source::Stream(number) => {
                let streams = self.streams(feature.entity);
                format!("{:?} {:?}", streams.kernel().feature_fingerprint(number), streams.event_types(number))
            }
            Source::View { view, .. } => format!("{:?}", self.views.get(view).map(|view| &view.name)),
            Source::Embedding => String::new(),
            Source::Expression(number) => self.expression(number).map_or_else(String::new, |expression| {
                let input = |(column, input): &(tastemaker_expr::Column, InputColumn)| match input {
                    InputColumn::Feature(id) => format!("{} {:016x}", column.name, self.fingerprint(*id)),
                    _ => format!("{} {}", column.name, column.kind),
                };
                let inputs: Vec<String> = expression.inputs().iter().map(input).collect();
                format!("{} {inputs:?}", expression.expr().cache_key())
            }),
        };
        let ttl = feature.ttl.map(Window::as_micros);
        let default = &feature.default;
        let name = format!("{}.{} {}", feature.entity.name(), feature.name, feature.value_type.name());
        xxh3_64(format!("{name} {source} {ttl:?} {default:?}").as_bytes())
    }
}
