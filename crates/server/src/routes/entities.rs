//! Items and users: write, read, list, forget. The two differ in their schema and in where they are kept.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tastemaker_api::{
    Entity, ItemsBody, ItemsPage, ItemsRequest, ListQuery, PatchEntity, Problem, ProblemKind, PutEntity, UsersBody,
    UsersPage, UsersRequest, WriteResponse, parse,
};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_types::{Attributes, EntityUpsert, Record, Timestamp, UpsertMode};

use super::write;
use crate::http::body::{JsonBody, Params, PathId};
use crate::http::problem::ApiError;
use crate::ingest::Rules;
use crate::state::App;

const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// Which of the two.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Item,
    User,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::User => "user",
        }
    }

    async fn find(self, app: &App, id: &str) -> Result<Entity, ApiError> {
        let attributes = match self {
            Self::Item => app.engine().item(id).await?,
            Self::User => app.engine().user(id).await?,
        };
        match attributes {
            Some(attributes) => Ok(Entity { id: id.to_owned(), attributes }),
            None => Err(ApiError::not_found(format!("there is no {} '{id}'", self.name()))),
        }
    }

    /// Writes one and answers it as it is then.
    async fn write(
        self,
        app: &App,
        id: String,
        attributes: Attributes,
        mode: UpsertMode,
    ) -> Result<Json<Entity>, ApiError> {
        let upsert = EntityUpsert { id: id.clone(), attributes, mode, timestamp: Timestamp::now() };
        let rules = app.engine().rules();
        let judged = match self {
            Self::Item => rules.item(upsert),
            Self::User => rules.user(upsert),
        };
        let record = match judged {
            Ok(record) => record,
            Err(error) => {
                app.monitor().count(&metrics::INGESTED, [self.name(), "refused"], 1);
                return Err(ApiError::field(ProblemKind::RecordsRefused, &error.field, error.message));
            }
        };
        app.engine().begin_write(vec![record])?.wait(app.monitor()).await?;
        app.monitor().count(&metrics::INGESTED, [self.name(), "accepted"], 1);
        self.find(app, &id).await.map(Json)
    }

    async fn patch(self, app: &App, id: String, body: &[u8]) -> Result<Json<Entity>, ApiError> {
        let patch: PatchEntity = parse(body)?;
        self.find(app, &id).await?;
        self.write(app, id, patch.attributes, UpsertMode::Merge).await
    }

    async fn put(self, app: &App, id: String, body: &[u8]) -> Result<Json<Entity>, ApiError> {
        let put: PutEntity = parse(body)?;
        self.write(app, id, put.attributes, UpsertMode::Replace).await
    }

    async fn delete(self, app: &App, id: String) -> Result<StatusCode, ApiError> {
        self.find(app, &id).await?;
        let timestamp = Timestamp::now();
        let record = match self {
            Self::Item => Record::ItemDelete { id, timestamp },
            Self::User => Record::UserDelete { id, timestamp },
        };
        app.engine().begin_write(vec![record])?.wait(app.monitor()).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

fn page_limit(query: &ListQuery) -> Result<usize, ApiError> {
    let limit = query.limit.unwrap_or(PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::field(ProblemKind::InvalidRequest, "limit", format!("{limit} is not 1 to {MAX_PAGE}")))
}

fn entities(page: Vec<(String, Attributes)>) -> Vec<Entity> {
    page.into_iter().map(|(id, attributes)| Entity { id, attributes }).collect()
}

/// Write items
///
/// One item, or several as `{"items": [...]}`. Attributes that are not named are removed.
#[utoipa::path(
    post, path = "/v1/items", tag = "items", request_body = ItemsBody,
    responses(
        (status = 200, body = WriteResponse, description = "One result for each item"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Every item was refused"),
    )
)]
pub(super) async fn post_items(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<WriteResponse>, ApiError> {
    write::batch::<ItemsRequest>(&app, body, "item", Rules::items).await.map(Json)
}

/// List items
#[utoipa::path(get, path = "/v1/items", tag = "items", params(ListQuery), responses((status = 200, body = ItemsPage)))]
pub(super) async fn list_items(
    State(app): State<App>,
    Params(query): Params<ListQuery>,
) -> Result<Json<ItemsPage>, ApiError> {
    let unknown =
        || ApiError::field(ProblemKind::InvalidRequest, "cursor", "it is not one that this server gave".to_owned());
    let from = query.cursor.as_deref().map_or(Ok(0), |cursor| cursor.parse().map_err(|_| unknown()))?;
    let (page, next) = app.engine().items_page(from, page_limit(&query)?)?;
    Ok(Json(ItemsPage { items: entities(page), next }))
}

/// Show an item
///
/// One that the catalog lacks is read from the items' database (`[items.source]`), if the project has one.
#[utoipa::path(
    get, path = "/v1/items/{id}", tag = "items", params(("id" = String, Path)),
    responses((status = 200, body = Entity), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn get_item(State(app): State<App>, PathId(id): PathId) -> Result<Json<Entity>, ApiError> {
    let read = app.engine().bring_in(std::slice::from_ref(&id)).await;
    match (Kind::Item.find(&app, &id).await, read) {
        (Ok(item), _) => Ok(Json(item)),
        // Whether there is such an item is not known.
        (Err(_), Err(error)) => Err(error.into()),
        (Err(missing), Ok(())) => Err(missing),
    }
}

/// Replace an item
///
/// Attributes that are not named are removed. Makes the item if there is none.
#[utoipa::path(
    put, path = "/v1/items/{id}", tag = "items", params(("id" = String, Path)), request_body = PutEntity,
    responses((status = 200, body = Entity), (status = 422, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn put_item(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(body): JsonBody,
) -> Result<Json<Entity>, ApiError> {
    Kind::Item.put(&app, id, &body).await
}

/// Change an item
///
/// Attributes that are not named stay.
#[utoipa::path(
    patch, path = "/v1/items/{id}", tag = "items", params(("id" = String, Path)), request_body = PatchEntity,
    responses((status = 200, body = Entity), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn patch_item(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(body): JsonBody,
) -> Result<Json<Entity>, ApiError> {
    Kind::Item.patch(&app, id, &body).await
}

/// Delete an item
#[utoipa::path(
    delete, path = "/v1/items/{id}", tag = "items", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn delete_item(State(app): State<App>, PathId(id): PathId) -> Result<StatusCode, ApiError> {
    Kind::Item.delete(&app, id).await
}

/// Write users
///
/// One user, or several as `{"users": [...]}`. Attributes that are not named are removed. A user need not be written
/// before their first event.
#[utoipa::path(
    post, path = "/v1/users", tag = "users", request_body = UsersBody,
    responses(
        (status = 200, body = WriteResponse, description = "One result for each user"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Every user was refused"),
    )
)]
pub(super) async fn post_users(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<WriteResponse>, ApiError> {
    write::batch::<UsersRequest>(&app, body, "user", Rules::users).await.map(Json)
}

/// List users
#[utoipa::path(get, path = "/v1/users", tag = "users", params(ListQuery), responses((status = 200, body = UsersPage)))]
pub(super) async fn list_users(
    State(app): State<App>,
    Params(query): Params<ListQuery>,
) -> Result<Json<UsersPage>, ApiError> {
    let (page, next) = app.engine().users_page(query.cursor.as_deref(), page_limit(&query)?)?;
    Ok(Json(UsersPage { users: entities(page), next }))
}

/// Show a user
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = Entity), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn get_user(State(app): State<App>, PathId(id): PathId) -> Result<Json<Entity>, ApiError> {
    Kind::User.find(&app, &id).await.map(Json)
}

/// Replace a user
///
/// Attributes that are not named are removed. Makes the user if there is none.
#[utoipa::path(
    put, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)), request_body = PutEntity,
    responses((status = 200, body = Entity), (status = 422, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn put_user(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(body): JsonBody,
) -> Result<Json<Entity>, ApiError> {
    Kind::User.put(&app, id, &body).await
}

/// Change a user
///
/// Attributes that are not named stay.
#[utoipa::path(
    patch, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)), request_body = PatchEntity,
    responses((status = 200, body = Entity), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn patch_user(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(body): JsonBody,
) -> Result<Json<Entity>, ApiError> {
    Kind::User.patch(&app, id, &body).await
}

/// Forget a user
///
/// Their attributes and history take no part in anything from now on.
#[utoipa::path(
    delete, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn delete_user(State(app): State<App>, PathId(id): PathId) -> Result<StatusCode, ApiError> {
    Kind::User.delete(&app, id).await
}
