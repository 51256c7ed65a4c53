//! Which path answers what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

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
use crate::topology::{Marks, Orders, Reread, Restraints, Upgrade};
use crate::traces::Traces;

use super::orders::{Kind, place, reread, restrain, upgrade};
use super::places::Work;
use super::roles::{Asks, TokenRole, Tokens};
use super::status::{OrderBody, YIELDED, status_of};
use super::{Drain, History, Refusals, guard, page};

/// Largest body of a request, bytes.
const BODY_MAX: usize = 4096;

/// Longest time for it to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What the endpoint reads, and through which it orders.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The tokens that orders have to carry one of.
    pub tokens: Tokens,
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
    /// Takes changes of primary that are over.
    pub traces: Traces,
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
    /// Orders that another process takes over.
    pub upgrades: Orders<Upgrade>,
    /// Process id of the one before this, as long as it serves clients yet; 0: none.
    pub predecessor: Arc<AtomicU32>,
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
    let Some((_, methods)) = ROUTES.iter().find(|(of, _)| *of == path) else {
        return text(StatusCode::NOT_FOUND, paths());
    };
    let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let Some((_, asks)) = methods.iter().find(|(of, _)| *of == method) else {
        return not_so(&path, methods);
    };
    let allowed = || guard::allow(&doors.tokens, *asks, peer, request.uri(), request.headers());
    let by = match asks {
        Asks::Look => return read(doors, &path, Err(String::new())),
        Asks::Details => {
            let allowed = allowed().map(|holder| holder.role).map_err(|refusal| {
                doors.refusals.note_fault(&refusal);
                refusal.reason.to_owned()
            });
            return read(doors, &path, allowed);
        }
        Asks::Order | Asks::Upgrade => match allowed() {
            Ok(holder) => holder.by,
            Err(refusal) => {
                doors.refusals.note_order(&refusal, peer, &path);
                return refused(&refusal);
            }
        },
    };
    let query = request.uri().query().unwrap_or("").to_owned();
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    let Ok(body) = tokio::time::timeout(BODY_WITHIN, body).await else {
        return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within five seconds\n".to_owned());
    };
    match body {
        Ok(body) => {
            work.set(true);
            order(doors, By { peer, by }, &path, &query, &body.to_bytes()).await
        }
        Err(_) => text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is cut off or longer than {BODY_MAX} bytes\n"),
        ),
    }
}

/// Every path with its methods, and what each asks of who comes. HEAD goes wherever GET does.
static ROUTES: &[(&str, &[(Method, Asks)])] = &[
    ("/", &[(Method::GET, Asks::Look)]),
    ("/metrics", &[(Method::GET, Asks::Look)]),
    ("/livez", &[(Method::GET, Asks::Look)]),
    ("/readyz", &[(Method::GET, Asks::Look)]),
    ("/api/status", &[(Method::GET, Asks::Details)]),
    ("/api/log-level", &[(Method::GET, Asks::Look), (Method::PUT, Asks::Order)]),
    ("/api/switchover", &[(Method::POST, Asks::Order)]),
    ("/api/failover", &[(Method::POST, Asks::Order)]),
    ("/api/adopt", &[(Method::POST, Asks::Order)]),
    ("/api/pause", &[(Method::POST, Asks::Order)]),
    ("/api/resume", &[(Method::POST, Asks::Order)]),
    ("/api/readonly/on", &[(Method::POST, Asks::Order)]),
    ("/api/readonly/off", &[(Method::POST, Asks::Order)]),
    ("/api/drain", &[(Method::POST, Asks::Order)]),
    ("/api/reload", &[(Method::POST, Asks::Order)]),
    ("/api/upgrade", &[(Method::POST, Asks::Upgrade)]),
];

/// What there is, for who has lost his way.
fn paths() -> String {
    let (read, ordered): (Vec<_>, Vec<_>) =
        ROUTES.iter().partition(|(_, methods)| methods.iter().any(|(method, _)| *method == Method::GET));
    let [read, ordered] =
        [read, ordered].map(|routes| routes.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(" "));
    format!("No such path. There are: {read}, and by POST {ordered}\n")
}

fn not_so(path: &str, methods: &[(Method, Asks)]) -> Answer {
    let names = methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {names}\n"));
    let names = HeaderValue::from_str(&names);
    names.into_iter().for_each(|names| drop(answer.headers_mut().insert(ALLOW, names)));
    answer
}

fn refused(refusal: &guard::Refusal) -> Answer {
    let mut answer = text(refusal.code, format!("{}\n", refusal.reason));
    if let Some(challenge) = refusal.challenge {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    answer
}

/// `details`: the role of who asks for a path that shows some, or why he may not see them.
fn read(doors: &Doors, path: &str, details: Result<TokenRole, String>) -> Answer {
    match path {
        "/metrics" => match metrics(doors) {
            Ok(metrics) => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => ready(doors),
        "/api/status" => json(StatusCode::OK, &status_of(doors, details)),
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
    if status.machine.yielded {
        return text(StatusCode::OK, format!("ready, but {YIELDED}\n"));
    }
    match (status.other_brains.first(), doors.status.record_unwritten()) {
        (Some(brain), _) => text(StatusCode::OK, format!("ready, only observing: {brain}\n")),
        (None, Some(fault)) => text(StatusCode::OK, format!("ready, but {fault}\n")),
        (None, None) => text(StatusCode::OK, "ready\n"),
    }
}

/// Who gives an order.
#[derive(Clone, Copy, Debug)]
struct By<'a> {
    peer: SocketAddr,
    /// Whose token it is; `None`: none was needed.
    by: Option<&'a str>,
}

async fn order(doors: &Doors, who: By<'_>, path: &str, query: &str, body: &[u8]) -> Answer {
    tracing::info!(peer = %who.peer, by = who.by, path, query, "order received");
    let kind = match path {
        "/api/switchover" => Kind::Switchover,
        "/api/failover" => Kind::Failover,
        "/api/adopt" => Kind::Adopt,
        "/api/pause" | "/api/resume" | "/api/readonly/on" | "/api/readonly/off" => {
            return told(who, path, restrain(&doors.restraints, path).await);
        }
        "/api/reload" => return told(who, path, reread(doors).await),
        "/api/upgrade" => return told(who, path, upgrade(doors).await),
        "/api/drain" => {
            let answer = if doors.drain.begin() { "draining\n" } else { "draining already\n" };
            return text(StatusCode::ACCEPTED, answer);
        }
        _ => return set_level(doors, body),
    };
    told(who, path, place(doors, kind, query, body).await)
}

fn told(who: By<'_>, path: &str, (code, answer): (StatusCode, OrderBody)) -> Answer {
    tracing::info!(peer = %who.peer, by = who.by, path, ok = answer.ok, answer = answer.answer, "order answered");
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
