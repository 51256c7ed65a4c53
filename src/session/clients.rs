//! The proxy's own client table: rows as CLIENT LIST prints them, and the requests that ask for them.
//!
//! Requests and the answers to their misuse are those of Redis 8 (7.4 brought MAXAGE; else 7.0 has the same). Each parser takes the
//! whole request's arguments, `CLIENT` and the subcommand included, and judges their number as well.

mod row;

use super::misuse::Misuse;
use crate::resp::parse_integer;

pub use row::{ClientFlags, ClientKind, ClientRow};

/// Which rows CLIENT LIST shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFilter {
    /// Every client.
    All,
    /// `TYPE`
    Kind(ClientKind),
    /// `ID`: these, in this order.
    Ids(Vec<u64>),
}

impl ListFilter {
    /// From `CLIENT LIST [TYPE kind | ID id…]`.
    pub fn parse(args: &[&[u8]]) -> Result<Self, Misuse> {
        match args {
            [_, _] => Ok(Self::All),
            [_, _, option, kind] if is(option, "type") => ClientKind::parse(kind).map(Self::Kind),
            [_, _, option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
                let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_integer(id)).collect();
                let ids = ids.ok_or_else(|| Misuse::new("ERR Invalid client ID"))?;
                // No client has a negative one, and one that does not exist is passed over.
                Ok(Self::Ids(ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect()))
            }
            _ => Err(Misuse::syntax()),
        }
    }

    /// The rows to show, `rows` being in the order of their ids.
    pub fn select<'a>(&self, rows: &'a [ClientRow]) -> Vec<&'a ClientRow> {
        match self {
            Self::All => rows.iter().collect(),
            Self::Kind(kind) => rows.iter().filter(|row| row.kind() == *kind).collect(),
            Self::Ids(ids) => ids
                .iter()
                .filter_map(|id| rows.binary_search_by_key(id, |row| row.id).ok().map(|index| &rows[index]))
                .collect(),
        }
    }
}

/// Whom CLIENT KILL means. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `ID`
    pub id: Option<u64>,
    /// `ADDR`, as the row has it.
    pub addr: Option<Vec<u8>>,
    /// `LADDR`, as the row has it.
    pub laddr: Option<Vec<u8>>,
    /// `TYPE`
    pub kind: Option<ClientKind>,
    /// `USER`
    pub user: Option<Vec<u8>>,
    /// `MAXAGE`, seconds: only clients at least this old.
    pub max_age: Option<u64>,
    /// `SKIPME`: not the one that asks.
    pub skip_me: bool,
}

impl Filter {
    /// Whether this client is meant; `me` is the id of the one that asks.
    pub fn matches(&self, row: &ClientRow, me: u64) -> bool {
        self.id.is_none_or(|id| row.id == id)
            && self.addr.as_ref().is_none_or(|addr| row.addr.as_bytes() == addr)
            && self.laddr.as_ref().is_none_or(|laddr| row.laddr.as_bytes() == laddr)
            && self.kind.is_none_or(|kind| row.kind() == kind)
            && self.user.as_ref().is_none_or(|user| row.user == *user)
            && self.max_age.is_none_or(|age| row.age >= age)
            && !(self.skip_me && row.id == me)
    }
}

/// CLIENT KILL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kill {
    /// `CLIENT KILL addr`: the one client with this address, the one that asks not excepted. Answered `+OK`, or
    /// [`Kill::none_at_address`].
    Address(Filter),
    /// `CLIENT KILL <filter> <value>…`: everyone who matches. Answered with their number.
    Matching(Filter),
}

impl Kill {
    /// From CLIENT KILL in its old or new form. That a `USER` does not exist only the server knows, see
    /// [`Kill::no_such_user`].
    pub fn parse(args: &[&[u8]]) -> Result<Self, Misuse> {
        match args {
            [_, _, addr] => Ok(Self::Address(Filter { addr: Some(addr.to_vec()), ..Filter::default() })),
            [_, _, filters @ ..] if !filters.is_empty() => filters_of(filters).map(Self::Matching),
            _ => Err(Misuse::arity("client|kill")),
        }
    }

    /// Whom it means.
    pub fn filter(&self) -> &Filter {
        match self {
            Self::Address(filter) | Self::Matching(filter) => filter,
        }
    }

    /// The answer to the old form when nobody has this address.
    pub fn none_at_address() -> Misuse {
        Misuse::new("ERR No such client")
    }

    /// The answer when the server has no such user.
    pub fn no_such_user(user: &[u8]) -> Misuse {
        Misuse::quoting("ERR No such user '", user, "'")
    }
}

fn filters_of(args: &[&[u8]]) -> Result<Filter, Misuse> {
    let mut filter = Filter { skip_me: true, ..Filter::default() };
    let mut pairs = args.chunks_exact(2);
    for pair in &mut pairs {
        let (option, value) = (pair[0], pair[1]);
        if is(option, "id") {
            filter.id = Some(above_zero(value, "client-id should be greater than 0", None)?);
        } else if is(option, "maxage") {
            let no_integer = Some("maxage is not an integer or out of range");
            filter.max_age = Some(above_zero(value, "maxage should be greater than 0", no_integer)?);
        } else if is(option, "type") {
            filter.kind = Some(ClientKind::parse(value)?);
        } else if is(option, "addr") {
            filter.addr = Some(value.to_vec());
        } else if is(option, "laddr") {
            filter.laddr = Some(value.to_vec());
        } else if is(option, "user") {
            filter.user = Some(value.to_vec());
        } else if is(option, "skipme") && is(value, "yes") {
            filter.skip_me = true;
        } else if is(option, "skipme") && is(value, "no") {
            filter.skip_me = false;
        } else {
            return Err(Misuse::syntax());
        }
    }
    if pairs.remainder().is_empty() { Ok(filter) } else { Err(Misuse::syntax()) }
}

fn above_zero(value: &[u8], too_low: &str, no_integer: Option<&str>) -> Result<u64, Misuse> {
    match parse_integer(value) {
        Some(number @ 1..) => Ok(number.unsigned_abs()),
        Some(_) => Err(Misuse::new(&format!("ERR {too_low}"))),
        None => Err(Misuse::new(&format!("ERR {}", no_integer.unwrap_or(too_low)))),
    }
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`, answered with 1 when that client was blocked, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unblock {
    /// `None`: an id that no client has.
    pub id: Option<u64>,
    /// `ERROR`: the client is told [`Unblock::ERROR`]; else it is answered as if its time had run out.
    pub error: bool,
}

impl Unblock {
    /// What a client is told whose blocking command was ended with `ERROR`.
    pub const ERROR: &'static str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

    /// From CLIENT UNBLOCK.
    pub fn parse(args: &[&[u8]]) -> Result<Self, Misuse> {
        let (id, error) = match args {
            [_, _, id] => (id, false),
            [_, _, id, reason] if is(reason, "timeout") => (id, false),
            [_, _, id, reason] if is(reason, "error") => (id, true),
            [_, _, _, _] => return Err(Misuse::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
            [_, subcommand, _, _, ..] => {
                let before = "ERR unknown subcommand or wrong number of arguments for '";
                return Err(Misuse::quoting(before, subcommand, "'. Try CLIENT HELP."));
            }
            _ => return Err(Misuse::arity("client|unblock")),
        };
        let id =
            parse_integer(id).ok_or_else(|| Misuse::new("ERR value is not an integer or out of range"))?;
        Ok(Self { id: u64::try_from(id).ok(), error })
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests;
