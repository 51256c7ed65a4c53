//! What keys demand of the requests that concern them.

use super::{Level, Settings};

/// Most rules: each key is compared with all of them.
pub const RULES_MAX: usize = 64;

/// `[[durability.rules]]`: the level of keys that begin alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `prefix`
    pub prefix: Vec<u8>,
    /// `mode`
    pub level: Level,
}

impl Settings {
    /// The level of what may concern any key.
    #[must_use]
    pub fn strictest(&self) -> Level {
        self.rules.iter().map(|rule| rule.level).fold(self.mode, Level::max)
    }

    /// The level of what concerns these keys: the strictest of theirs.
    pub fn level_of<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Level {
        keys.map(|key| self.level_of_key(key)).max().unwrap_or(self.mode)
    }

    /// The longest prefix decides.
    fn level_of_key(&self, key: &[u8]) -> Level {
        self.rules.iter().find(|rule| key.starts_with(&rule.prefix)).map_or(self.mode, |rule| rule.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, level: Level) -> Rule {
        Rule { prefix: prefix.into(), level }
    }

    #[test]
    fn the_longest_prefix_decides_and_of_several_keys_the_strictest() {
        let rules = vec![rule("order:log:", Level::Async), rule("order:", Level::SemiSync)];
        let settings = Settings { rules, ..Settings::default() };
        let level = |keys: &[&str]| settings.level_of(keys.iter().map(|key| key.as_bytes()));
        assert_eq!(level(&["order:1"]), Level::SemiSync);
        assert_eq!(level(&["order:log:1"]), Level::Async);
        assert_eq!(level(&["order"]), Level::Async, "it is shorter than the prefix");
        assert_eq!(level(&["other", "order:1"]), Level::SemiSync);
        assert_eq!(level(&["order:log:1", "other"]), Level::Async);
        assert_eq!((settings.strictest(), settings.is_on()), (Level::SemiSync, true));
    }

    #[test]
    fn a_rule_may_lower_as_well_as_raise() {
        let settings = Settings {
            mode: Level::AofLocal,
            rules: vec![rule("cache:", Level::Async)],
            ..Settings::default()
        };
        let level = |key: &'static str| settings.level_of(std::iter::once(key.as_bytes()));
        assert_eq!((level("cache:1"), level("a")), (Level::Async, Level::AofLocal));
        assert_eq!(settings.strictest(), Level::AofLocal);
        assert_eq!(settings.level_of(std::iter::empty()), Level::AofLocal);
        assert!(!Settings::default().is_on());
    }
}
