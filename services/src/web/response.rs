//! Errors with two sentences (one for the client, one for the log), and the headers of every answer.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

/// What went wrong.
#[derive(Debug)]
pub enum HttpError {
    NotFound(&'static str),
    /// The request asks for something that it cannot, in words that say what it can.
    Asked(String),
    Busy,
    Inner(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self::Inner(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Asked(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too many live pages are open: close some, or reload for a still page",
            ),
            Self::Inner(error) => {
                tracing::error!("a request failed: {error:#}");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this page cannot be made right now; the log of the process says why",
                )
            }
        };
        (status, text).into_response()
    }
}

pub const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                       frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Sets the security headers, unless a handler set a policy of its own.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// A page as an answer.
pub fn rendered(page: Result<String, leeway_dashboards::RenderError>) -> Result<Html<String>, HttpError> {
    page.map(Html).map_err(|error| HttpError::Inner(anyhow::anyhow!("render: {}", error.0)))
}
