//! What goes over the wire: requests, answers and problems as JSON, their schemas for OpenAPI, and the conversions to and
//! from the shared types. Nothing here knows HTTP routing, storage or models; the server maps these types to its engine.

pub mod batch;
pub mod entities;
pub mod events;
pub mod feast;
pub mod feature_columns;
pub mod features;
pub mod health;
pub mod json;
pub mod models;
mod objects;
pub mod problem;
pub mod recommendations;
mod wording;

pub use batch::{BatchRequest, RecordResult, RecordStatus, WriteResponse, parse_batch};
pub use entities::{
    Entity, EntityInput, ItemsBody, ItemsPage, ItemsRequest, ListQuery, PatchEntity, PutEntity, UsersBody, UsersPage,
    UsersRequest,
};
pub use events::{EventInput, EventsRequest};
pub use feature_columns::{CellRef, ColumnRef, OnlineFeatures};
pub use features::{
    EntityIds, FeatureInfo, FeatureServiceInfo, FeaturesResponse, OnlineFeature, OnlineFeaturesRequest,
    OnlineFeaturesResponse,
};
pub use health::{GenerationHealth, Live, LogHealth, OnlineHealth, Ready, RefusedGeneration};
pub use json::parse;
pub use models::{GenerationInfo, Model, ModelsResponse, PromoteRequest};
pub use problem::{FieldError, Problem, ProblemKind};
pub use recommendations::{
    ParamValue, RankRequest, RecommendationsQuery, RecommendationsRequest, RecommendationsResponse, RecommendedItem,
    SimilarQuery,
};
pub use wording::reword;
