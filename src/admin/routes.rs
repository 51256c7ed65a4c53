//! Which path answers what.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::control::StatusReader;
use crate::net::Certificates;
use crate::routing::Routes;
use crate::telemetry::{LevelHandle, Metrics, TrafficReader};
use crate::topology::{Marks, Orders, Reread, Restraints};

use super::orders::{Kind, place, reread, restrain};
use super::places::Work;
use super::status::{OrderBody, status_of};
use super::{Drain, History, Refusals, TokenFile, guard, page};

/// Largest body of a request, bytes.
const BODY_MAX: usize = 4096;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What the endpoint reads, and through which it orders.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The token that orders have to carry.
    pub token: Option<TokenFile>,
    /// The certificates that are shown on each side; without one of its own the endpoint speaks no TLS.
    pub certificates: Certificates,
    /// Places orders.
    pub orders: Orders,
    /// Reads what is known of the group.
    pub status: StatusReader,
    /// Reads where requests go.
    pub routes: Routes,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// What the data path noted of the nodes.
    pub marks: Arc<Marks>,
    /// The level of the log.
    pub level: LevelHandle,
    /// Tells what clients do.
    pub traffic: TrafficReader,
    /// What was answered in the last minutes; the endpoint fills it.
    pub history: History,
    /// Orders what is to wait or to be refused.
    pub restraints: Restraints,
    /// Orders that the configuration is read again.
    pub rereads: Orders<Reread>,
    /// Tells the log who was turned away.
    pub refusals: Refusals,
    /// Begins the drain.
    pub drain: Drain,
}

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer(
    doors: &Doors,
    peer: SocketAddr,
    request: Request<Incoming>,
    work: &Work,
) -> Answer {
    let path = request.uri().path().to_owned();
    let Some(allowed) = methods(&path) else {
        return text(StatusCode::NOT_FOUND, PATHS);
    };
    let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    if !allowed.contains(&method) {
        let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
        let mut refused =
            text(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {}\n", names.join(", ")));
        let names = HeaderValue::from_str(&names.join(", "));
        names.into_iter().for_each(|names| drop(refused.headers_mut().insert(ALLOW, names)));
        return refused;
    }
    if method == Method::GET {
        let allowed = || {
            let allowed = guard::allow_details(doors.token.as_ref(), peer, request.uri(), request.headers());
            allowed.map_err(|refusal| {
                doors.refusals.note_fault(&refusal);
                refusal.reason.to_owned()
            })
        };
        return read(doors, &path, allowed);
    }
    if let Err(refusal) = guard::allow(doors.token.as_ref(), peer, request.uri(), request.headers()) {
        doors.refusals.note_order(&refusal, peer, &path);
        let mut refused = text(refusal.code, format!("{}\n", refusal.reason));
        if refusal.code == StatusCode::UNAUTHORIZED {
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        return refused;
    }
    work.set(true);
    let query = request.uri().query().unwrap_or("").to_owned();
    match Limited::new(request.into_body(), BODY_MAX).collect().await {
        Ok(body) => order(doors, peer, &path, &query, &body.to_bytes()).await,
        Err(_) => text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is cut off or longer than {BODY_MAX} bytes\n"),
        ),
    }
}

const PATHS: &str = "No such path. There are: / /metrics /livez /readyz /api/status /api/log-level, and by POST \
                     /api/switchover /api/failover /api/adopt /api/pause /api/resume /api/readonly/on \
                     /api/readonly/off /api/drain /api/reload\n";

/// The methods of a path; HEAD goes wherever GET does.
fn methods(path: &str) -> Option<&'static [Method]> {
    Some(match path {
        "/" | "/metrics" | "/livez" | "/readyz" | "/api/status" => &[Method::GET],
        "/api/log-level" => &[Method::GET, Method::PUT],
        "/api/switchover" | "/api/failover" | "/api/adopt" | "/api/drain" | "/api/reload" | "/api/pause"
        | "/api/resume" | "/api/readonly/on" | "/api/readonly/off" => &[Method::POST],
        _ => return None,
    })
}

fn read(doors: &Doors, path: &str, details: impl FnOnce() -> Result<(), String>) -> Answer {
    match path {
        "/metrics" => match metrics(doors) {
            Ok(metrics) => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => ready(doors),
        "/api/status" => json(StatusCode::OK, &status_of(doors, details())),
        "/api/log-level" => text(StatusCode::OK, format!("{}\n", doors.level.get())),
        _ => {
            let mut page = respond(StatusCode::OK, "text/html; charset=utf-8", page::PAGE);
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
            page
        }
    }
}

fn metrics(doors: &Doors) -> Result<String, String> {
    let restraint = doors.restraints.now();
    doors.metrics.set_restraint(restraint.paused, restraint.read_only);
    doors.metrics.set_expiries(doors.certificates.expiries());
    doors.metrics.render()
}

/// Ready: a new client would be served, writes included.
fn ready(doors: &Doors) -> Answer {
    let status = doors.status.load();
    if doors.drain.begun() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if doors.routes.load().writable().is_none() {
        let held = status.machine.held.as_ref().map(|(_, reason)| format!(": {reason}"));
        let reason = format!("no writable primary{}\n", held.unwrap_or_default());
        return text(StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    let restraint = doors.restraints.now();
    if restraint.is_any() {
        // Clients are to wait here, or to read.
        let what = if restraint.paused { "requests wait" } else { "writes are refused" };
        return text(StatusCode::OK, format!("ready, but {what} by order\n"));
    }
    match (status.other_brains.first(), doors.status.record_unwritten()) {
        (Some(brain), _) => text(StatusCode::OK, format!("ready, only observing: {brain}\n")),
        (None, Some(fault)) => text(StatusCode::OK, format!("ready, but {fault}\n")),
        (None, None) => text(StatusCode::OK, "ready\n"),
    }
}

async fn order(doors: &Doors, peer: SocketAddr, path: &str, query: &str, body: &[u8]) -> Answer {
    tracing::info!(%peer, path, query, "order received");
    let kind = match path {
        "/api/switchover" => Kind::Switchover,
        "/api/failover" => Kind::Failover,
        "/api/adopt" => Kind::Adopt,
        "/api/pause" | "/api/resume" | "/api/readonly/on" | "/api/readonly/off" => {
            return told(peer, path, restrain(&doors.restraints, path).await);
        }
        "/api/reload" => return told(peer, path, reread(doors).await),
        "/api/drain" => {
            let answer = if doors.drain.begin() { "draining\n" } else { "draining already\n" };
            return text(StatusCode::ACCEPTED, answer);
        }
        _ => return set_level(doors, body),
    };
    told(peer, path, place(doors, kind, query, body).await)
}

fn told(peer: SocketAddr, path: &str, (code, answer): (StatusCode, OrderBody)) -> Answer {
    tracing::info!(%peer, path, ok = answer.ok, answer = answer.answer, "order answered");
    json(code, &answer)
}

fn set_level(doors: &Doors, body: &[u8]) -> Answer {
    match doors.level.set(String::from_utf8_lossy(body).trim()) {
        Ok(()) => text(StatusCode::OK, format!("{}\n", doors.level.get())),
        Err(reason) => text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    }
}

fn text(code: StatusCode, body: impl Into<Bytes>) -> Answer {
    respond(code, TEXT, body)
}

fn json(code: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            respond(code, JSON, bytes)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn respond(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What a client wrote is in some answers: no browser is to guess that one is a page.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
