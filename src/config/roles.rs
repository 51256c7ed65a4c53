//! `[[admin.roles]]`: their keys, and what contradicts what.

use crate::admin::{Grant, ROLES_MAX, TokenFile, TokenRole, WHOLE};

use super::fault::{Faults, Place};
use super::keys::{pick, set};
use super::kind::{Key, Kind, absent};
use super::read::{Config, Given};

/// Longest name, bytes: it stands in each line of the log about an order.
const NAME_MAX: usize = 64;

pub(super) const ADMIN_ROLES: &[Key] = &[
    absent(
        "name",
        Kind::Text(Some(name)),
        r#""ops""#,
        "Who has the token, as the log names him with his orders; 64 bytes at most.",
    ),
    absent(
        "token_file",
        Kind::Text(Some(token)),
        r#""/run/secrets/ops""#,
        "File with his token, as admin.token_file, and another token than there and in the others.",
    ),
    absent(
        "role",
        Kind::Choice(&["viewer", "operator", "restorer", "admin"], Some(role)),
        r#""operator""#,
        "viewer: sees what clients ask for, and may order nothing. operator: gives orders too, but for an upgrade. admin: everything, as who has admin.token_file's token. restorer: not yet.",
    ),
];

/// The one whose keys are being read, and those before it.
fn last(config: &mut Config) -> (&mut Grant, &[Grant]) {
    let roles = &mut config.admin.roles;
    if roles.is_empty() {
        roles.push(Grant::default());
    }
    let at = roles.len() - 1;
    let (before, last) = roles.split_at_mut(at);
    (&mut last[0], before)
}

fn name(config: &mut Config, name: String) -> Result<(), String> {
    let (last, before) = last(config);
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name.len() > NAME_MAX {
        return Err(format!("is longer than {NAME_MAX} bytes"));
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("has a space or a control character in it".to_owned());
    }
    if name == WHOLE {
        return Err(format!("`{WHOLE}` is how the log calls who has the token of that file"));
    }
    if before.iter().any(|grant| grant.name == name) {
        return Err(format!("`{name}` is listed already"));
    }
    set(&mut last.name, name)
}

/// Whose a token is would not be certain if two had the same.
fn token(config: &mut Config, path: String) -> Result<(), String> {
    let token = TokenFile::new(path.clone().into())?;
    let whole = config.admin.token.clone();
    let (last, before) = last(config);
    let roles = before.iter().map(|grant| (format!("`{}`", grant.name), &grant.token));
    let others = whole.iter().map(|token| ("admin.token_file".to_owned(), token)).chain(roles);
    for (whose, other) in others {
        if *other == token {
            return Err(format!("`{path}` is the file of {whose} too; each needs one of its own"));
        }
        if token.agrees(other) {
            return Err(format!("`{path}`: {whose} has the same token; each needs one of its own"));
        }
    }
    set(&mut last.token, token)
}

fn role(config: &mut Config, word: &'static str) -> Result<(), String> {
    if word == "restorer" {
        return Err(format!("`{word}` is not yet supported: there is no archive to restore from"));
    }
    let roles =
        [("viewer", TokenRole::Viewer), ("operator", TokenRole::Operator), ("admin", TokenRole::Admin)];
    set(&mut last(config).0.role, pick(&roles, word))
}

/// Adds a fault for what no single entry can know.
pub(super) fn check(given: &Given, config: &Config, faults: &mut Faults) {
    let listed = config.admin.roles.len();
    if listed > ROLES_MAX {
        let place = given.get("admin.roles").map_or(Place::Nowhere, |item| item.place.clone());
        faults.add("admin.roles", place, format!("{listed} roles, more than {ROLES_MAX}"));
    }
}
