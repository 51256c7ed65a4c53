//! Sections that are written as several tables, `[[name]]`, each of which has every key that has no default.

use super::checks;
use super::fault::{Faults, Place};
use super::kind::{Preset, Section};
use super::read::{Config, Given, preset_of, same};
use super::value::{Item, Value};

/// Reads the tables of `section`; `begin` makes room for one in the settings, which its keys then fill.
pub(super) fn apply(
    section: &Section,
    begin: fn(&mut Config),
    given: &Given,
    config: &mut Config,
    faults: &mut Faults,
) {
    for (index, row) in rows(given, section.name).iter().enumerate() {
        let path = format!("{}[{index}]", section.name);
        let Value::Table(fields) = &row.value else {
            faults.add(path, row.place.clone(), format!("`{}` is not a table", row.value));
            continue;
        };
        begin(config);
        for (name, field) in fields {
            if !section.keys.iter().any(|key| key.name == name) {
                let is_table = matches!(field.value, Value::Table(_));
                let text = checks::unknown(section.name, name, is_table);
                faults.add(format!("{path}.{name}"), field.place.clone(), text);
            }
        }
        for key in section.keys {
            match (fields.iter().find(|(name, _)| name == key.name), key.preset) {
                // As if it were not written.
                (Some((_, field)), Preset::Value(_))
                    if preset_of(key).is_some_and(|it| same(key, &it, field)) => {}
                (Some((name, field)), _) => key.apply(&format!("{path}.{name}"), field, config, faults),
                (None, Preset::Value(_)) => {}
                (None, Preset::Absent(example)) => {
                    let text = format!("has no {0}: write {0} = {example}", key.name);
                    faults.add(path.clone(), row.place.clone(), text);
                }
            }
        }
    }
}

/// What the tables of a section say for one key, each with its path.
pub(super) fn fields<'a>(
    given: &'a Given,
    section: &str,
    name: &str,
) -> impl Iterator<Item = (String, &'a Item)> {
    let (section, name) = (section.to_owned(), name.to_owned());
    rows(given, &section).iter().enumerate().filter_map(move |(index, row)| {
        let Value::Table(fields) = &row.value else { return None };
        let (_, field) = fields.iter().find(|(of, _)| *of == name)?;
        Some((format!("{section}[{index}].{name}"), field))
    })
}

/// Where each table of a section begins.
pub(super) fn places(given: &Given, section: &str) -> impl Iterator<Item = Place> {
    rows(given, section).iter().map(|row| row.place.clone())
}

/// Whether one of the tables of a section says something for a key.
pub(super) fn says(given: &Given, section: &str, index: usize, name: &str) -> bool {
    let path = format!("{section}[{index}].{name}");
    let is_empty = |item: &Item| matches!(&item.value, Value::Text(text) if text.is_empty());
    fields(given, section, name).any(|(of, item)| of == path && !is_empty(item))
}

fn rows<'a>(given: &'a Given, section: &str) -> &'a [Item] {
    match given.get(section).map(|item| &item.value) {
        Some(Value::List(rows)) => rows,
        _ => &[],
    }
}
