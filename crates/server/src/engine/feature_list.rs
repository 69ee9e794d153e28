//! Which features there are: what was compiled, with what its declaration says for people.

use tastemaker_api::feature_columns::ValueRef;
use tastemaker_api::{FeatureInfo, FeatureServiceInfo, FeaturesResponse};
use tastemaker_config::Config;
use tastemaker_features::set::{Feature, FeatureSet, Source};

use super::Engine;
use crate::EngineError;

/// The features that a project declares, without opening its log.
///
/// # Errors
/// The declarations do not fit together.
pub fn list_features(config: &Config) -> Result<FeaturesResponse, EngineError> {
    Ok(describe(config, &FeatureSet::compile(config)?))
}

impl Engine {
    /// Every feature and feature service.
    pub fn features(&self) -> FeaturesResponse {
        describe(&self.config, self.state.features())
    }
}

fn describe(config: &Config, set: &FeatureSet) -> FeaturesResponse {
    let service = |(name, features): (&String, &Vec<String>)| FeatureServiceInfo {
        name: name.clone(),
        features: features.clone(),
    };
    FeaturesResponse {
        features: set.features().iter().map(|feature| info(config, feature)).collect(),
        feature_services: config.feature_services.iter().map(service).collect(),
    }
}

fn info(config: &Config, feature: &Feature) -> FeatureInfo {
    let of_feature = || {
        let declared = config.features.iter().find(|f| f.entity == feature.entity && f.name == feature.name)?;
        Some((&declared.description, &declared.owner, &declared.tags))
    };
    let of_view = || {
        let declared = config.feature_views.iter().find(|view| view.name == feature.view)?;
        Some((&declared.description, &declared.owner, &declared.tags))
    };
    let (source, declared) = match feature.source {
        Source::Stream(_) => ("stream", of_feature()),
        Source::Expression(_) => ("expression", of_feature()),
        Source::View { .. } => ("batch", of_view()),
        Source::Embedding => ("model", None),
    };
    let (description, owner, tags) = declared
        .map(|(description, owner, tags)| (description.clone(), owner.clone(), tags.clone()))
        .unwrap_or_default();
    FeatureInfo {
        name: feature.name.clone(),
        entity: feature.entity.name().to_owned(),
        view: feature.view.clone(),
        value_type: feature.value_type.name().to_owned(),
        source: source.to_owned(),
        ttl: feature.ttl.map(|ttl| ttl.to_string()),
        default: feature.default.as_ref().and_then(|value| serde_json::to_value(ValueRef(Some(value))).ok()),
        description,
        owner,
        tags,
    }
}
