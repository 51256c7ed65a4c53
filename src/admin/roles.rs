//! What the holder of each token may do.

use super::TokenFile;

/// Most entries of `admin.roles`: each token that is sent is compared with all.
pub const ROLES_MAX: usize = 16;

/// What a token lets its holder do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenRole {
    /// See what clients ask for.
    #[default]
    Viewer,
    /// Give orders.
    Operator,
    /// Everything, as who has the token of `admin.token_file`.
    Admin,
}

/// What a route asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing.
    Look,
    /// Nothing for most of the answer, and the right to see what clients ask for, which is left out otherwise.
    Details,
    /// The right to give orders.
    Order,
    /// The right to have another process take over: it may run another program, by another configuration.
    Upgrade,
}

impl TokenRole {
    /// Whether it has the right that is asked for.
    pub(super) fn may(self, asks: Asks) -> bool {
        match asks {
            Asks::Look | Asks::Details => true,
            Asks::Order => self >= Self::Operator,
            Asks::Upgrade => self == Self::Admin,
        }
    }
}

impl Asks {
    /// Whether something is changed, rather than looked at.
    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Order | Self::Upgrade)
    }
}

/// One of `admin.roles`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who has the token, for the log.
    pub name: String,
    /// Where it is.
    pub token: TokenFile,
    /// What it lets do.
    pub role: TokenRole,
}

/// How the log calls who has the token of this key, which is no role's name.
pub const WHOLE: &str = "admin.token_file";

/// Every token that the endpoint knows.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Grant>);

impl Tokens {
    /// `admin.token_file`, which lets do everything, and `admin.roles`.
    #[must_use]
    pub fn new(token: Option<TokenFile>, roles: Vec<Grant>) -> Self {
        let whole = |token| Grant { name: WHOLE.to_owned(), token, role: TokenRole::Admin };
        Self(token.map(whole).into_iter().chain(roles).collect())
    }

    /// None is needed then.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token `given` is. The files are read for each question, and all of them, so that the time does not tell whose it
    /// is. Of two who have the same, which no configuration may say, it is the one with fewer rights.
    ///
    /// # Errors
    /// It is nobody's whose token can be known now, and here is why others' can not.
    pub(super) fn holder(&self, given: &[u8]) -> Result<Option<&Grant>, String> {
        let (mut found, mut faults) = (None::<&Grant>, Vec::new());
        for grant in &self.0 {
            match grant.token.holds(given) {
                Ok(true) if found.is_none_or(|found| grant.role < found.role) => found = Some(grant),
                Ok(_) => {}
                Err(fault) => faults.push(format!("{}: {fault}", grant.name)),
            }
        }
        if found.is_none() && !faults.is_empty() { Err(faults.join("; ")) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may() {
        let may = |role: TokenRole| {
            [Asks::Look, Asks::Details, Asks::Order, Asks::Upgrade].map(|asks| role.may(asks))
        };
        assert_eq!(may(TokenRole::Viewer), [true, true, false, false]);
        assert_eq!(may(TokenRole::Operator), [true, true, true, false]);
        assert_eq!(may(TokenRole::Admin), [true; 4]);
        assert_eq!(TokenRole::default(), TokenRole::Viewer, "what is not said gives least");
    }

    #[test]
    fn a_token_that_cannot_be_known_takes_nothing_from_the_others() {
        let path = |name: &str| -> PathBuf {
            std::env::temp_dir().join(format!("redhold-roles-{}-{name}", std::process::id()))
        };
        let write = |name: &str, token: &str| std::fs::write(path(name), token).unwrap();
        ["whole", "ops", "view"].iter().for_each(|name| write(name, &format!("0123456789abcdef-{name}")));
        let grant = |name: &str, role| {
            let token = TokenFile::new(path(name)).unwrap();
            Grant { name: name.to_owned(), token, role }
        };
        let roles = vec![grant("ops", TokenRole::Operator), grant("view", TokenRole::Viewer)];
        let tokens = Tokens::new(Some(TokenFile::new(path("whole")).unwrap()), roles);
        let asked = |given: &str| {
            let holder = tokens.holder(given.as_bytes());
            holder.map(|found| found.map(|grant| (grant.name.clone(), grant.role)))
        };
        let held = |name: &str, role| Ok(Some((name.to_owned(), role)));
        assert_eq!(asked("0123456789abcdef-whole"), held("admin.token_file", TokenRole::Admin));
        assert_eq!(asked("0123456789abcdef-ops"), held("ops", TokenRole::Operator));
        assert_eq!(asked("0123456789abcdef-view"), held("view", TokenRole::Viewer));
        assert_eq!(asked("0123456789abcdef-vieW"), Ok(None));
        assert_eq!(asked(""), Ok(None));
        std::fs::remove_file(path("ops")).unwrap();
        assert_eq!(asked("0123456789abcdef-view"), held("view", TokenRole::Viewer));
        let fault = asked("0123456789abcdef-ops").unwrap_err();
        assert!(fault.starts_with("ops: cannot read ") && !fault.contains("; "), "{fault}");
        // Whose a token is that two files hold now is not certain: then it is not the one who may more.
        write("ops", "0123456789abcdef-whole");
        assert_eq!(asked("0123456789abcdef-whole"), held("ops", TokenRole::Operator));
        write("view", "0123456789abcdef-whole");
        assert_eq!(asked("0123456789abcdef-whole"), held("view", TokenRole::Viewer));
        ["whole", "ops", "view"].iter().for_each(|name| std::fs::remove_file(path(name)).unwrap());
    }
}
