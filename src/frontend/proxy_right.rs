//! Who may give PROXY orders: authenticated users that a node would let run FAILOVER, or those that are named. On a node that anybody
//! may enter nobody may, since whoever reaches the port would be an operator. Who may look at others' requests, and at who is there:
//! whom a node would let run SLOWLOG, and CLIENT LIST.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;

use crate::backend::{Busy, DialError, Piece, Pinned, Surroundings, Target};
use crate::resp::{Value, decode, encode};

use super::session::Session;
use super::worker::Worker;

/// A node that has not answered by then is not asked further.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a reply that are taken: 128 entries of a slow log, of 32 arguments with 128 bytes each, have less.
const REPLY_MAX: usize = 1 << 20;

/// What is needed to ask about a user.
pub(super) struct Asker {
    /// Its user on the nodes; `None`: it has not authenticated.
    user: Option<Vec<u8>>,
    /// Who it is in `[[users]]`; `None`: there are none.
    own: Option<Own>,
    /// The nodes as the proxy's own user, the primary first.
    targets: Vec<Target>,
    around: Surroundings,
    /// Who alone may give orders; empty: who may run FAILOVER.
    named: Vec<String>,
}

/// One of `[[users]]`.
struct Own {
    name: String,
    /// The nodes are given it, and whatever else is changed about it there is put back.
    is_given: bool,
}

impl Asker {
    pub(super) fn new(worker: &Worker, session: &Session) -> Self {
        let identity = &session.identity;
        let user = identity.login.as_ref().map(|login| {
            let default: &[u8] = b"default";
            login.user.as_deref().unwrap_or(default).to_vec()
        });
        let table = worker.current();
        let own = worker.control.identity();
        let mut nodes: Vec<_> = table.nodes.iter().collect();
        nodes.sort_by_key(|node| Some(node.id) != table.primary);
        let target = |node: &&crate::routing::NodeRoute| Target {
            node: node.id,
            address: node.address.clone(),
            // An order may be what helps a group whose processes are not those that were decided on.
            run_id: None,
            epoch: table.epoch,
            identity: own.clone(),
        };
        Self {
            user,
            own: session.user.map(|user| Own {
                name: worker.users.name(user).to_owned(),
                is_given: worker.users.is_given(user),
            }),
            targets: nodes.iter().map(target).collect(),
            around: worker.pools.around().clone(),
            named: worker.settings.order_users.clone(),
        }
    }
}

/// The user's name, or the error for who may not give this order.
pub(super) async fn may_order(asker: &Asker, subcommand: &str) -> Result<String, String> {
    let elsewhere =
        "or order it by `redhold` on the command line or over the admin endpoint; nothing was done";
    let Some(user) = &asker.user else {
        return Err(format!(
            "NOPERM PROXY {subcommand} is for authenticated users who may run FAILOVER: AUTH as one of them first, \
             {elsewhere}"
        ));
    };
    let own = asker.own.as_ref().map(|own| own.name.clone());
    let name = own.unwrap_or_else(|| String::from_utf8_lossy(user).into_owned());
    let named = asker.named.contains(&name);
    if !named && asker.own.is_some() {
        return Err(format!(
            "NOPERM PROXY {subcommand} is for users with `admin = true` in [[users]], and `{name}` has none: AUTH as one, \
             {elsewhere}"
        ));
    }
    if named && asker.own.is_some() {
        return Ok(name);
    }
    if !named && !asker.named.is_empty() {
        return Err(format!(
            "NOPERM PROXY {subcommand} is for the users in admin.users, and `{name}` is none of them: AUTH as one, \
             {elsewhere}"
        ));
    }
    match asker.ask_nodes(user, &[b"FAILOVER"]).await {
        Some(Right { open: Some(true), .. }) => Err(format!(
            "NOPERM PROXY {subcommand} is for users with a password, and the nodes let `{name}` in without: \
             give it one, {elsewhere}"
        )),
        Some(Right { open: None, refused }) => Err(format!(
            "NOPERM no node tells whether `{name}` has a password ({}): its own user has to run ACL GETUSER, \
             {elsewhere}",
            refused.map(|refused| refused.reason).unwrap_or_default()
        )),
        Some(Right { refused: Some(refused), .. }) if !named => {
            let (reason, cure) = (&refused.reason, asker.cure(&name, &refused, "+failover"));
            Err(format!(
                "NOPERM PROXY {subcommand} is for users who may run FAILOVER, and `{name}` may not ({reason}): {cure}, \
                 {elsewhere}"
            ))
        }
        Some(_) => Ok(name),
        None => Err(format!("NOPERM no node could say what `{name}` may; try again, {elsewhere}")),
    }
}

/// What a subcommand lets see, and the command at a node that lets see as much there.
#[derive(Debug)]
pub(super) struct Sight {
    what: &'static str,
    command: &'static [&'static [u8]],
    /// The command as people write it, and the ACL rule that allows it.
    named: &'static str,
    rule: &'static str,
}

/// What clients have sent.
pub(super) static REQUESTS: Sight =
    Sight { what: "requests of others", command: &[b"SLOWLOG", b"GET"], named: "SLOWLOG", rule: "+slowlog" };
/// Who is there.
pub(super) static CLIENTS: Sight = Sight {
    what: "other clients",
    command: &[b"CLIENT", b"LIST"],
    named: "CLIENT LIST",
    rule: "+client|list",
};

/// Nothing, or the error for who may not see this: who may not at the nodes. Where anybody may enter, anybody may.
pub(super) async fn may_look(asker: &Asker, subcommand: &str, sight: &Sight) -> Result<(), String> {
    let Sight { what, command, named, rule } = sight;
    let user = asker.user.as_deref().unwrap_or(b"default");
    let name = String::from_utf8_lossy(user);
    match asker.ask_nodes(user, command).await {
        Some(Right { open: Some(false) | None, .. }) if asker.user.is_none() => {
            Err("NOAUTH Authentication required.".to_owned())
        }
        Some(Right { refused: None, .. }) => Ok(()),
        Some(Right { open: None, refused: Some(refused) }) => Err(format!(
            "NOPERM no node tells what `{name}` may ({}): Redhold's own user has to run ACL GETUSER",
            refused.reason
        )),
        Some(Right { refused: Some(refused), .. }) => {
            let (reason, cure) = (&refused.reason, asker.cure(&name, &refused, rule));
            Err(format!(
                "NOPERM PROXY {subcommand} shows {what} and is for users who may run {named}, and `{name}` \
                 may not ({reason}): {cure}"
            ))
        }
        None => Err(format!("NOPERM no node could say whether `{name}` may run {named}; try again")),
    }
}

impl Asker {
    /// What gives `name`, who is this one at the nodes, the right that `rule` gives.
    fn cure(&self, name: &str, refused: &Refused, rule: &str) -> String {
        let is_given = self.own.as_ref().is_some_and(|own| own.is_given);
        match (is_given, &refused.needs) {
            (_, Needs::Dryrun) => "Redhold's own user has to run ACL DRYRUN".to_owned(),
            (true, Needs::Rule) => {
                format!("add \"{rule}\" to its `commands` in [[users]] and restart Redhold")
            }
            (true, Needs::All) => {
                "its `commands` in [[users]] have to be left out, and Redhold restarted".to_owned()
            }
            (false, Needs::Rule) => format!("ask for `ACL SETUSER {name} {rule}`"),
            (false, Needs::All) => format!("ask for `ACL SETUSER {name} +@all`"),
        }
    }

    /// The first node that can say tells what `user` may; `None`: none can.
    async fn ask_nodes(&self, user: &[u8], command: &[&[u8]]) -> Option<Right> {
        for target in &self.targets {
            let asked = ask(target, &self.around, user, command);
            if let Ok(Ok(right)) = tokio::time::timeout(PATIENCE, asked).await {
                return Some(right);
            }
        }
        None
    }
}

/// What a user may at a node.
struct Right {
    /// Whether any password is this user's, if that is told.
    open: Option<bool>,
    /// Why the user may not run the command; `None`: he may.
    refused: Option<Refused>,
}

struct Refused {
    reason: String,
    needs: Needs,
}

/// What would let the user run the command.
enum Needs {
    /// The rule that allows the command.
    Rule,
    /// Every command: the node tells of nobody else that he may, as before 7.0.
    All,
    /// The proxy's own user has to be let ask.
    Dryrun,
}

async fn ask(target: &Target, around: &Surroundings, user: &[u8], command: &[&[u8]]) -> Result<Right, ()> {
    let opened = Pinned::open(target.clone(), around.clone(), Busy::Waits).await;
    let mut node =
        opened.map_err(|error: DialError| tracing::debug!(?error, "cannot ask about a user's rights"))?;
    let described = call(&mut node, &[b"ACL", b"GETUSER", user]).await.map_err(drop)?;
    if let Some(error) = described.as_error() {
        let refused = Refused { reason: error.to_owned(), needs: Needs::Rule };
        return Ok(Right { open: None, refused: Some(refused) });
    }
    let fields = described.as_array().unwrap_or_default();
    let flags = field(fields, "flags").and_then(Value::as_array);
    let open = Some(flags.is_none_or(|flags| flags.iter().any(|flag| flag.as_str() == Some("nopass"))));
    let words = [&[b"ACL".as_slice(), b"DRYRUN", user], command].concat();
    let dry = call(&mut node, &words).await.map_err(drop)?;
    // Who may do everything is known to be allowed, whatever can not be asked.
    let all = field(fields, "commands").and_then(Value::as_str) == Some("+@all");
    let refused = match (dry.as_error(), dry.as_str()) {
        _ if dry.is_ok() => None,
        (Some(_), _) if all => None,
        (Some(error), _) if error.to_ascii_lowercase().contains("unknown subcommand") => {
            Some(Refused { reason: "not `+@all`".to_owned(), needs: Needs::All })
        }
        (Some(error), _) if error.starts_with("NOPERM") => {
            Some(Refused { reason: error.to_owned(), needs: Needs::Dryrun })
        }
        (error, reason) => {
            let reason = error.or(reason).unwrap_or("no reason given").to_owned();
            Some(Refused { reason, needs: Needs::Rule })
        }
    };
    Ok(Right { open, refused })
}

fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    fields.chunks_exact(2).find(|pair| pair[0].as_str() == Some(name)).map(|pair| &pair[1])
}

/// One request of the proxy's own, and its reply.
///
/// # Errors
/// The connection is lost, or the reply is longer than [`REPLY_MAX`].
pub(super) async fn call(node: &mut Pinned, words: &[&[u8]]) -> io::Result<Value> {
    let mut request = BytesMut::new();
    encode::own_command(&mut request, words);
    node.send(&request);
    let (mut reply, mut long) = (None, BytesMut::new());
    poll_fn(|cx| {
        node.poll_write(cx)?;
        loop {
            let read = node.poll_read(cx, |piece| match piece {
                Piece::Frame { bytes, .. } => reply = decode(bytes).ok().flatten().map(|(value, _)| value),
                Piece::Part { bytes, last, .. } => {
                    if long.len() <= REPLY_MAX {
                        long.extend_from_slice(bytes);
                    }
                    if last {
                        reply = decode(&long).ok().flatten().map(|(value, _)| value);
                    }
                }
            });
            if long.len() > REPLY_MAX {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            match (read, reply.take()) {
                (Poll::Ready(Err(error)), _) => return Poll::Ready(Err(error)),
                (_, Some(value)) => return Poll::Ready(Ok(value)),
                (Poll::Ready(Ok(())), None) => {}
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
    })
    .await
}
