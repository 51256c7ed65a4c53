//! Durations and sizes as people write them.

use std::time::Duration;

/// Longest duration that a key may hold; keeps every deadline far from the clock's end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `250ms`, `5s`, `1m`, `2h`, `7d`.
///
/// # Errors
/// A sentence that names the text and what was expected.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is not a duration like \"250ms\", \"5s\", \"1m\", \"2h\" or \"7d\"");
    let (number, unit) = split(text).ok_or_else(fault)?;
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    let duration = number.checked_mul(millis_per_unit).map(Duration::from_millis);
    duration.filter(|d| *d <= LONGEST).ok_or_else(|| format!("`{text}` is longer than 365d"))
}

/// Reads `512B`, `256KiB`, `64MiB`, `1GiB`, `2TiB`.
///
/// # Errors
/// A sentence that names the text and what was expected.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is not a size like \"512B\", \"256KiB\", \"64MiB\" or \"1GiB\"");
    let (number, unit) = split(text).ok_or_else(fault)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(fault()),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= 1 << 50)
        .ok_or_else(|| format!("`{text}` is larger than 1024TiB"))
}

/// The shortest text that [`duration`] reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        m if m % 1000 != 0 => format!("{m}ms"),
        m if m % 60_000 != 0 => format!("{}s", m / 1000),
        m if m % 3_600_000 != 0 => format!("{}m", m / 60_000),
        m => format!("{}h", m / 3_600_000),
    }
}

/// The shortest text that [`size`] reads back.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units.iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    fitting.map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}
