//! One user: how it proves who it is, and what the nodes are told of it.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Patterns, Rate};

/// Most users; the nodes keep a list of them, and so does each worker.
pub const USERS_MAX: usize = 100;

/// SHA-256 of a password, which is never printed: Redis takes it in place of the password as well.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Digest(Zeroizing<[u8; 32]>);

impl Digest {
    /// Of a password.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(Zeroizing::new(Sha256::digest(password).into()))
    }

    /// From 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As an ACL rule; a secret.
    #[must_use]
    pub fn rule(&self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("#{digits}")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A table of `[[users]]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// What clients say after AUTH.
    pub name: String,
    /// `password_file` or `password_sha256`; `None`: neither was given, which nobody may run with.
    pub password: Option<Digest>,
    /// User that the nodes have already; empty: they are given one of this name.
    pub backend_user: String,
    /// Its password there; `None`: the one that the client gives.
    pub backend_password: Option<Zeroizing<String>>,
    /// ACL rules for commands; empty: all.
    pub commands: Vec<String>,
    /// Key patterns, `%R~` or `%W~` before one that may only be read or written; empty: all keys.
    pub keys: Vec<String>,
    /// Channel patterns; empty: all channels.
    pub channels: Vec<String>,
    /// Most requests in a time; `None`: any number.
    pub rate: Option<Rate>,
    /// May give PROXY orders.
    pub admin: bool,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl User {
    /// Whether the nodes are given it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.backend_user.is_empty()
    }

    /// Who it is on the nodes: name and password, of a client that has proved itself with `secret`.
    #[must_use]
    pub fn at_nodes(&self, secret: &[u8]) -> (String, Zeroizing<Vec<u8>>) {
        let name = if self.is_given() { &self.name } else { &self.backend_user };
        let own = self.backend_password.as_ref().map(|password| password.as_bytes());
        (name.clone(), Zeroizing::new(own.unwrap_or(secret).to_vec()))
    }

    /// The request that gives it to a node; whatever the node had under this name is gone afterwards, in the same step.
    /// `None`: the nodes have it.
    #[must_use]
    pub fn acl_setuser(&self) -> Option<Vec<Vec<u8>>> {
        let password = self.password.as_ref().filter(|_| self.is_given())?;
        let mut words = vec!["ACL".to_owned(), "SETUSER".to_owned(), self.name.clone()];
        // `reset` leaves all channels where the server's default says so.
        words.extend(["reset", "resetchannels", "on"].map(str::to_owned));
        words.push(password.rule());
        let or_all = |patterns: &[String], sign: char, words: &mut Vec<String>| match patterns {
            [] => words.push(format!("{sign}*")),
            some => words.extend(some.iter().map(|it| match it.starts_with('%') && sign == '~' {
                true => it.clone(),
                false => format!("{sign}{it}"),
            })),
        };
        or_all(&self.keys, '~', &mut words);
        or_all(&self.channels, '&', &mut words);
        match self.commands.as_slice() {
            [] => words.push("+@all".to_owned()),
            some => words.extend_from_slice(some),
        }
        Some(words.into_iter().map(String::into_bytes).collect())
    }

    /// What is judged here of the keys that it touches: nothing where the nodes do.
    #[must_use]
    pub fn key_rules(&self) -> Option<Patterns> {
        (!self.is_given() && !self.keys.is_empty()).then(|| Patterns::new(&self.keys))
    }
}

/// The user of this name, and its place in the list.
#[must_use]
pub fn named<'a>(users: &'a [User], name: &[u8]) -> Option<(usize, &'a User)> {
    users.iter().enumerate().find(|(_, user)| user.name.as_bytes() == name)
}

/// The user of this name and its place if `secret` is its password, found out in a time that tells neither how much of the password is
/// right nor, since one is compared in any case, whether there is such a user.
#[must_use]
pub fn prove<'a>(users: &'a [User], name: &[u8], secret: &[u8]) -> Option<(usize, &'a User)> {
    let nobody = Digest::default();
    let given = Digest::of(secret);
    let found = named(users, name);
    let password = found.and_then(|(_, user)| user.password.as_ref());
    let is_right: bool = password.unwrap_or(&nobody).0.ct_eq(&*given.0).into();
    found.filter(|_| is_right && password.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn app() -> User {
        User { name: "app".to_owned(), password: Digest::parse(SECRET), ..User::default() }
    }

    fn words(user: &User) -> String {
        let words = user.acl_setuser().unwrap_or_default();
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_never_printed() {
        let digest = Digest::parse(SECRET).unwrap();
        assert_eq!(digest, Digest::of(b"secret"));
        assert_eq!(digest.rule(), format!("#{SECRET}"));
        assert_eq!(Digest::parse(&SECRET.to_ascii_uppercase()), Some(digest.clone()));
        for faulty in ["", &SECRET[1..], &format!("{SECRET}0"), &SECRET.replace('2', "g")] {
            assert_eq!(Digest::parse(faulty), None, "{faulty}");
        }
        assert_eq!(format!("{digest:?} {:?}", app()), "*** User { name: \"app\", .. }");
    }

    #[test]
    fn only_the_right_password_of_the_right_user_proves_anything() {
        let unfinished = User { password: None, name: "new".to_owned(), ..User::default() };
        let users = [User { name: "other".to_owned(), ..app() }, app(), unfinished];
        assert_eq!(prove(&users, b"app", b"secret"), Some((1, &users[1])));
        for (name, secret) in [("app", "Secret"), ("app", ""), ("nobody", "secret"), ("", ""), ("new", "")] {
            assert_eq!(prove(&users, name.as_bytes(), secret.as_bytes()), None, "{name} {secret}");
        }
        // SHA-256 that nobody's password has is no password either.
        assert_eq!(prove(&users, b"new", &[0; 32]), None);
    }

    #[test]
    fn a_node_is_given_exactly_what_is_written_and_all_of_what_is_not() {
        let all = format!("ACL SETUSER app reset resetchannels on #{SECRET} ~* &* +@all");
        assert_eq!(words(&app()), all);
        let list = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let reader = User {
            keys: list(&["app:*", "%R~shared:*"]),
            channels: list(&["news.*"]),
            commands: list(&["+@read", "-@dangerous"]),
            ..app()
        };
        let rules = format!(
            "ACL SETUSER app reset resetchannels on #{SECRET} ~app:* %R~shared:* &news.* +@read -@dangerous"
        );
        assert_eq!(words(&reader), rules);
        assert_eq!(User { backend_user: "there".to_owned(), ..app() }.acl_setuser(), None);
        assert_eq!(User { password: None, ..app() }.acl_setuser(), None, "nobody without a password");
    }

    #[test]
    fn who_has_another_name_on_the_nodes_has_the_password_that_is_said_for_it() {
        let own = |user: &User| {
            let (name, secret) = user.at_nodes(b"secret");
            (name, String::from_utf8(secret.to_vec()).unwrap())
        };
        assert_eq!(own(&app()), ("app".to_owned(), "secret".to_owned()));
        let there = User { backend_user: "there".to_owned(), ..app() };
        assert_eq!(own(&there), ("there".to_owned(), "secret".to_owned()));
        let other = Some(Zeroizing::new("other".to_owned()));
        assert_eq!(own(&User { backend_password: other, ..there }).1, "other");
    }
}
