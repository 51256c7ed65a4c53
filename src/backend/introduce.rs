//! Gives a node a user that it does not know: it was started again, say, and nothing there keeps users.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::net::{self, Stream, TlsClient};
use crate::topology::{Address, NodeMarks};

use super::dial::{DialError, asked, is_no_judgement, next_reply};
use super::identity::{Introduction, Login};
use super::{Settings, Target};

/// Says the introduction of `login` at `target`, on a connection of the proxy's own user that is closed afterwards.
///
/// # Errors
/// See [`DialError`]; a node that refuses is quoted.
pub(super) async fn introduce(
    login: &Login,
    target: &Target,
    settings: &Settings,
    tls: Option<&TlsClient>,
    marks: &NodeMarks,
) -> Result<(), DialError> {
    let Some(introduction) = &login.introduction else { return Ok(()) };
    let Address { host, port } = &target.address;
    let mut stream = net::connect(host, *port, settings.connect_timeout, &settings.sockets(), tls).await?;
    let said = say(&mut stream, introduction, marks);
    let refused = match timeout(settings.connect_timeout, said).await {
        Ok(Ok(refused)) => refused,
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no reply to ACL SETUSER").into()),
    };
    let user = String::from_utf8_lossy(login.user.as_deref().unwrap_or_default()).into_owned();
    match refused {
        None => {
            tracing::info!(user, node = %target.address, "given to a node that did not know it with this password");
            Ok(())
        }
        Some(words) => {
            let words = String::from_utf8_lossy(&words).trim_start_matches('-').trim_end().to_owned();
            tracing::warn!(user, node = %target.address, words, "the node does not know this user and will not be given it");
            let text = format!(
                "-ERR node {} does not know user '{user}' and refuses to be given it, the proxy's log says why; not executed\r\n",
                target.address
            );
            Err(DialError::Refused(Bytes::from(text)))
        }
    }
}

/// The node's words, if it refuses.
async fn say(
    stream: &mut Stream,
    introduction: &Introduction,
    marks: &NodeMarks,
) -> io::Result<Option<Bytes>> {
    let mut requests = BytesMut::new();
    introduction.by.iter().for_each(|own| own.auth(&mut requests));
    requests.extend_from_slice(&introduction.request);
    stream.write_all(&requests).await?;
    stream.flush().await?;
    let mut buffer = BytesMut::with_capacity(256);
    for name in asked(&requests) {
        let reply = next_reply(stream, &mut buffer).await?;
        marks.own_calls().note(&name, reply.strip_prefix(b"-"));
        if is_no_judgement(&reply) {
            let said = String::from_utf8_lossy(&reply).trim_start_matches('-').trim_end().to_owned();
            return Err(io::Error::new(io::ErrorKind::WouldBlock, said));
        }
        if reply.first() == Some(&b'-') {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}
