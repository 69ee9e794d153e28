//! API keys. The project file holds the SHA-256 of each key; a key that comes with a request is hashed and compared with
//! all of them in constant time. A key that failed is never logged.
//!
//! Without keys only loopback is served, and only under a loopback name: a web page that points its own host name at
//! 127.0.0.1 (DNS rebinding) is refused.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tastemaker_api::ProblemKind;
use tastemaker_config::{ApiKey, Scope};
use tastemaker_monitor::catalogue as metrics;

use super::problem::ApiError;
use crate::EngineError;
use crate::state::App;

const KEY_HEADER: &str = "x-api-key";

/// The keys of a project, ready to compare.
pub(crate) struct Keys(Vec<([u8; 32], ApiKey)>);

impl Keys {
    /// From the configuration.
    ///
    /// # Errors
    /// A hash that is not 64 hexadecimal digits.
    pub(crate) fn new(keys: &[ApiKey]) -> Result<Self, EngineError> {
        let parse = |key: &ApiKey| {
            let bytes = from_hex(&key.hash).ok_or_else(|| EngineError::Setup {
                what: format!("server.api_keys: the hash of '{}' is not 64 hexadecimal digits", key.name),
            })?;
            Ok((bytes, key.clone()))
        };
        keys.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The key whose hash is that of `presented`; looks at all of them whichever it is.
    fn find(&self, presented: &str) -> Option<&ApiKey> {
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let (mut found, mut any) = (0_u64, Choice::from(0));
        for (index, (known, _)) in (0_u64..).zip(&self.0) {
            let same = known.ct_eq(&hash);
            found.conditional_assign(&index, same);
            any |= same;
        }
        let index = usize::try_from(found).ok()?;
        bool::from(any).then(|| self.0.get(index).map(|(_, key)| key)).flatten()
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// `Authorization: Bearer KEY`, or `X-Api-Key: KEY`.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get(KEY_HEADER).and_then(|v| v.to_str().ok())).filter(|key| !key.is_empty())
}

/// Whether a request names this machine as a loopback address or `localhost`. HTTP/1.0 need not name it.
fn asks_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let authority = match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, None) => return true,
        (None, Some(host)) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
    };
    let Some(authority) = authority else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a request was not sent by a web page of another place: browsers name the origin of every request that could change something.
fn from_loopback(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    host.is_some_and(|uri| uri.authority().is_some() && asks_loopback(&uri, headers))
}

/// Checks a request against a scope; without configured keys everything is allowed to whoever asks for loopback.
fn authorize(app: &App, uri: &Uri, headers: &HeaderMap, scope: Scope) -> Result<(), ApiError> {
    if app.keys().0.is_empty() {
        if asks_loopback(uri, headers) && from_loopback(headers) {
            return Ok(());
        }
        app.monitor().count(&metrics::AUTH_REFUSED, ["host"], 1);
        let detail = "without API keys this server answers to localhost and its pages alone; to serve it under a name, make keys with \
                      'tastemaker keys create'";
        return Err(ApiError::new(ProblemKind::Forbidden, detail));
    }
    let refuse = |reason: &'static str, kind, detail: &str| {
        app.monitor().count(&metrics::AUTH_REFUSED, [reason], 1);
        Err(ApiError::new(kind, detail))
    };
    let Some(key) = presented(headers) else {
        let detail = "send an API key as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'";
        return refuse("missing", ProblemKind::Unauthenticated, detail);
    };
    let Some(known) = app.keys().find(key) else {
        tracing::warn!("a request came with an unknown API key");
        return refuse("unknown", ProblemKind::Unauthenticated, "this API key is not known here");
    };
    if known.allows(scope) {
        return Ok(());
    }
    tracing::warn!(key_name = %known.name, ?scope, "an API key lacks a scope");
    let scope = match scope {
        Scope::Read => "read",
        Scope::Write => "write",
        Scope::Admin => "admin",
    };
    refuse("scope", ProblemKind::Forbidden, &format!("the key '{}' lacks the scope '{scope}'", known.name))
}

macro_rules! middleware {
    ($($name:ident => $scope:expr, $doc:literal;)+) => {
        $(
            #[doc = $doc]
            pub(crate) async fn $name(State(app): State<App>, request: Request, next: Next) -> Response {
                match authorize(&app, request.uri(), request.headers(), $scope) {
                    Ok(()) => next.run(request).await,
                    Err(error) => error.into_response(),
                }
            }
        )+
    };
}

middleware! {
    read => Scope::Read, "Lets requests through that may read.";
    write => Scope::Write, "Lets requests through that may write.";
    admin => Scope::Admin, "Lets requests through that may do anything.";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &str) -> ApiKey {
        ApiKey { name: name.to_owned(), hash: ApiKey::hash_of(secret), scopes: vec![Scope::Read] }
    }

    #[test]
    fn a_key_is_found_by_its_hash_alone() {
        let keys = Keys::new(&[key("a", "first"), key("b", "second")]).unwrap();
        assert_eq!(keys.find("first").unwrap().name, "a");
        assert_eq!(keys.find("second").unwrap().name, "b");
        assert!(keys.find("third").is_none());
        assert!(keys.find(&ApiKey::hash_of("first")).is_none(), "the hash is no key");
    }

    #[test]
    fn a_broken_hash_is_refused_at_start() {
        let broken = ApiKey { hash: "xyz".to_owned(), ..key("a", "first") };
        assert!(Keys::new(&[broken]).is_err());
    }

    #[test]
    fn a_strange_host_name_is_not_loopback() {
        let asks = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            asks_loopback(&Uri::from_static("/v1/users"), &headers)
        };
        for host in
            ["localhost", "LOCALHOST:8080", "localhost.", "app.localhost:1", "127.0.0.1:80", "127.9.9.9", "[::1]:8"]
        {
            assert!(asks(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", "[::2]", ""] {
            assert!(!asks(host), "{host}");
        }
        let http_2 = |uri| asks_loopback(&Uri::from_static(uri), &HeaderMap::new());
        let sent_by = |origin: &str| from_loopback(&HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())]));
        assert!(sent_by("http://localhost:8080") && sent_by("http://127.0.0.1"));
        assert!(!sent_by("http://evil.example") && !sent_by("null"));
        assert!(http_2("http://localhost:80/") && !http_2("http://evil.example/"));
    }

    #[test]
    fn both_headers_carry_a_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(presented(&headers), None);
        headers.insert(KEY_HEADER, "k1".parse().unwrap());
        assert_eq!(presented(&headers), Some("k1"));
        headers.insert(header::AUTHORIZATION, "bearer k2".parse().unwrap());
        assert_eq!(presented(&headers), Some("k2"));
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(presented(&headers), Some("k1"));
    }
}
