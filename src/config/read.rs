//! Text and environment in, [`Config`] or every fault out.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failover::InFlight;
use crate::{admin, backend, control, frontend, telemetry, traces};

use super::checks;
use super::fault::{Faults, Place};
use super::keys::SECTIONS;
use super::kind::{Form, Key, Kind, Preset, Section};
use super::rows;
use super::value::{Item, Lines, Value};

/// Largest configuration or secret file, bytes; a larger one is a mistake in the path.
const FILE_MAX: u64 = 1 << 20;

/// Everyone's settings. Secrets inside print as `***`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[proxy]` and `[limits]`
    pub frontend: frontend::Settings,
    /// `[backend]`
    pub backend: backend::Settings,
    /// `[backend]`, `[health]`, `[failover]`, `[reads]`
    pub control: control::Settings,
    /// `[admin]`
    pub admin: admin::Settings,
    /// `[log]`
    pub log: telemetry::Settings,
    /// `[tracing]`, but for the share
    pub traces: traces::Settings,
    /// What is no fault but worth a line in the log: variables that look like keys and are none.
    pub notes: Vec<String>,
}

/// What the file and the environment hold, by key path.
pub(super) type Given = BTreeMap<String, Item>;

/// Reads a text and the variables named `REDHOLD_SECTION_KEY`, which win over the text.
///
/// # Errors
/// Every fault, in the order of the lines.
pub fn parse(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, Faults> {
    read(text, environment).map(|reading| reading.config)
}

/// A configuration, and what was written, secrets included, for comparing it with a later one.
pub(super) struct Reading {
    pub(super) config: Config,
    pub(super) given: Given,
}

/// Reads a file and the process's environment.
pub(super) fn load(path: &Path) -> Result<Reading, Faults> {
    let text = read_file(path).map_err(|error| {
        let mut faults = Faults::default();
        let hint = "`redhold config > redhold.toml` writes one with every default";
        faults.add("", Place::Nowhere, format!("cannot read {}: {error}; {hint}", path.display()));
        faults
    })?;
    // A variable that is not UTF-8 cannot be the value of any key.
    let environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    read(&text, environment)
}

fn read(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Reading, Faults> {
    let mut faults = Faults::default();
    let mut given = Given::new();
    let lines = Lines(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let place = error.span().map_or(Place::Nowhere, |span| Place::Line(lines.of(span.start)));
        faults.add("", place, format!("not TOML: {}", error.message().replace('\n', "; ")));
    }
    if !faults.0.is_empty() {
        return Err(faults);
    }
    walk("", document.get_ref(), &lines, &mut given, &mut faults);
    let mut config = Config { notes: variables(environment, &mut given), ..Config::default() };
    for section in SECTIONS {
        if let Form::Rows(Some(begin)) = section.form {
            rows::apply(section, begin, &given, &mut config, &mut faults);
            continue;
        }
        for key in section.keys {
            apply(section, key, &given, &mut config, &mut faults);
        }
    }
    // The longest prefix is to be found first.
    config.frontend.durability.rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
    if config.frontend.durability.strictest().needs_replicas() {
        // Who follows a dead primary must have all that was waited for.
        config.control.failover.durability.replicas =
            usize::try_from(config.frontend.durability.replicas).unwrap_or(usize::MAX);
    }
    if config.frontend.durability.is_on() && config.control.failover.in_flight == InFlight::Auto {
        // Sending a write again may undo another client's, which was answered as safe.
        config.frontend.retry_idempotent = false;
    }
    config.control.durability = config.frontend.durability.clone();
    checks::across_keys(&given, &config, &mut faults);
    config.control.users = config.frontend.users.clone();
    let admins = config.frontend.users.iter().filter(|user| user.admin);
    config.frontend.order_users.extend(admins.map(|user| user.name.clone()));
    faults.0.sort_by(|a, b| a.place.cmp(&b.place));
    if faults.0.is_empty() { Ok(Reading { config, given }) } else { Err(faults) }
}

/// The content of a secret file without the newline at its end.
pub(super) fn secret_file(path: &str) -> Result<String, String> {
    let text = read_file(Path::new(path)).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    let secret =
        text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() { Err(format!("`{path}` is empty")) } else { Ok(secret.to_owned()) }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1MiB"));
    }
    Ok(text)
}

/// Collects the values of `table`, whose dotted name is `name`, and faults for what is unknown.
fn walk(name: &str, table: &DeTable<'_>, lines: &Lines<'_>, given: &mut Given, faults: &mut Faults) {
    for (key, value) in table {
        let path =
            if name.is_empty() { key.get_ref().to_string() } else { format!("{name}.{}", key.get_ref()) };
        let place = Place::Line(lines.of(key.span().start));
        if let Some(section) = SECTIONS.iter().find(|section| section.name == path) {
            enter(section, value, lines, given, faults, place);
        } else if find(&path).is_some() {
            given.insert(path, Item { place, ..Item::from_toml(value, lines) });
        } else {
            let text = checks::unknown(name, key.get_ref(), value.get_ref().is_table());
            faults.add(path, place, text);
        }
    }
}

fn enter(
    section: &'static Section,
    value: &Spanned<DeValue<'_>>,
    lines: &Lines<'_>,
    given: &mut Given,
    faults: &mut Faults,
    place: Place,
) {
    let mut absent = |what: String| faults.add(section.name, place.clone(), what);
    match (section.form, value.get_ref()) {
        (Form::Table, DeValue::Table(table)) => walk(section.name, table, lines, given, faults),
        (Form::OptionalTable, DeValue::Table(table)) => {
            absent(not_yet_section(section));
            walk(section.name, table, lines, given, faults);
        }
        (Form::Rows(Some(_)), DeValue::Array(_)) => {
            given.insert(section.name.to_owned(), Item { place, ..Item::from_toml(value, lines) });
        }
        (Form::Rows(None), DeValue::Array(rows)) => {
            if !rows.is_empty() {
                absent(not_yet_section(section));
            }
            for row in rows.iter() {
                match row.get_ref() {
                    DeValue::Table(table) => walk(section.name, table, lines, given, faults),
                    other => faults.add(
                        section.name,
                        Place::Line(lines.of(row.span().start)),
                        format!("must hold tables, not {} {}", article(other.type_str()), other.type_str()),
                    ),
                }
            }
        }
        (Form::Rows(_), _) => absent(format!("must be written as [[{}]]", section.name)),
        (Form::Table | Form::OptionalTable, _) => {
            absent(format!("must be a table: write [{}]", section.name))
        }
    }
}

fn not_yet_section(section: &Section) -> String {
    let name = match section.form {
        Form::Rows(_) => format!("[[{}]]", section.name),
        Form::Table | Form::OptionalTable => format!("[{}]", section.name),
    };
    format!("{name} is not yet supported; leave it out")
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

pub(super) fn find(path: &str) -> Option<&'static Key> {
    let (section, name) = path.rsplit_once('.')?;
    SECTIONS.iter().find(|s| s.name == section)?.keys.iter().find(|key| key.name == name)
}

/// Name of the variable that overrides a key.
pub(super) fn variable_of(section: &Section, key: &Key) -> String {
    format!("REDHOLD_{}_{}", section.name.replace('.', "_"), key.name).to_ascii_uppercase()
}

/// Takes the variables that name keys, and returns notes about those that only look so. Others are left
/// alone: an orchestrator that knows a service called `redhold` sets `REDHOLD_SERVICE_HOST` and its like.
fn variables(environment: impl IntoIterator<Item = (String, String)>, given: &mut Given) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, text) in environment {
        if !name.starts_with("REDHOLD_") {
            continue;
        }
        let place = Place::Variable(name.clone());
        let keys = SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
        let found = keys.clone().find(|(section, key)| variable_of(section, key) == name);
        let of_rows = found.is_some_and(|(section, _)| matches!(section.form, Form::Rows(_)));
        let value = found.and_then(|(_, key)| key.read_variable(&text, &place));
        match (found, value) {
            (Some((section, key)), Some(value)) if !of_rows => {
                given.insert(format!("{}.{}", section.name, key.name), Item { value, place });
            }
            _ if set_by_orchestrator(&name) => {}
            _ => {
                let near = checks::nearest(&name, keys.map(|(section, key)| variable_of(section, key)));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                notes.push(format!("environment variable {name} names no key and is ignored{hint}"));
            }
        }
    }
    notes
}

fn set_by_orchestrator(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

fn apply(section: &Section, key: &Key, given: &Given, config: &mut Config, faults: &mut Faults) {
    let path = format!("{}.{}", section.name, key.name);
    let default = preset_of(key);
    let Some(item) = given.get(&path) else {
        if let Some(item) = default {
            key.apply(&path, &item, config, faults);
        }
        return;
    };
    let before = faults.0.len();
    key.apply(&path, item, config, faults);
    if faults.0.len() > before
        || key.works()
        || default.as_ref().is_some_and(|default| same(key, default, item))
    {
        return;
    }
    let value = if matches!(key.kind, Kind::Secret(_)) { "***".to_owned() } else { item.value.to_string() };
    let instead = match key.preset {
        Preset::Value(text) => format!("only {text} works in this version"),
        Preset::Absent(_) => "leave it out".to_owned(),
    };
    faults.add(path, item.place.clone(), format!("`{value}` is not yet supported; {instead}"));
}

/// Whether two values mean the same: `"0ms"` is `"0s"`, and 0 is 0.0.
pub(super) fn same(key: &Key, default: &Item, item: &Item) -> bool {
    use super::units::{duration, size};
    match (&key.kind, &default.value, &item.value) {
        (Kind::Duration(..), Value::Text(a), Value::Text(b)) => duration(a) == duration(b),
        (Kind::Size(..), Value::Text(a), Value::Text(b)) => size(a) == size(b),
        (Kind::Share(_), Value::Share(a), Value::Count(b)) => *a == if *b == 0 { 0.0 } else { 1.0 },
        (_, Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.value == b.value)
        }
        (_, a, b) => a == b,
    }
}

/// What holds when a key is not written.
pub(super) fn preset_of(key: &Key) -> Option<Item> {
    match key.preset {
        Preset::Value(text) => Some(default_of(text)),
        Preset::Absent(_) => None,
    }
}

/// A default of the table as a value; a test parses each, so a faulty one is never met here.
fn default_of(text: &str) -> Item {
    let value = DeValue::parse(text).map(|value| Item::from_toml(&value, &Lines(text)).value);
    Item { value: value.unwrap_or_else(|_| Value::Other(text.to_owned())), place: Place::Nowhere }
}
