//! Gives a node a user that it does not know: it was started again, say, and nothing there keeps users.

use std::io;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::net::{self, Stream, TlsClient};
use crate::topology::{Address, NodeMarks, RefusalTold};

use super::dial::{DialError, asked, is_no_judgement, next_reply};
use super::identity::{Introduction, Newcomer};
use super::{Settings, Target};

/// Says the introduction of `newcomer` at `target`, on a connection of the proxy's own user that is closed afterwards.
///
/// # Errors
/// See [`DialError`]; one that has refused a while ago is not asked.
pub(super) async fn introduce(
    newcomer: &Newcomer<'_>,
    target: &Target,
    settings: &Settings,
    tls: Option<&TlsClient>,
    marks: &NodeMarks,
) -> Result<(), DialError> {
    let (run_id, user) = (target.run_id.as_ref(), newcomer.user);
    marks.refused_users().ask(run_id, user, Instant::now()).map_err(DialError::Refused)?;
    let Address { host, port } = &target.address;
    let mut stream = net::connect(host, *port, settings.connect_timeout, &settings.sockets(), tls).await?;
    let said = say(&mut stream, newcomer.introduction, marks);
    let refused = match timeout(settings.connect_timeout, said).await {
        Ok(Ok(refused)) => refused,
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no reply to ACL SETUSER").into()),
    };
    let name = String::from_utf8_lossy(user);
    let Some(words) = refused else {
        marks.refused_users().knows(user);
        tracing::info!(user = %name, node = %target.address, "given to a node that did not know it with this password");
        return Ok(());
    };
    let text = Bytes::from(format!(
        "-ERR node {} does not know user '{name}' and refuses to be given it, the proxy's log says why; not executed\r\n",
        target.address
    ));
    let told = marks.refused_users().refuse(run_id, user, &text, Instant::now());
    if let Some(RefusalTold { connections, pause }) = told {
        let words = String::from_utf8_lossy(&words).trim_start_matches('-').trim_end().to_owned();
        tracing::warn!(
            user = %name,
            node = %target.address,
            words,
            connections,
            asked_again_after_s = pause.as_secs(),
            "the node does not know this user and will not be given it"
        );
    }
    Err(DialError::Refused(text))
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

#[cfg(test)]
mod tests {
    use super::super::{Busy, Identity, Login, dial};
    use super::*;
    use crate::resp::Proto;
    use crate::topology::NodeId;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    /// A node that takes no password, and how many have come.
    async fn node() -> (Address, Arc<AtomicU64>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, came) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let count = came.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"-WRONGPASS no\r\n+OK\r\n:7\r\n$3\r\na:b\r\n").await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        (Address { host: "127.0.0.1".into(), port }, came)
    }

    #[tokio::test]
    async fn a_process_that_has_refused_a_user_is_not_asked_again_at_once_and_another_is() {
        let (address, came) = node().await;
        let mut request = BytesMut::new();
        crate::resp::encode::own_command(&mut request, &[b"ACL", b"SETUSER", b"app"]);
        let introduction = Some(Rc::new(Introduction { by: None, request: request.freeze() }));
        let login = Login { user: Some(b"app".to_vec()), secret: b"x".to_vec().into(), introduction };
        let identity = Identity { login: Some(Rc::new(login)), proto: Proto::Resp2, db: 0 };
        let marks = NodeMarks::default();
        let mut said = Vec::new();
        for run_id in ["a", "a", "b", "b"] {
            let (address, identity) = (address.clone(), identity.clone());
            let target = Target { node: NodeId(0), address, run_id: Some(run_id.into()), epoch: 0, identity };
            let dialled = dial(&target, &Settings::default(), None, &marks, Busy::Waits).await;
            let Err(DialError::Refused(words)) = dialled else { panic!("{dialled:?}") };
            assert!(words.starts_with(b"-ERR node ") && words.ends_with(b"\r\n"), "{words:?}");
            said.push((came.load(Ordering::Relaxed), words));
        }
        let counts: Vec<u64> = said.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [2, 3, 5, 6]);
        assert!(said.iter().all(|(_, words)| *words == said[0].1));
    }
}
