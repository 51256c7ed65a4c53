//! What no single key can know: contradictions between keys, and what an unknown key was meant to be.

use std::collections::BTreeSet;

use crate::frontend::Listen;

use super::durability;
use super::fault::{Faults, Place};
use super::keys::SECTIONS;
use super::read::{Config, Given};
use super::roles;
use super::tls;
use super::units::show_duration;
use super::users;

/// Adds a fault for each contradiction.
pub(super) fn across_keys(given: &Given, config: &Config, faults: &mut Faults) {
    let place = |path: &str| given.get(path).map_or(Place::Nowhere, |item| item.place.clone());
    if given.contains_key("backend.password") && given.contains_key("backend.password_file") {
        let text = "is given besides backend.password; keep one of them";
        faults.add("backend.password_file", place("backend.password_file"), text);
    }
    let health = &config.control.failover;
    if health.timeout <= health.interval {
        let (timeout, interval) = (show_duration(health.timeout), show_duration(health.interval));
        let text = format!(
            "{timeout} is not longer than health.interval {interval}: every node would count as hung"
        );
        faults.add("health.timeout", place("health.timeout"), text);
    }
    if health.busy_timeout < health.timeout {
        let (busy, timeout) = (show_duration(health.busy_timeout), show_duration(health.timeout));
        let text = format!("{busy} is shorter than health.timeout {timeout}");
        faults.add("health.busy_timeout", place("health.busy_timeout"), text);
    }
    let entrance = &config.frontend.limits.entrance;
    if entrance.proxy_protocol && entrance.trusted.is_empty() {
        let text = "needs proxy.trusted: the networks of the load balancers that send PROXY headers";
        faults.add("proxy.proxy_protocol", place("proxy.proxy_protocol"), text);
    }
    durability::check(given, config, faults);
    tls::check(given, config, faults);
    users::check(given, config, faults);
    roles::check(given, config, faults);
    addresses(config, &place, faults);
}

fn addresses(config: &Config, place: &dyn Fn(&str) -> Place, faults: &mut Faults) {
    let mut listening = BTreeSet::new();
    for (index, listen) in config.frontend.listen.iter().enumerate() {
        let address = match listen {
            Listen::Tcp(address) | Listen::Plain(address) => address.to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        // Port 0 stands for another port each time.
        if !address.ends_with(":0") && !listening.insert(address.clone()) {
            let text = format!("`{address}` is listed twice");
            faults.add(format!("proxy.listen[{index}]"), place("proxy.listen"), text);
        }
    }
    let admin = config.admin.listen.to_string();
    if listening.contains(&admin) {
        let text = format!("`{admin}` is in proxy.listen too; give the admin endpoint a port of its own");
        faults.add("admin.listen", place("admin.listen"), text);
    }
    let mut nodes = BTreeSet::new();
    for (index, node) in config.control.nodes.iter().enumerate() {
        let address = node.address.to_string();
        let path = format!("backend.nodes[{index}]");
        if listening.contains(&address) {
            let text = format!("`{address}` is this proxy's own address (proxy.listen)");
            faults.add(path, place("backend.nodes"), text);
        } else if !nodes.insert(address.clone()) {
            faults.add(path, place("backend.nodes"), format!("`{address}` is listed twice"));
        }
    }
}

/// What to say of a key or section that does not exist.
pub(super) fn unknown(section: &str, name: &str, is_table: bool) -> String {
    let what = if is_table { "unknown section" } else { "unknown key" };
    let keys = || SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |key| (s.name, key.name)));
    let siblings = keys().filter(|(of, _)| *of == section).map(|(_, key)| key.to_owned());
    let sections = SECTIONS.iter().map(|s| s.name.to_owned());
    let here = if is_table || section.is_empty() { nearest(name, sections) } else { nearest(name, siblings) };
    let homes: Vec<_> =
        keys().filter(|(_, key)| *key == name).map(|(of, _)| format!("{of}.{name}")).collect();
    match (here, homes.as_slice()) {
        (Some(near), _) => format!("{what}; did you mean `{near}`?"),
        (None, []) => what.to_owned(),
        (None, homes) => format!("{what}; did you mean {}?", homes.join(" or ")),
    }
}

/// The candidate with the fewest letters to change, when they are few.
pub(super) fn nearest(word: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let bound = 1 + word.chars().count() / 4;
    candidates
        .map(|candidate| (distance(word, &candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
