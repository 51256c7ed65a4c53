//! What a client's request changes that the other nodes need too. Pure.

use crate::resp::RequestScanner;

/// Settings that name one node's place or hardware: they stay where they were set.
const PLACE: [&[u8]; 17] = [
    b"dir",
    b"dbfilename",
    b"logfile",
    b"pidfile",
    b"port",
    b"tls-port",
    b"bind",
    b"bind-source-addr",
    b"unixsocket",
    b"unixsocketperm",
    b"aclfile",
    b"server_cpulist",
    b"bio_cpulist",
    b"aof_rewrite_cpulist",
    b"bgsave_cpulist",
    b"server-cpulist",
    b"bio-cpulist",
];

/// The same, by how their names begin: places, what Redhold keeps the group together by, and what names this very node.
const PLACE_BEGINNINGS: [&[u8]; 10] = [
    b"append",
    b"syslog-",
    b"cluster-",
    b"tls-cert",
    b"tls-key",
    b"tls-client-",
    b"min-replicas-",
    b"min-slaves-",
    b"repl",
    b"slave-",
];

/// `append…` are names of files and folders, but for these.
const NO_PLACE: [&[u8]; 2] = [b"appendonly", b"appendfsync"];

/// What can be compared afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// A setting, lower case.
    Setting(String),
    /// A user.
    User(String),
}

/// What a change does to a server's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scripting {
    /// It loads the one that is its third word.
    Loads,
    /// It removes all of them.
    Flushes,
}

/// A request for every node but the one that accepted it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The request, without what stays at one node.
    pub(super) words: Vec<Vec<u8>>,
    /// What of it may be told: never a password or a rule.
    pub(super) told: String,
    /// What it changes, as far as that can be compared.
    pub(super) names: Vec<Name>,
    /// It deletes them.
    pub(super) deletes: bool,
    pub(super) scripting: Option<Scripting>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({})", self.told)
    }
}

impl Change {
    /// Of a request that a node accepted; `None` when it concerns that node alone.
    pub(super) fn of(request: &[u8]) -> Option<Self> {
        let scanner = RequestScanner::of_kept(request)?;
        let words: Vec<Vec<u8>> = scanner.request(request).args().map(<[u8]>::to_vec).collect();
        let upper = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
        match (upper(0)?.as_str(), upper(1)?.as_str()) {
            ("CONFIG", "SET") => Self::of_settings(&words),
            ("ACL", "SETUSER" | "DELUSER") => {
                // The rules of SETUSER are secrets.
                let names = if upper(1)? == "SETUSER" { words.get(2..3)? } else { words.get(2..)? };
                let told = told(&upper(1)?, "ACL", names);
                let users = names.iter().filter_map(|name| String::from_utf8(name.clone()).ok());
                let (names, deletes) = (users.map(Name::User).collect(), upper(1)? == "DELUSER");
                Some(Self { words, told, names, deletes, scripting: None })
            }
            (command, subcommand) => {
                let told = format!("{command} {subcommand}");
                let scripting = match (command, subcommand) {
                    ("SCRIPT", "LOAD") if words.len() == 3 => Some(Scripting::Loads),
                    ("SCRIPT", "FLUSH") => Some(Scripting::Flushes),
                    _ => None,
                };
                Some(Self { words, told, names: Vec::new(), deletes: false, scripting })
            }
        }
    }

    /// CONFIG SET.
    pub(super) fn to_set(name: &str, value: &str) -> Self {
        let words = ["CONFIG", "SET", name, value].map(|word| word.as_bytes().to_vec()).to_vec();
        let names = vec![Name::Setting(name.to_owned())];
        Self { told: told("SET", "CONFIG", &words[2..3]), words, names, deletes: false, scripting: None }
    }

    /// Gives a user exactly these rules, as ACL LIST tells them.
    pub(super) fn to_give(name: &str, rules: &[String]) -> Self {
        let words = ["ACL", "SETUSER", name, "reset"].into_iter().chain(rules.iter().map(String::as_str));
        let words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
        let names = vec![Name::User(name.to_owned())];
        Self { told: told("SETUSER", "ACL", &words[2..3]), words, names, deletes: false, scripting: None }
    }

    /// Gives a user of the proxy's own. It is not compared: each node is told.
    pub(super) fn to_introduce(words: Vec<Vec<u8>>) -> Self {
        let told = told("SETUSER", "ACL", words.get(2..3).unwrap_or_default());
        Self { words, told, names: Vec::new(), deletes: false, scripting: None }
    }

    /// Deletes a user.
    pub(super) fn to_delete(name: &str) -> Self {
        let words = ["ACL", "DELUSER", name].map(|word| word.as_bytes().to_vec()).to_vec();
        let names = vec![Name::User(name.to_owned())];
        Self { told: told("DELUSER", "ACL", &words[2..3]), words, names, deletes: true, scripting: None }
    }

    fn of_settings(words: &[Vec<u8>]) -> Option<Self> {
        let pairs = words.get(2..)?.chunks_exact(2).filter(|pair| !is_of_one_node(&pair[0]));
        let pairs: Vec<&[Vec<u8>]> = pairs.collect();
        if pairs.is_empty() {
            return None;
        }
        let names: Vec<Vec<u8>> = pairs.iter().map(|pair| pair[0].to_ascii_lowercase()).collect();
        let words = words[..2].iter().chain(pairs.into_iter().flatten()).cloned().collect();
        let told = told("SET", "CONFIG", &names);
        let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
        Some(Self { words, told, names: names.map(Name::Setting).collect(), deletes: false, scripting: None })
    }
}

/// Names beyond these are not told.
const TOLD_MAX: usize = 3;

fn told(subcommand: &str, command: &str, names: &[Vec<u8>]) -> String {
    let shown: Vec<String> =
        names.iter().take(TOLD_MAX).map(|name| name.escape_ascii().to_string()).collect();
    let more = if names.len() > TOLD_MAX { " …" } else { "" };
    format!("{command} {subcommand} {}{more}", shown.join(" "))
}

/// Whether a setting stays where it was set.
fn is_of_one_node(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let begins = |beginnings: &[&[u8]]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    !NO_PLACE.contains(&name.as_slice()) && (PLACE.contains(&name.as_slice()) || begins(&PLACE_BEGINNINGS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::encode;

    fn change(request: &str) -> Option<(String, String)> {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let mut bytes = bytes::BytesMut::new();
        encode::command(&mut bytes, &words);
        let change = Change::of(&bytes)?;
        let words: Vec<_> = change.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        Some((words.join(" "), change.told))
    }

    fn whole(request: &str, told: &str) {
        assert_eq!(change(request), Some((request.to_owned(), told.to_owned())));
    }

    #[test]
    fn what_every_node_needs_goes_as_it_is_and_no_secret_is_told() {
        whole("acl setuser app on >secret ~* +@all", "ACL SETUSER app");
        whole("ACL DELUSER a b c d", "ACL DELUSER a b c …");
        whole("ACL LOAD", "ACL LOAD");
        whole("SCRIPT FLUSH ASYNC", "SCRIPT FLUSH");
        whole("SCRIPT LOAD return", "SCRIPT LOAD");
        whole("CONFIG SET requirepass secret", "CONFIG SET requirepass");
        whole("CONFIG SET appendonly yes save x", "CONFIG SET appendonly save");
    }

    #[test]
    fn places_and_what_redhold_owns_stay_where_they_were_set() {
        for name in ["dir", "DBFILENAME", "appendfilename", "appenddirname", "logfile", "port", "bind"] {
            assert_eq!(change(&format!("CONFIG SET {name} x")), None, "{name}");
        }
        for name in ["unixsocket", "pidfile", "repl-timeout", "replica-priority", "slave-read-only"] {
            assert_eq!(change(&format!("CONFIG SET {name} x")), None, "{name}");
        }
        let both = change("CONFIG SET dir /x maxmemory 1mb port 1");
        assert_eq!(both, Some(("CONFIG SET maxmemory 1mb".into(), "CONFIG SET maxmemory".into())));
        assert_eq!(change("CONFIG SET"), None);
        assert_eq!(change("CONFIG"), None);
    }
}
