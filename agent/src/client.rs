//! A client of a running agent: what `job` and `demo` use, over the same HTTP that everybody uses.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_util::io::ReaderStream;

/// Longest answer that is read, in bytes: a list of jobs has some hundred kilobytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What stands for itself in an address (RFC 3986, section 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a request carries: a few bytes, or a file that is read while it is sent.
type Body = BoxBody<Bytes, std::io::Error>;

/// Where an agent is, and what lets one in.
#[derive(Debug, Clone)]
pub struct Client {
    place: Place,
    token: Option<String>,
}

/// Where an agent is.
#[derive(Debug, Clone)]
enum Place {
    /// At an address, such as `127.0.0.1:8484`.
    Host(String),
    /// At its socket, where whoever reaches it is the owner.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => formatter.write_str(host),
            Self::Socket(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// A connection of either kind.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code: the agent's own, or `agent.unreachable`.
    pub code: String,
    /// What happened, what was done, what to do.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

impl Client {
    /// A client of the agent at `host`, such as `127.0.0.1:8484`.
    pub fn new(host: impl Into<String>, token: Option<String>) -> Self {
        Self { place: Place::Host(host.into()), token }
    }

    /// A client of the agent behind a socket, as its owner.
    pub fn at_socket(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Socket(path.into()), token: None }
    }

    /// Asks for something to be changed, or removed.
    ///
    /// # Errors
    /// The agent is not there, or says no.
    pub async fn change(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Value, Failure> {
        self.ask(method, path, "application/json", whole(body.into())).await
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// The agent is not there, or says no.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, "application/json", whole(Bytes::new())).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// The agent is not there, or says no.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Result<Value, Failure> {
        self.ask(Method::POST, path, content_type, whole(body.into())).await
    }

    /// Sends a file of any size, read as it goes.
    ///
    /// # Errors
    /// The agent is not there, or says no; the file cannot be read to its end.
    pub async fn upload(&self, path: &str, file: File) -> Result<Value, Failure> {
        let frames = ReaderStream::new(file).map(|bytes| bytes.map(Frame::data));
        self.ask(Method::POST, path, "text/x.gcode", StreamBody::new(frames).boxed()).await
    }

    async fn ask(&self, method: Method, path: &str, content_type: &str, body: Body) -> Result<Value, Failure> {
        let host = match &self.place {
            Place::Host(host) => host,
            Place::Socket(_) => "localhost",
        };
        let mut request =
            Request::builder().method(method).uri(path).header("host", host).header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).map_err(|error| self.unreachable(&error))?;
        let stream = self.connect().await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        // The connection moves only while somebody turns it; it ends with this question.
        let mut wheel = JoinSet::new();
        wheel.spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| self.unreachable(error.as_ref()))?.to_bytes();
        let document = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() { Ok(document) } else { Err(refused(status, &document)) }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Wire>> {
        Ok(match &self.place {
            Place::Host(host) => Box::new(TcpStream::connect(host).await?),
            Place::Socket(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure {
            code: "agent.unreachable".to_owned(),
            message: format!(
                "The agent at {} did not answer: {error}. Nothing was done. Check that it runs, and its address.",
                self.place
            ),
        }
    }
}

/// The address of these levels with these questions, whatever characters they hold.
pub fn path<'a>(levels: &[&str], query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = |text| utf8_percent_encode(text, PLAIN);
    let mut path = String::new();
    // Writing to a String cannot fail.
    for level in levels {
        let _ = write!(path, "/{}", encoded(level));
    }
    for (at, (key, value)) in query.into_iter().enumerate() {
        let _ = write!(path, "{}{}={}", if at == 0 { '?' } else { '&' }, encoded(key), encoded(value));
    }
    path
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// What a problem document says.
fn refused(status: StatusCode, document: &Value) -> Failure {
    let text = |name: &str| document[name].as_str().filter(|text| !text.is_empty());
    // What happened is in the title; what was done and what to do, in the detail.
    let sentences: Vec<_> = [text("title"), text("detail")].into_iter().flatten().collect();
    Failure {
        code: text("code").map_or_else(|| format!("http.{}", status.as_u16()), ToOwned::to_owned),
        message: if sentences.is_empty() { format!("The agent answered {status}.") } else { sentences.join(" ") },
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_named() {
        let failure = Client::new("127.0.0.1:1", None).get("/api/v1/machines").await.unwrap_err();
        assert_eq!(failure.code, "agent.unreachable");
        assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        assert_eq!(path(&["api", "../x?y"], [("name", "a&b=ü.nc")]), "/api/..%2Fx%3Fy?name=a%26b%3D%C3%BC.nc");
        assert_eq!(path(&["api", "jobs"], []), "/api/jobs");
    }

    #[test]
    fn a_problem_document_is_passed_on_in_its_own_words() {
        let document = serde_json::json!({ "code": "job.none", "title": "No job.", "detail": "Nothing was done." });
        let failure = refused(StatusCode::NOT_FOUND, &document);
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("job.none", "No job. Nothing was done."));
        let bare = refused(StatusCode::NOT_FOUND, &serde_json::json!({ "title": "No job.", "detail": "" }));
        assert_eq!(bare.message, "No job.", "what happened was left out");
        assert_eq!(refused(StatusCode::BAD_GATEWAY, &Value::Null).code, "http.502");
    }
}
