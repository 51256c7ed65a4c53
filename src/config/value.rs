//! A value as written, freed of the TOML parser and with its line.

use std::fmt;

use toml::Spanned;
use toml::de::DeValue;

use super::fault::Place;

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Count(i64),
    Share(f64),
    Flag(bool),
    List(Vec<Item>),
    Table(Vec<(String, Item)>),
    /// A date or a number that no key takes.
    Other(String),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// The same value elsewhere is the same.
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Turns offsets into lines.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl Lines<'_> {
    /// Line, from 1, of a byte offset.
    pub(super) fn of(&self, offset: usize) -> usize {
        1 + self.0.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }
}

impl Item {
    /// Copies out of the parser's tree.
    pub(super) fn from_toml(value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Self {
        let place = Place::Line(lines.of(value.span().start));
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Value::Other(integer.to_string()), Value::Count),
            DeValue::Float(float) => {
                float.as_str().parse().map_or_else(|_| Value::Other(float.to_string()), Value::Share)
            }
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(array) => {
                Value::List(array.iter().map(|item| Self::from_toml(item, lines)).collect())
            }
            DeValue::Table(table) => Value::Table(
                table
                    .iter()
                    .map(|(key, item)| (key.get_ref().to_string(), Self::from_toml(item, lines)))
                    .collect(),
            ),
        };
        Self { value, place }
    }
}

impl fmt::Display for Value {
    /// In TOML's own notation, texts without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => f.write_str(text),
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", item.value)?;
                }
                f.write_str("]")
            }
            Self::Table(_) => f.write_str("{ ... }"),
        }
    }
}
