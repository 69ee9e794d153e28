//! Everything HTTP that is the same for all routes: the edge around each request, admission, authentication, bodies and
//! problems. What the routes mean is in [`crate::routes`].

pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod edge;
pub(crate) mod problem;
