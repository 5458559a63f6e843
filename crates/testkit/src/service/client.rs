//! An HTTP client with short methods for requests, and assertions on responses.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::sse::EventStream;

/// A client of one service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
}

/// A request to be sent.
pub struct Request(reqwest::RequestBuilder);

/// A response including its body.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// A client of the service at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), address: address.into() }
    }

    /// The same client at another address of this machine.
    #[must_use]
    pub fn at_local_address(&self, local: IpAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().local_address(local);
        Self { http: http.build().unwrap(), address: self.address.clone() }
    }

    /// Host and port of the service.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A request to a path below `/api/v1`.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.request_at_root(method, &format!("/api/v1{path}"))
    }

    /// A request to a path from the root.
    #[must_use]
    pub fn request_at_root(&self, method: Method, path: &str) -> Request {
        Request(self.http.request(method, format!("http://{}{path}", self.address)))
    }

    /// GET of a path below `/api/v1`.
    #[must_use]
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// POST to a path below `/api/v1`.
    #[must_use]
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// GET of the readiness check.
    pub async fn readiness(&self) -> Response {
        self.get("/health/ready").send().await
    }

    /// Logs in.
    pub async fn log_in(&self, email: &str, password: &str) -> Response {
        self.post("/auth/login/access-token")
            .form(&[("username", email), ("password", password)])
            .send()
            .await
    }

    /// GET of the own account.
    pub async fn me(&self, token: &str) -> Response {
        self.get("/users/me").bearer(token).send().await
    }
}

impl Request {
    /// With this access token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With one more header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// With a body in JSON.
    #[must_use]
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.json(body))
    }

    /// With a form as its body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        Self(self.0.form(fields))
    }

    /// With a body of `multipart/form-data`.
    #[must_use]
    pub fn multipart(self, fields: &[(&'static str, &'static str)]) -> Self {
        let form = reqwest::multipart::Form::new();
        Self(self.0.multipart(fields.iter().fold(form, |form, (name, value)| form.text(*name, *value))))
    }

    /// With a raw body of this content type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("Content-Type", content_type).body(body))
    }

    /// With a timeout.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Sends the request; the service must answer.
    pub async fn send(self) -> Response {
        self.try_send().await.unwrap()
    }

    /// Sends the request to a service that may be killed meanwhile.
    ///
    /// # Errors
    /// The reason why there is no response.
    pub async fn try_send(self) -> reqwest::Result<Response> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // An event stream has no end; `open` reads it.
        let endless =
            headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = if endless { Vec::new() } else { response.bytes().await?.into() };
        Ok(Response { status, headers, body })
    }

    /// Opens a stream of server-sent events.
    pub async fn open(self) -> EventStream {
        EventStream::new(self.0.send().await.unwrap())
    }
}

impl Response {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header, or an empty string if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// All headers with a name in lower case, in the order of the names.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let text =
            |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        headers.sort_unstable();
        headers
    }

    /// The body as bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts the status; returns the response.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Asserts the status of an error; returns its body without `request_id`, which must equal the header.
    #[track_caller]
    pub fn error_body(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let mut body = self.json();
        let request_id = body.as_object_mut().unwrap().remove("request_id");
        assert_eq!(request_id, Some(self.header("X-Request-Id").into()), "{}", self.text());
        body
    }

    /// Asserts the status of an error; returns its `code`.
    #[track_caller]
    pub fn code(&self, status: u16) -> String {
        self.error_body(status)["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {}", self.text()))
            .to_owned()
    }

    /// The validation errors of a 422.
    #[track_caller]
    pub fn validation_errors(&self) -> Vec<Value> {
        let errors = self.error_body(422)["detail"].as_array().cloned();
        let errors = errors.unwrap_or_else(|| panic!("`detail` is not a list: {}", self.text()));
        for error in &errors {
            for field in ["type", "loc", "msg"] {
                assert!(error.get(field).is_some(), "a validation error without `{field}`: {error}");
            }
        }
        errors
    }

    /// The validation errors of a 422 as type and location.
    #[track_caller]
    pub fn validation_error_kinds(&self) -> Vec<(String, Value)> {
        let errors = self.validation_errors();
        errors
            .iter()
            .map(|error| (error["type"].as_str().unwrap().to_owned(), error["loc"].clone()))
            .collect()
    }

    /// The header `Aegis-Position`.
    #[track_caller]
    pub fn position(&self) -> u64 {
        self.header("Aegis-Position").parse().unwrap_or_else(|_| panic!("no Aegis-Position: {self:?}"))
    }

    /// The header `Retry-After` in seconds.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        self.header("Retry-After").parse().unwrap_or_else(|_| panic!("no Retry-After: {self:?}"))
    }
}
