//! `[[users]]`: their keys, and what contradicts what.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::users::{Digest, Rate, USERS_MAX, User};

use super::fault::{Faults, Place};
use super::keys::set;
use super::kind::{Key, Kind, absent, key};
use super::read::{Config, Given, secret_file};
use super::rows;

/// Most requests of a rate.
const RATE_MAX: u32 = 100_000_000;

pub(super) const USERS: &[Key] = &[
    absent("name", Kind::Text(Some(name)), r#""app""#, "Name that clients give."),
    key(
        "password_file",
        Kind::Text(Some(|c, v| password(c, Digest::of(secret_file(&v)?.as_bytes())))),
        r#""""#,
        "File with the password; a newline at the end is left out.",
    ),
    key(
        "password_env",
        Kind::Text(Some(|c, v| password(c, Digest::of(variable(&v)?.as_bytes())))),
        r#""""#,
        "Or the name of the environment variable that holds it.",
    ),
    key(
        "password_sha256",
        Kind::Secret(Some(|c, v| {
            let fault = "must be 64 hex digits, as `printf %s \"$password\" | sha256sum` prints them";
            password(c, Digest::parse(&v).ok_or(fault)?)
        })),
        r#""""#,
        "Or its SHA-256, 64 hex digits.",
    ),
    key(
        "commands",
        Kind::Texts(Some(|c, v| set(&mut last(c).commands, all(v, command)?))),
        "[]",
        "What it may run, as rules of Redis's ACL in their order, for example \"+@read\", \"-@dangerous\"; empty: everything.",
    ),
    key(
        "keys",
        Kind::Texts(Some(|c, v| set(&mut last(c).keys, all(v, pattern)?))),
        "[]",
        "Patterns of the keys that it may touch, `%R~` or `%W~` before one that it may only read or write; empty: all keys.",
    ),
    key(
        "channels",
        Kind::Texts(Some(|c, v| set(&mut last(c).channels, all(v, channel)?))),
        "[]",
        "Patterns of the channels that it may use; empty: all channels.",
    ),
    key(
        "rate",
        Kind::Text(Some(|c, v| set(&mut last(c).rate, Some(rate(&v)?)))),
        r#""""#,
        "Most requests of all its clients, as \"10000/s\", \"600/m\" or \"1000/h\"; what one second allows may come at once. Empty: any number.",
    ),
    key(
        "admin",
        Kind::Flag(Some(|c, v| set(&mut last(c).admin, v))),
        "false",
        "Whether it may give PROXY orders.",
    ),
    key(
        "backend_user",
        Kind::Text(Some(|c, v| set(&mut last(c).backend_user, word(v)?))),
        r#""""#,
        "User that the nodes have already and that its clients are there; empty: the nodes are given one of its name, and keep it until ACL DELUSER.",
    ),
    key(
        "backend_password_file",
        Kind::Text(Some(|c, v| set(&mut last(c).backend_password, Some(Zeroizing::new(secret_file(&v)?))))),
        r#""""#,
        "File with that user's password; empty: it is the one that clients give.",
    ),
];

/// The keys of one more are read from now on.
pub(super) fn begin_user(config: &mut Config) {
    Arc::make_mut(&mut config.frontend.users).push(User::default());
}

/// The user whose keys are being read.
fn last(config: &mut Config) -> &mut User {
    let users = Arc::make_mut(&mut config.frontend.users);
    if users.is_empty() {
        users.push(User::default());
    }
    let last = users.len() - 1;
    &mut users[last]
}

fn name(config: &mut Config, name: String) -> Result<(), String> {
    let name = word(name)?;
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if config.frontend.users.iter().any(|user| user.name == name) {
        return Err(format!("`{name}` is listed already"));
    }
    set(&mut last(config).name, name)
}

fn password(config: &mut Config, digest: Digest) -> Result<(), String> {
    let user = last(config);
    if user.password.is_some() {
        return Err("is given besides another password; keep one of them".to_owned());
    }
    set(&mut user.password, Some(digest))
}

fn variable(name: &str) -> Result<Zeroizing<String>, String> {
    let value = std::env::var(name).unwrap_or_default();
    if value.is_empty() {
        Err(format!("the variable `{name}` is not set or empty"))
    } else {
        Ok(value.into())
    }
}

/// What an ACL rule can say: servers take no spaces there, and a line of ACL LIST is one line.
fn word(text: String) -> Result<String, String> {
    let faulty = |c: char| c.is_whitespace() || c.is_control();
    if text.contains(faulty) { Err("has a space or a control character in it".to_owned()) } else { Ok(text) }
}

fn all(texts: Vec<String>, one: fn(String) -> Result<String, String>) -> Result<Vec<String>, String> {
    texts.into_iter().map(one).collect()
}

fn command(rule: String) -> Result<String, String> {
    let rule = word(rule)?;
    if rule.len() < 2 || !rule.starts_with(['+', '-']) {
        return Err(format!(
            "`{rule}` is no rule for commands like \"+@read\", \"-flushall\" or \"+config|get\""
        ));
    }
    Ok(rule)
}

fn pattern(pattern: String) -> Result<String, String> {
    let pattern = word(pattern)?;
    let flags = pattern.strip_prefix('%').map(|rest| rest.split_once('~').unwrap_or(("", "")));
    let fits = |flags: &str| !flags.is_empty() && flags.chars().all(|flag| "RWrw".contains(flag));
    let signed = pattern.starts_with(['~', '&']);
    if pattern.is_empty() || signed || flags.is_some_and(|(flags, rest)| !fits(flags) || rest.is_empty()) {
        return Err(format!("`{pattern}` is no pattern like \"app:*\" or \"%R~shared:*\""));
    }
    Ok(pattern)
}

fn channel(pattern: String) -> Result<String, String> {
    let pattern = word(pattern)?;
    if pattern.is_empty() || pattern.starts_with(['~', '&', '%']) {
        return Err(format!("`{pattern}` is no pattern like \"app:*\""));
    }
    Ok(pattern)
}

fn rate(text: &str) -> Result<Rate, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let parsed = text.split_once('/').and_then(|(number, unit)| {
        let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
        let number = number.parse::<u32>().ok().filter(|number| *number <= RATE_MAX)?;
        Rate::new(number, Duration::from_secs(*seconds))
    });
    parsed.ok_or_else(|| {
        format!("`{text}` is not a rate like \"10000/s\", \"600/m\" or \"1000/h\", from 1 to {RATE_MAX}")
    })
}

/// Adds a fault for each contradiction.
pub(super) fn check(given: &Given, config: &Config, faults: &mut Faults) {
    let users = &config.frontend.users;
    let place = |path: &str| given.get(path).map_or(Place::Nowhere, |item| item.place.clone());
    if users.len() > USERS_MAX {
        let text = format!("{} users, more than {USERS_MAX}", users.len());
        faults.add("users", place("users"), text);
    }
    let own = match config.control.credentials.username.as_str() {
        "" => "default",
        own => own,
    };
    for (index, (user, row)) in users.iter().zip(rows::places(given, "users")).enumerate() {
        let mut add = |name: &str, text: String| {
            let field = format!("users[{index}].{name}");
            let at = rows::fields(given, "users", name).find(|(path, _)| *path == field);
            faults.add(field, at.map_or_else(|| row.clone(), |(_, item)| item.place.clone()), text);
        };
        // A fault in it is told already.
        let tries = ["password_file", "password_env", "password_sha256"];
        let tried = tries.iter().any(|name| rows::says(given, "users", index, name));
        if user.password.is_none() && !tried {
            add(
                "password_file",
                "is missing: write password_file, password_env or password_sha256".to_owned(),
            );
        }
        if user.is_given() {
            if user.name == own || user.name == "default" {
                let whose = if user.name == own { "the proxy's own user" } else { "everybody's first user" };
                add(
                    "name",
                    format!(
                        "`{}` is {whose} on the nodes, which would be changed: name a backend_user",
                        user.name
                    ),
                );
            }
            if user.backend_password.is_some() {
                add("backend_password_file", "needs backend_user".to_owned());
            }
            continue;
        }
        if user.backend_user == own {
            add(
                "backend_user",
                format!("`{own}` is the proxy's own user, whose rights no client is to have"),
            );
        }
        for (name, is_given) in
            [("commands", !user.commands.is_empty()), ("channels", !user.channels.is_empty())]
        {
            if is_given {
                add(
                    name,
                    format!(
                        "the nodes say what `{}` may: it can not be given besides backend_user",
                        user.backend_user
                    ),
                );
            }
        }
        if user.keys.iter().any(|pattern| pattern.starts_with('%')) {
            add("keys", "`%` needs nodes that are given the user: leave backend_user out".to_owned());
        }
    }
}
