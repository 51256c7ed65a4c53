//! Which arguments of a request are keys, and whether these are all that it concerns.

use super::args::Args;
use super::classify::number;
use super::lookup::RowId;
use super::spec::{Effect, Keys};

/// What a request reads or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No data.
    Nothing,
    /// The keys that it names.
    Keys,
    /// Maybe others too: only the server can tell.
    Everything,
}

/// What a request of `row` reads, or changes when its row writes. The positions of its keys go to `out`, as by [`keys`].
pub fn reach<A: Args + ?Sized>(row: RowId, request: &A, out: &mut Vec<u16>) -> Reach {
    out.clear();
    let spec = row.spec();
    let begins = |start: &str| spec.name.starts_with(start);
    match spec.name {
        "publish" | "spublish" | "exec" => return Reach::Nothing,
        _ if begins("script|") => return Reach::Nothing,
        _ if spec.effect == Effect::Neutral => return Reach::Nothing,
        // What a script touches is not bound to the keys it names, BY and GET read others, and so do a time series's rules.
        "sort_ro" => return Reach::Everything,
        _ if begins("eval") || begins("fcall") || begins("ts.") => return Reach::Everything,
        _ => {}
    }
    keys(row, request, out);
    // Positions beyond those that `keys` can say are left out by it.
    if out.is_empty() || request.count() > usize::from(u16::MAX) { Reach::Everything } else { Reach::Keys }
}

/// Writes the positions of a request's keys into `out`, which is emptied first. None where the server would refuse the
/// request, and none where only the server can name them (`Keys::Opaque`). Positions beyond 65535 are left out.
pub fn keys<A: Args + ?Sized>(row: RowId, request: &A, out: &mut Vec<u16>) {
    out.clear();
    if request.count() < 2 {
        return;
    }
    match row.spec().keys {
        Keys::None | Keys::Opaque => {}
        Keys::Range(first, last, step) => range(request, (first, last, step), out),
        Keys::Counted { count, fixed, step } => counted(request, (count, fixed, step), out),
        Keys::Streams => streams(request, out),
        Keys::Sort => sort(request, out),
        Keys::Geo => geo(request, out),
        Keys::Migrate => migrate(request, out),
    }
}

fn push(at: usize, out: &mut Vec<u16>) {
    out.extend(u16::try_from(at));
}

fn range<A: Args + ?Sized>(request: &A, (first, last, step): (i8, i8, i8), out: &mut Vec<u16>) {
    let count = request.count();
    let first = usize::from(first.unsigned_abs());
    let last = if last < 0 {
        count.saturating_sub(usize::from(last.unsigned_abs()))
    } else {
        usize::from(last.unsigned_abs()).min(count - 1)
    };
    for at in (first..=last).step_by(usize::from(step.unsigned_abs())) {
        push(at, out);
    }
}

fn counted<A: Args + ?Sized>(request: &A, (count, fixed, step): (i8, i8, i8), out: &mut Vec<u16>) {
    let at = usize::from(count.unsigned_abs());
    if request.count() <= at {
        return;
    }
    let Some(many) = number(request.arg(at)).and_then(|many| usize::try_from(many).ok()) else {
        return;
    };
    let step = usize::from(step.unsigned_abs());
    if many.saturating_mul(step) > request.count() - 1 - at {
        return;
    }
    if fixed != 0 {
        push(usize::from(fixed.unsigned_abs()), out);
    }
    for key in 0..many {
        push(at + 1 + key * step, out);
    }
}

fn streams<A: Args + ?Sized>(request: &A, out: &mut Vec<u16>) {
    let mut at = 1;
    while at < request.count() {
        let option = request.arg(at);
        if option.eq_ignore_ascii_case(b"streams") {
            let listed = request.count() - 1 - at;
            if listed.is_multiple_of(2) {
                (at + 1..=at + listed / 2).for_each(|key| push(key, out));
            }
            return;
        }
        at += if option.eq_ignore_ascii_case(b"noack") {
            1
        } else if option.eq_ignore_ascii_case(b"group") {
            3
        } else if [b"block".as_slice(), b"count", b"claim"].iter().any(|it| it.eq_ignore_ascii_case(option)) {
            2
        } else {
            return;
        };
    }
}

fn sort<A: Args + ?Sized>(request: &A, out: &mut Vec<u16>) {
    push(1, out);
    let mut store = None;
    let mut at = 2;
    while at < request.count() {
        let option = request.arg(at);
        if option.eq_ignore_ascii_case(b"limit") {
            at += 3;
        } else if [b"get".as_slice(), b"by"].iter().any(|it| it.eq_ignore_ascii_case(option)) {
            at += 2;
        } else {
            if option.eq_ignore_ascii_case(b"store") && at + 1 < request.count() {
                store = Some(at + 1);
            }
            at += 1;
        }
    }
    store.into_iter().for_each(|at| push(at, out));
}

fn geo<A: Args + ?Sized>(request: &A, out: &mut Vec<u16>) {
    push(1, out);
    // Of each the last one counts.
    let (mut at, mut stored) = (5, [None; 2]);
    while at + 1 < request.count() {
        let word = [b"store".as_slice(), b"storedist"]
            .iter()
            .position(|word| request.arg(at).eq_ignore_ascii_case(word));
        if let Some(word) = word {
            at += 1;
            stored[word] = Some(at);
        }
        at += 1;
    }
    stored.into_iter().flatten().for_each(|at| push(at, out));
}

fn migrate<A: Args + ?Sized>(request: &A, out: &mut Vec<u16>) {
    if request.count() > 3 && !request.arg(3).is_empty() {
        return push(3, out);
    }
    let listed = (6..request.count()).find(|&at| request.arg(at).eq_ignore_ascii_case(b"keys"));
    if let Some(keys) = listed {
        (keys + 1..request.count()).for_each(|at| push(at, out));
    }
}

#[cfg(test)]
mod tests;
