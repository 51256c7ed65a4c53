//! From a request to what may be done with it. No allocation; called once a request.

use super::args::Args;
use super::lookup::{RowId, command, is_container, subcommand};
use super::spec::{Effect, Lane, Retry, Rule};

/// What a request means: its row, as its arguments change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class {
    /// The row.
    pub row: RowId,
    /// Where the request goes.
    pub lane: Lane,
    /// Read, write or neither.
    pub effect: Effect,
    /// What a lost connection allows.
    pub retry: Retry,
    /// False when every known server refuses this number of arguments.
    pub arity_ok: bool,
}

/// Finds a request's row and applies its arguments to it.
///
/// What the table does not know (a command, or a subcommand of a known container) may do anything: a connection of its
/// own, counted as a write, never sent again. What every server refuses for its number of arguments does nothing: it
/// is shared and neutral; but where its row asks for a lane that leaves the shared pipeline for another reason than a
/// wait, it gets a connection of its own, in case that a server to come accepts it.
#[inline]
pub fn classify<A: Args + ?Sized>(request: &A) -> Class {
    let row = match find_row(request) {
        Ok(row) => row,
        Err(nearest) => return unknown(nearest),
    };
    let spec = row.spec();
    if !arity_fits(spec.arity, request.count()) {
        return refused(row);
    }
    let class = Class { row, lane: spec.lane, effect: spec.effect, retry: spec.retry, arity_ok: true };
    match spec.rule {
        Rule::Fixed | Rule::Redirect => class,
        // The most common write needs no look at its arguments.
        Rule::Set if request.count() == 3 => class,
        rule => applied(rule, class, request),
    }
}

/// As `classify`, for a request of which only the first arguments are here: they can not tell how many there will be,
/// and such a request is never kept to be sent again.
pub fn classify_partial<A: Args + ?Sized>(request: &A) -> Class {
    match find_row(request) {
        Ok(row) => {
            let spec = row.spec();
            Class { row, lane: spec.lane, effect: spec.effect, retry: Retry::Never, arity_ok: true }
        }
        Err(nearest) => unknown(nearest),
    }
}

/// The request's row, or the one that stands for what the table does not know.
#[inline(always)]
fn find_row<A: Args + ?Sized>(request: &A) -> Result<RowId, RowId> {
    if request.count() == 0 {
        return Err(RowId::UNKNOWN);
    }
    let row = command(request.arg(0)).ok_or(RowId::UNKNOWN)?;
    if is_container(row) && request.count() > 1 {
        return subcommand(row, request.arg(1)).ok_or(row);
    }
    Ok(row)
}

fn unknown(row: RowId) -> Class {
    Class { row, lane: Lane::Own, effect: Effect::Write, retry: Retry::Never, arity_ok: true }
}

fn refused(row: RowId) -> Class {
    let lane = match row.spec().lane {
        Lane::Shared
        | Lane::Scan
        | Lane::Pubsub
        | Lane::Script
        | Lane::ScriptCache
        | Lane::Blocking
        | Lane::Threaded
        | Lane::Wait => Lane::Shared,
        // No server knows it.
        Lane::Proxy => Lane::Proxy,
        _ => Lane::Own,
    };
    Class { row, lane, effect: Effect::Neutral, retry: Retry::Read, arity_ok: false }
}

fn arity_fits(arity: i8, count: usize) -> bool {
    let arity = isize::from(arity);
    if arity < 0 { count >= arity.unsigned_abs() } else { count == arity.unsigned_abs() }
}

fn applied<A: Args + ?Sized>(rule: Rule, class: Class, request: &A) -> Class {
    let unless = |holds: bool, otherwise: Class| if holds { class } else { otherwise };
    let never = Class { retry: Retry::Never, ..class };
    match rule {
        Rule::Fixed | Rule::Redirect => class,
        Rule::Set => unless(sets_plainly(request), never),
        Rule::Pairs => unless(sets_all(request), never),
        Rule::At(earliest) => unless(expires_later(request, earliest), never),
        Rule::Block => unless(has_word(request, 1, b"block"), at_once(class)),
        Rule::Store => unless(stores(request), Class { retry: Retry::Read, ..class }),
        Rule::Alone => unless(request.count() > 2, Class { retry: Retry::Read, ..class }),
        Rule::Settings => unless(!sets_what_we_own(request), Class { lane: Lane::Owned, ..class }),
        Rule::Reserved => unless(!names_what_we_own(class, request), Class { lane: Lane::Owned, ..class }),
    }
}

/// A blocking read without BLOCK.
fn at_once(class: Class) -> Class {
    let retry = if class.effect == Effect::Read { Retry::Read } else { Retry::Never };
    Class { lane: Lane::Shared, retry, ..class }
}

fn sets_plainly<A: Args + ?Sized>(request: &A) -> bool {
    let mut at = 3;
    while at < request.count() {
        let option = request.arg(at);
        if option.eq_ignore_ascii_case(b"keepttl") {
            at += 1;
        } else if [b"ex".as_slice(), b"px", b"exat", b"pxat"].iter().any(|it| it.eq_ignore_ascii_case(option))
        {
            at += 2;
        } else {
            return false;
        }
    }
    true
}

fn sets_all<A: Args + ?Sized>(request: &A) -> bool {
    let Some(pairs) = number(request.arg(1)).and_then(|count| usize::try_from(count).ok()) else {
        return false;
    };
    let options = pairs.saturating_mul(2).saturating_add(2);
    options <= request.count() && !has_word(request, options, b"nx") && !has_word(request, options, b"xx")
}

fn expires_later<A: Args + ?Sized>(request: &A, earliest: u64) -> bool {
    request.count() == 3 && number(request.arg(2)).is_some_and(|time| time >= earliest)
}

fn stores<A: Args + ?Sized>(request: &A) -> bool {
    has_word(request, 2, b"store") || has_word(request, 2, b"storedist")
}

/// Settings by which Redhold keeps the group together.
const OURS: [&[u8]; 5] = [b"min-replicas-", b"min-slaves-", b"repl-", b"replica-", b"slave-"];

fn sets_what_we_own<A: Args + ?Sized>(request: &A) -> bool {
    (2..request.count()).step_by(2).any(|at| {
        let name = request.arg(at);
        OURS.iter().any(|ours| name.len() >= ours.len() && name[..ours.len()].eq_ignore_ascii_case(ours))
    })
}

/// Channels that begin so are Redhold's own: what a client said or heard there would reach into the group's brain.
const RESERVED: &[u8] = b"__redhold:";

/// Whether a channel of this name is kept for Redhold itself.
pub fn is_reserved(channel: &[u8]) -> bool {
    channel.starts_with(RESERVED)
}

/// Where Sentinels greet one another: whoever is heard there is taken for one, and decides in Redhold's place.
const SENTINELS: &[u8] = b"__sentinel__:hello";

/// Whether this is the channel on which Sentinels greet one another. Anybody may listen there.
pub fn is_sentinels(channel: &[u8]) -> bool {
    channel == SENTINELS
}

/// A publication names one channel, a subscription any number of them.
fn names_what_we_own<A: Args + ?Sized>(class: Class, request: &A) -> bool {
    if class.lane == Lane::Subscribe {
        return (1..request.count()).any(|at| is_reserved(request.arg(at)));
    }
    is_reserved(request.arg(1)) || is_sentinels(request.arg(1))
}

/// Where the id stands to which a CLIENT TRACKING redirects invalidations; behind PREFIX the word is a prefix.
#[must_use]
pub fn redirected_to<A: Args + ?Sized>(request: &A) -> Option<usize> {
    let mut at = 3;
    while at + 1 < request.count() {
        let option = request.arg(at);
        if option.eq_ignore_ascii_case(b"redirect") {
            return Some(at + 1);
        }
        at += if option.eq_ignore_ascii_case(b"prefix") { 2 } else { 1 };
    }
    None
}

fn has_word<A: Args + ?Sized>(request: &A, from: usize, word: &[u8]) -> bool {
    (from..request.count()).any(|at| request.arg(at).eq_ignore_ascii_case(word))
}

/// An unsigned decimal number, as far as it fits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
