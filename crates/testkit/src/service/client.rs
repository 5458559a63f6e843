//! Requests in short words, and what is asked of their answers.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::sse::EventStream;

/// Speaks to one service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
}

/// A request that was not sent yet.
pub struct Request(reqwest::RequestBuilder);

/// What came back, body and all.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// To the service that listens at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), address: address.into() }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The path of a request is below `/api/v1`.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.request_at_root(method, &format!("/api/v1{path}"))
    }

    /// The path of a request is the whole path.
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

    /// Whether the service is ready.
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

    /// Asks who the bearer of a token is.
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

    /// The same as `multipart/form-data`.
    #[must_use]
    pub fn multipart(self, fields: &[(&'static str, &'static str)]) -> Self {
        let form = reqwest::multipart::Form::new();
        Self(self.0.multipart(fields.iter().fold(form, |form, (name, value)| form.text(*name, *value))))
    }

    /// A body as it is, of that content type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("Content-Type", content_type).body(body))
    }

    /// Waits for no answer longer than this.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Sends it to a service that answers.
    pub async fn send(self) -> Response {
        self.try_send().await.unwrap()
    }

    /// For services that may be killed meanwhile.
    ///
    /// # Errors
    /// Whatever kept the answer from coming.
    pub async fn try_send(self) -> reqwest::Result<Response> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A stream of events has no end; who wants to read one opens it.
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
    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header; an empty text if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, which must be JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The same answer, if its status is this.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The body of a refusal but for `request_id`, which is the one in the header.
    #[track_caller]
    pub fn error_body(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let mut body = self.json();
        let request_id = body.as_object_mut().unwrap().remove("request_id");
        assert_eq!(request_id, Some(self.header("X-Request-Id").into()), "{}", self.text());
        body
    }

    /// `code` of a refusal of that status.
    #[track_caller]
    pub fn code(&self, status: u16) -> String {
        self.error_body(status)["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {}", self.text()))
            .to_owned()
    }

    /// The faults that a 422 lists.
    #[track_caller]
    pub fn validation_errors(&self) -> Vec<Value> {
        let faults = self.error_body(422)["detail"].as_array().cloned();
        let faults = faults.unwrap_or_else(|| panic!("`detail` is no list: {}", self.text()));
        for fault in &faults {
            for field in ["type", "loc", "msg"] {
                assert!(fault.get(field).is_some(), "a fault without `{field}`: {fault}");
            }
        }
        faults
    }

    /// The faults that a 422 lists, as type and place.
    #[track_caller]
    pub fn validation_error_kinds(&self) -> Vec<(String, Value)> {
        let faults = self.validation_errors();
        faults
            .iter()
            .map(|fault| (fault["type"].as_str().unwrap().to_owned(), fault["loc"].clone()))
            .collect()
    }

    /// `Aegis-Position`.
    #[track_caller]
    pub fn position(&self) -> u64 {
        self.header("Aegis-Position").parse().unwrap_or_else(|_| panic!("no Aegis-Position: {self:?}"))
    }

    /// `Retry-After`, which must be a number of seconds.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        self.header("Retry-After").parse().unwrap_or_else(|_| panic!("no Retry-After: {self:?}"))
    }
}
