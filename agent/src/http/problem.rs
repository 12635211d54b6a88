//! Errors as RFC 9457 problem documents, with the same stable codes as everywhere else.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use drivers::{Denied, Notice};
use serde_json::{Value, json};

use crate::desk::Refusal;
use crate::jobs::gate::Missing;

/// A problem document.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: String,
    title: String,
    detail: String,
    /// Everything that is missing, where something is.
    missing: Vec<Notice>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, notice: &Notice) -> Self {
        let detail = format!("{} {}", notice.done, notice.to_do);
        Self {
            status,
            code: notice.code.clone(),
            title: notice.happened.clone(),
            detail: detail.trim().to_owned(),
            missing: Vec::new(),
        }
    }

    /// What is missing before something may be done: the first is the problem, and all are listed.
    fn missing(missing: &[Missing]) -> Self {
        let notices: Vec<_> = missing.iter().map(Missing::notice).collect();
        let status = match missing.first() {
            Some(Missing::Right(_)) => StatusCode::FORBIDDEN,
            _ => StatusCode::CONFLICT,
        };
        let first = notices.first().cloned().unwrap_or_else(|| Denied::NotPermitted.into());
        Self { missing: notices, ..Self::new(status, &first) }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The document, as it goes over the network.
    pub(super) fn document(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:fab-agent:{}", self.code),
            "code": self.code,
            "status": self.status.as_u16(),
            "title": self.title,
            "detail": self.detail,
        });
        if !self.missing.is_empty() {
            document["missing"] = json!(self.missing);
        }
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document().to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(notice) => Self::new(StatusCode::NOT_FOUND, &notice),
            Refusal::Conflict(notice) => Self::new(StatusCode::CONFLICT, &notice),
            Refusal::Invalid(notice) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, &notice),
            Refusal::Store(notice) if notice.code == "store.full" => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, &notice)
            }
            Refusal::Store(notice) => Self::new(StatusCode::SERVICE_UNAVAILABLE, &notice),
            Refusal::Missing(missing) => Self::missing(&missing),
            Refusal::Busy => Self::from(Denied::Busy),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let status = match denied {
            Denied::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Denied::OutOfRange | Denied::OutsideEnvelope => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, &denied.into())
    }
}
