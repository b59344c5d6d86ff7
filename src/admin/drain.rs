//! `PUT` and `DELETE /upstreams/{upstream}/endpoints/{endpoint}/drain`: moves sessions off an endpoint.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{Pages, problem};
use crate::config;

/// What becomes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// It takes nobody new. Those who are pinned to it stay for as long, or until they end.
    Begin(Option<Duration>),
    /// It takes new ones again.
    End,
}

/// An endpoint after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// The upstream's name.
    pub upstream: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// `draining`, or how it stands otherwise.
    pub state: &'static str,
    /// Seconds until those who are pinned to it have to leave; none: when they end.
    pub deadline_seconds: Option<u64>,
    /// Requests it is working on.
    pub in_flight: u32,
    /// Whether it goes on taking new ones, because no other endpoint of the upstream is up.
    pub alone: bool,
}

/// What a caller sends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    deadline: Option<config::Duration>,
}

/// The longest body that is of any use here.
pub(super) const MAX_BODY: usize = 4 << 10;

pub(super) async fn begin(
    State(pages): State<Pages>,
    Path((upstream, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match written(&headers, &body) {
        Ok(Written { deadline }) => {
            answer(&pages, &upstream, &endpoint, Drain::Begin(deadline.map(|deadline| deadline.0)))
        }
        Err((status, why)) => problem(status, &why),
    }
}

pub(super) async fn end(State(pages): State<Pages>, Path((upstream, endpoint)): Path<(String, String)>) -> Response {
    answer(&pages, &upstream, &endpoint, Drain::End)
}

fn answer(pages: &Pages, upstream: &str, endpoint: &str, drain: Drain) -> Response {
    match pages.source.drain(upstream, endpoint, drain) {
        Ok(drained) => Json(drained).into_response(),
        Err(why) => problem(StatusCode::NOT_FOUND, &why),
    }
}

fn written(headers: &HeaderMap, body: &[u8]) -> Result<Written, (StatusCode, String)> {
    if body.is_empty() {
        return Ok(Written::default());
    }
    // A form of a web page can't be JSON.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let why = "the body is JSON: send `Content-Type: application/json`";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        (StatusCode::BAD_REQUEST, format!("{error}; what is known here is {{ \"deadline\": \"10m\" }}"))
    })
}
