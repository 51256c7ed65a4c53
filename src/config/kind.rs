//! What a key can hold, and how it is read.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use crate::frontend::Listen;
use crate::topology::{Address, NodeSpec};

use super::fault::{Faults, Place};
use super::read::Config;
use super::units;
use super::value::{Item, Value};

/// Where a read value goes. `None`: the feature comes later, so that only the default is accepted.
pub type Use<T> = Option<fn(&mut Config, T) -> Result<(), String>>;

/// What a key holds. Bounds are part of the contract and printed with a fault.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A duration of at least so many milliseconds.
    Duration(u64, Use<Duration>),
    /// A size in bytes.
    Size(RangeInclusive<u64>, Use<u64>),
    /// A whole number.
    Count(RangeInclusive<u64>, Use<u64>),
    /// True or false.
    Flag(Use<bool>),
    /// One of a few words.
    Choice(&'static [&'static str], Use<&'static str>),
    /// Any text.
    Text(Use<String>),
    /// Any text that is never printed.
    Secret(Use<String>),
    /// A share from 0 to 1.
    Share(Use<f64>),
    /// Texts.
    Texts(Use<Vec<String>>),
    /// Networks, as `10.0.0.0/8`, or single addresses.
    Networks(Use<Vec<IpNet>>),
    /// `proxy.listen`
    Listens(Use<Vec<Listen>>),
    /// `backend.nodes`
    Nodes(Use<Vec<Declared>>),
    /// Tables that no key that works takes yet.
    Tables,
}

/// An element of `backend.nodes`.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The node; of a name that stands for several, each of them but for its address.
    pub spec: NodeSpec,
    /// It is such a name, `dns:name:port`, and has so many addresses at least.
    pub expect: Option<usize>,
}

/// What holds when a key is not written.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// This TOML value.
    Value(&'static str),
    /// Nothing; the TOML value is an example.
    Absent(&'static str),
}

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it holds and where that goes.
    pub kind: Kind,
    /// What holds when it is not written.
    pub preset: Preset,
    /// One line of prose.
    pub about: &'static str,
}

/// How a section is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// `[name]`, always there.
    Table,
    /// `[name]`, absent by default, and not yet supported.
    OptionalTable,
    /// `[[name]]`, none by default. Each begins with this and goes on with its keys, all of which it must have; `None`: not yet
    /// supported.
    Rows(Option<fn(&mut Config)>),
}

impl Form {
    /// Whether the section comes with a later version.
    #[must_use]
    pub fn is_later(self) -> bool {
        matches!(self, Self::OptionalTable | Self::Rows(None))
    }
}

/// A section and its keys, in the order of printing.
#[derive(Clone, Debug)]
pub struct Section {
    /// Dotted name.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// One line of prose.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, preset: Preset::Value(default), about }
}

/// A key without default; `example` is what a commented line shows.
pub(super) const fn absent(
    name: &'static str,
    kind: Kind,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { name, kind, preset: Preset::Absent(example), about }
}

impl Key {
    /// Whether other values than the default work in this version.
    #[must_use]
    pub fn works(&self) -> bool {
        match &self.kind {
            Kind::Duration(_, u) => u.is_some(),
            Kind::Size(_, u) | Kind::Count(_, u) => u.is_some(),
            Kind::Flag(u) => u.is_some(),
            Kind::Choice(_, u) => u.is_some(),
            Kind::Text(u) | Kind::Secret(u) => u.is_some(),
            Kind::Texts(u) => u.is_some(),
            Kind::Networks(u) => u.is_some(),
            Kind::Listens(u) => u.is_some(),
            Kind::Nodes(u) => u.is_some(),
            Kind::Share(u) => u.is_some(),
            Kind::Tables => false,
        }
    }

    /// A text from the environment as the value that the file would hold; lists are separated by commas.
    pub(super) fn read_variable(&self, text: &str, place: &Place) -> Option<Value> {
        let other = || Value::Other(text.to_owned());
        Some(match &self.kind {
            Kind::Count(..) => text.parse().map_or_else(|_| other(), Value::Count),
            Kind::Share(_) => text.parse().map_or_else(|_| other(), Value::Share),
            Kind::Flag(_) => text.parse().map_or_else(|_| other(), Value::Flag),
            Kind::Texts(_) | Kind::Networks(_) | Kind::Listens(_) | Kind::Nodes(_) => Value::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| Item { value: Value::Text(part.to_owned()), place: place.clone() })
                    .collect(),
            ),
            Kind::Tables => return None,
            Kind::Duration(..) | Kind::Size(..) | Kind::Choice(..) | Kind::Text(_) | Kind::Secret(_) => {
                Value::Text(text.to_owned())
            }
        })
    }

    /// Reads `item` and puts it where it goes, or says why not.
    pub(super) fn apply(&self, path: &str, item: &Item, config: &mut Config, faults: &mut Faults) {
        let before = faults.0.len();
        let outcome = match &self.kind {
            Kind::Duration(least, u) => give(read_duration(&item.value, *least), *u, config),
            Kind::Size(range, u) => give(read_size(&item.value, range), *u, config),
            Kind::Count(range, u) => give(read_count(&item.value, range), *u, config),
            Kind::Flag(u) => give(read_flag(&item.value), *u, config),
            Kind::Choice(words, u) => give(read_choice(&item.value, words), *u, config),
            Kind::Text(u) => give(read_text(&item.value), *u, config),
            Kind::Secret(u) => {
                give(read_text(&item.value).map_err(|_| "must be a text".to_owned()), *u, config)
            }
            Kind::Share(u) => give(read_share(&item.value), *u, config),
            Kind::Texts(u) => give(read_each(path, item, faults, text_of), *u, config),
            Kind::Networks(u) => give(read_each(path, item, faults, read_network), *u, config),
            Kind::Listens(u) => give(read_each(path, item, faults, read_listen), *u, config),
            Kind::Nodes(u) => give(read_each(path, item, faults, read_node), *u, config),
            Kind::Tables => Ok(()),
        };
        // The faults of a list's elements are already there, each with its own index and line.
        if let Err(text) = outcome
            && faults.0.len() == before
        {
            faults.add(path, item.place.clone(), text);
        }
    }
}

fn give<T>(read: Result<T, String>, to: Use<T>, config: &mut Config) -> Result<(), String> {
    let value = read?;
    to.map_or(Ok(()), |set| set(config, value))
}

fn read_duration(value: &Value, least_millis: u64) -> Result<Duration, String> {
    let duration = match value {
        Value::Text(text) => units::duration(text)?,
        Value::Count(count) => {
            return Err(format!("`{count}` has no unit: write \"{count}s\" or \"{count}ms\""));
        }
        other => return Err(format!("`{other}` is not a duration like \"250ms\" or \"5s\"")),
    };
    let least = Duration::from_millis(least_millis);
    if duration < least {
        return Err(format!("`{value}` is below the least, {}", units::show_duration(least)));
    }
    Ok(duration)
}

fn read_size(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = match value {
        Value::Text(text) => units::size(text)?,
        Value::Count(count) => {
            return Err(format!("`{count}` has no unit: write \"{count}MiB\" or \"{count}KiB\""));
        }
        other => return Err(format!("`{other}` is not a size like \"64MiB\"")),
    };
    if !range.contains(&bytes) {
        let (low, high) = (units::show_size(*range.start()), units::show_size(*range.end()));
        return Err(format!("`{value}` is not between {low} and {high}"));
    }
    Ok(bytes)
}

fn read_count(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let count = match value {
        Value::Count(count) => u64::try_from(*count).ok(),
        other => return Err(format!("`{other}` is not a whole number")),
    };
    count
        .filter(|count| range.contains(count))
        .ok_or_else(|| format!("`{value}` is not between {} and {}", range.start(), range.end()))
}

fn read_flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Flag(flag) => Ok(*flag),
        other => Err(format!("`{other}` is not true or false")),
    }
}

fn read_choice(value: &Value, words: &'static [&'static str]) -> Result<&'static str, String> {
    let text = value.to_string();
    let found = words.iter().find(|word| matches!(value, Value::Text(text) if text == **word));
    found.copied().ok_or_else(|| format!("`{text}` is not one of {}", words.join(", ")))
}

fn read_text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!("`{other}` is not a text in quotes")),
    }
}

fn read_share(value: &Value) -> Result<f64, String> {
    match value {
        Value::Share(share) if (0.0..=1.0).contains(share) => Ok(*share),
        Value::Count(0) => Ok(0.0),
        Value::Count(1) => Ok(1.0),
        other => Err(format!("`{other}` is not a share from 0.0 to 1.0")),
    }
}

/// Reads every element of a list, each with its own fault.
fn read_each<T>(
    path: &str,
    item: &Item,
    faults: &mut Faults,
    read: fn(&Item) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Value::List(items) = &item.value else {
        return Err(format!("`{}` is not a list: write [\"{}\"]", item.value, item.value));
    };
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match read(item) {
            Ok(value) => values.push(value),
            Err(text) => faults.add(format!("{path}[{index}]"), item.place.clone(), text),
        }
    }
    if values.len() == items.len() { Ok(values) } else { Err("has faulty elements".to_owned()) }
}

fn text_of(item: &Item) -> Result<String, String> {
    read_text(&item.value)
}

/// An address alone is the network that has only it.
fn read_network(item: &Item) -> Result<IpNet, String> {
    let text = read_text(&item.value)?;
    let network = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    network.ok_or_else(|| format!("`{text}` is not a network like 10.0.0.0/8 or fd00::/8, nor an address"))
}

fn read_listen(item: &Item) -> Result<Listen, String> {
    let text = read_text(&item.value)?;
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
        Some(_) => Err(format!("`{text}` is not unix: and an absolute path")),
        None => match text.strip_prefix("plain:") {
            Some(address) => socket_address(address).map(Listen::Plain),
            None => socket_address(&text).map(Listen::Tcp),
        },
    }
}

/// A listening address: a literal, or a name that resolves now; port 0 lets the system choose.
pub(super) fn socket_address(text: &str) -> Result<std::net::SocketAddr, String> {
    use std::net::ToSocketAddrs;
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() {
        return Err(format!("`{text}` is not host:port, [v6]:port or unix:/path"));
    }
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` does not resolve: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` resolves to no address"))
}

fn read_node(item: &Item) -> Result<Declared, String> {
    let fields = match &item.value {
        Value::Text(text) => return node_at(text),
        Value::Table(fields) => fields,
        other => return Err(format!("`{other}` is neither a text nor {{ address = \"host:port\" }}")),
    };
    let address = fields.iter().find(|(name, _)| name == "address");
    let (_, address) = address.ok_or("has no address: write { address = \"host:port\" }")?;
    let mut node = node_at(&read_text(&address.value)?)?;
    for (name, field) in fields {
        let number = |range| read_count(&field.value, &range).map_err(|fault| format!("{name}: {fault}"));
        match (name.as_str(), node.expect) {
            ("address", _) => {}
            ("peer_address", None) => {
                let text = read_text(&field.value)?;
                let peer_address = text.parse().map_err(|error| format!("peer_address: {error}"))?;
                node.spec.peer_address = Some(peer_address);
            }
            ("peer_address", Some(_)) => {
                return Err("peer_address: each of several nodes would have the same".to_owned());
            }
            ("zone", _) => node.spec.zone = read_text(&field.value)?,
            ("priority", _) => {
                node.spec.priority = u32::try_from(number(0..=1_000_000)?).unwrap_or(u32::MAX);
            }
            ("expect", Some(_)) => {
                node.expect = Some(usize::try_from(number(1..=16)?).unwrap_or(usize::MAX));
            }
            ("expect", None) => {
                return Err("expect: is for a name of several nodes, \"dns:name:port\"".to_owned());
            }
            (other, _) => {
                return Err(format!(
                    "unknown field `{other}`: a node has address, peer_address, zone and priority"
                ));
            }
        }
    }
    Ok(node)
}

fn node_at(text: &str) -> Result<Declared, String> {
    let (address, expect) = match text.strip_prefix("dns:") {
        Some(name) => (name, Some(1)),
        None => (text, None),
    };
    let address: Address =
        address.parse().map_err(|error: crate::topology::AddressError| error.to_string())?;
    let spec = NodeSpec { address, peer_address: None, zone: String::new(), priority: 100 };
    Ok(Declared { spec, expect })
}
