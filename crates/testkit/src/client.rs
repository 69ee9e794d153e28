//! A small HTTP client that keeps its connections.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Legacy, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Talks to one server. Clones share connections.
#[derive(Clone)]
pub struct Client {
    base: String,
    headers: HeaderMap,
    inner: Legacy<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The same answer, after checking its status.
    ///
    /// # Panics
    /// If it is another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

impl Client {
    /// The address of a path on the server.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// For the server at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = Legacy::builder(TokioExecutor::new()).build(connector);
        Self { base: base.into(), headers: HeaderMap::new(), inner }
    }

    /// With a header on every request.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Sends any request; an error is a connection that failed.
    ///
    /// # Errors
    /// The connection could not be made, or broke before the whole answer was there.
    pub async fn try_send(&self, method: Method, path: &str, body: Option<(&str, Bytes)>) -> Result<Answer, Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match body {
            Some((content_type, bytes)) => request.header(CONTENT_TYPE, content_type).body(Full::new(bytes)),
            None => request.body(Full::default()),
        };
        let response = self.inner.request(request.expect("a valid request")).await?;
        let (head, body) = response.into_parts();
        // A body that breaks off is a failed request; an answer without its body would hide that.
        let body = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => panic!("the answer {} broke off: {error}", head.status),
        };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends any request.
    ///
    /// # Panics
    /// If the connection fails.
    pub async fn send(&self, method: Method, path: &str, body: Option<(&str, Bytes)>) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends JSON with any method.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, Some(("application/json", body.to_string().into()))).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }
}
