//! One post to a collector, over a connection of its own: batches are a second apart, and a connection that was kept would have to be
//! looked at first.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::settings::Endpoint;
use super::verdict::{Verdict, judge};

/// Longest time from the look-up of the collector's name to its whole answer.
const POST_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer that is read, bytes: it tells how much was taken.
const ANSWER_MAX: usize = 64 << 10;

/// What became of it, whatever that is.
pub(super) async fn post(to: &Endpoint, body: Bytes) -> Verdict {
    let failed = match timeout(POST_WITHIN, exchange(to, body)).await {
        Ok(Ok(verdict)) => return verdict,
        Ok(Err(error)) => error,
        Err(_) => format!("no answer within {} s", POST_WITHIN.as_secs()),
    };
    Verdict::Later { after: None, why: failed }
}

async fn exchange(to: &Endpoint, body: Bytes) -> Result<Verdict, String> {
    let text = |error: hyper::Error| error.to_string();
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(to.path.as_str())
        .header(HOST, to.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("redhold/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status().as_u16();
        let after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        // What is longer tells nothing that matters.
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(judge(status, after.as_deref(), &body))
    };
    tokio::pin!(answered, connection);
    tokio::select! {
        // Whatever ends first: the answer may be there when the connection ends.
        biased;
        verdict = &mut answered => verdict,
        ended = &mut connection => {
            ended.map_err(text)?;
            answered.await
        }
    }
}
