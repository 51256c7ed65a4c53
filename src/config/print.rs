//! The table of keys as people read it: a whole TOML file, and a page of documentation.

use std::fmt::Write as _;

use super::keys::SECTIONS;
use super::kind::{Form, Key, Kind, Preset, Section};
use super::read::variable_of;
use super::reload::is_live;
use super::units::{show_duration, show_size};

/// Valid TOML with every key, its default and one line of prose: what `redhold config` prints.
#[must_use]
pub fn full() -> String {
    let mut text = String::from(
        "# Redhold: every key with its default. A key that is left out has the value shown here.\n\
         # Keys after `#` have no default; the value shown is an example.\n\
         # \"not yet\": another value than the default is refused in this version.\n",
    );
    for section in SECTIONS {
        let comment = if matches!(section.form, Form::Table) { "" } else { "# " };
        let heading = heading(section);
        let later = if section.form.is_later() { " (not yet)" } else { "" };
        let _ = write!(text, "\n# {}{later}\n{comment}{heading}\n", section.about);
        for key in section.keys {
            let (mark, value) = match key.preset {
                Preset::Value(value) if comment.is_empty() => ("", value),
                Preset::Value(value) | Preset::Absent(value) => ("# ", value),
            };
            let later = if key.works() || section.form.is_later() { "" } else { " (not yet)" };
            let _ = write!(text, "# {}{later}\n{mark}{} = {value}\n", key.about, key.name);
        }
    }
    text
}

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(include_str!("reference_head.txt"));
    for section in SECTIONS {
        let _ = write!(text, "\n## {}\n{}", heading(section), section.about);
        if section.form.is_later() {
            text.push_str(" Not yet supported: `check` and `run` refuse it.");
        }
        text.push_str("\n\n| key | default | values | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            let default = match key.preset {
                Preset::Value(value) => format!("`{value}`"),
                Preset::Absent(_) => "none".to_owned(),
            };
            let later = if key.works() || section.form.is_later() { "" } else { " *Not yet.*" };
            let _ = writeln!(text, "| `{}` | {default} | {} | {}{later} |", key.name, values(key), key.about);
        }
        if !matches!(section.form, Form::Rows(_))
            && let Some(key) = section.keys.first()
        {
            let _ = writeln!(text, "\nVariables: `{}` and so on.", variable_of(section, key));
        }
        let is_live = |key: &&Key| is_live(&format!("{}.{}", section.name, key.name));
        let live: Vec<String> =
            section.keys.iter().filter(is_live).map(|key| format!("`{}`", key.name)).collect();
        if !live.is_empty() {
            let _ = writeln!(text, "\nA [reload](operations.md#reloading) takes {}.", live.join(", "));
        }
    }
    text
}

fn heading(section: &Section) -> String {
    match section.form {
        Form::Rows(_) => format!("[[{}]]", section.name),
        Form::Table | Form::OptionalTable => format!("[{}]", section.name),
    }
}

fn values(key: &Key) -> String {
    match &key.kind {
        Kind::Duration(0, _) => "duration".to_owned(),
        Kind::Duration(least, _) => {
            format!("duration, at least {}", show_duration(std::time::Duration::from_millis(*least)))
        }
        Kind::Size(range, _) => format!("size, {} to {}", show_size(*range.start()), show_size(*range.end())),
        Kind::Count(range, _) => format!("{} to {}", range.start(), range.end()),
        Kind::Flag(_) => "true, false".to_owned(),
        Kind::Choice(words, _) => words.join(", "),
        Kind::Text(_) => "text".to_owned(),
        Kind::Secret(_) => "text, printed as `***`".to_owned(),
        Kind::Share(_) => "0.0 to 1.0".to_owned(),
        Kind::Texts(_) => "list of texts".to_owned(),
        Kind::Networks(_) => "list of networks or addresses".to_owned(),
        Kind::Listens(_) => "list of addresses, at least one".to_owned(),
        Kind::Nodes(_) => "list of nodes".to_owned(),
        Kind::Tables => "tables".to_owned(),
    }
}
