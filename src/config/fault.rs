//! What is wrong with a configuration, and where.

use std::fmt;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Line of the file, from 1.
    Line(usize),
    /// Environment variable.
    Variable(String),
    /// Nowhere: the default, or the whole file.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, " (line {line})"),
            Self::Variable(name) => write!(f, " ({name})"),
            Self::Nowhere => Ok(()),
        }
    }
}

/// One fault: the operator's, found before anything was started; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Key path like `backend.nodes[1]`; empty for a fault of the whole file.
    pub path: String,
    /// Where it was given.
    pub place: Place,
    /// What is wrong, one sentence without a full stop. Never holds a secret.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}{}", self.text, self.place)
    }
}

/// Every fault of a configuration, in the order of its lines; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds one. What it quotes of the file is shown on a terminal and in the log, which obey control characters.
    pub fn add(&mut self, path: impl Into<String>, place: Place, text: impl Into<String>) {
        self.0.push(Fault { path: harmless(path.into()), place, text: harmless(text.into()) });
    }
}

fn harmless(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_of_a_file_does_not_rule_the_terminal() {
        let mut faults = Faults::default();
        faults.add("proxy.a\tb", Place::Line(3), "`\u{1b}[2J\u{9b}31m` is no level, n\u{e9}");
        let shown = "proxy.a\\tb: `\\u{1b}[2J\\u{9b}31m` is no level, n\u{e9} (line 3)";
        assert_eq!(faults.to_string(), shown);
    }
}
