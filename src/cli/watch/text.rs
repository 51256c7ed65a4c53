//! Texts of the view: numbers as people say them, columns of equal width, and the last minutes in as many columns as there are. Pure.

use ratatui::text::Span;

/// Bytes as people say them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 1024 * 10 + bytes % 1024 * 10 / 1024;
    for unit in UNITS {
        if tenths < 10_240 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1024;
    }
    format!("{}.{} EiB", tenths / 10, tenths % 10)
}

/// Microseconds as people say them.
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// The time of day of a moment in RFC 3339.
pub(super) fn clock(moment: &str) -> &str {
    moment.get(11..19).unwrap_or(moment)
}

/// Lines of columns of equal width, two spaces apart, nothing at the ends of lines.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let wide = |cell: &str| Span::raw(cell).width();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| wide(&row[column])).max().unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cells =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - wide(cell))));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The newest first, as many samples to a column as it takes for `span` of them to fit into `width` columns; of each column what
/// `of` makes of its samples.
pub(super) fn squeezed(samples: &[u64], span: usize, width: usize, of: fn(&[u64]) -> u64) -> Vec<u64> {
    let each = span.div_ceil(width.max(1)).max(1);
    samples.rchunks(each).take(width).map(of).collect()
}

/// The mean.
pub(super) fn mean(samples: &[u64]) -> u64 {
    samples.iter().sum::<u64>() / (samples.len() as u64).max(1)
}

/// The largest.
pub(super) fn most(samples: &[u64]) -> u64 {
    samples.iter().copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_in_their_units() {
        assert_eq!(
            [0, 1023, 1024, 1536, 3 << 20, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 MiB", "15.9 EiB"]
        );
        assert_eq!(
            [999, 1_234, 59_999, 61_500_000].map(duration),
            ["999 us", "1.23 ms", "59.99 ms", "61.50 s"]
        );
        assert_eq!((clock("2000-02-29T12:34:56.789Z"), clock("T")), ("12:34:56", "T"));
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let rows = [["a", "x"], ["鍵鍵", "y"], ["bcd", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), ["a     x", "鍵鍵  y", "bcd"]);
    }

    #[test]
    fn the_last_minutes_fit_whatever_the_width() {
        let samples: Vec<u64> = (1..=300).collect();
        for width in [1, 7, 80, 300, 500] {
            let squeezed = squeezed(&samples, 300, width, most);
            assert!(squeezed.len() <= width && squeezed[0] == 300, "{width}");
        }
        assert_eq!(squeezed(&samples, 300, 3, mean), [250, 150, 50]);
        assert_eq!(squeezed(&[5, 7, 9], 300, 300, most), [9, 7, 5], "the newest first");
        assert!(squeezed(&[], 300, 10, mean).is_empty());
        assert!(squeezed(&[1], 300, 0, mean).is_empty());
    }
}
