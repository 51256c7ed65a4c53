//! Rows of CLIENT LIST, the servers' and the proxy's own.

/// A field of such a row.
pub fn row_field(row: &str, name: &str) -> Option<String> {
    row.split_whitespace().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}
