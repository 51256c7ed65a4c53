//! Two snapshots → what differs, and the sentence that repairs it. Pure; used by the minute's look and by the preflight.

use super::snapshot::{SETTINGS, Snapshot};

/// Settings whose values nobody prints.
pub(in crate::control) const SECRET: [&str; 2] = ["requirepass", "masterauth"];

/// Users that are named; the others are counted.
const NAMED_MAX: usize = 5;

/// One way in which two nodes do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Difference {
    /// What is so, no secret in it.
    pub(in crate::control) text: String,
    /// What to do about it.
    pub(in crate::control) cure: String,
}

impl Difference {
    /// Both in one.
    pub(super) fn sentence(&self) -> String {
        format!("{}; {}", self.text, self.cure)
    }

    fn new(text: String, cure: impl Into<String>) -> Self {
        Self { text, cure: cure.into() }
    }
}

/// Compares two nodes, each with the name that people know, but for these settings.
pub(in crate::control) fn compare(
    one: (&str, &Snapshot),
    other: (&str, &Snapshot),
    except: &[String],
) -> Vec<Difference> {
    let mut found = Vec::new();
    let both =
        |what: &str, ours: &str, theirs: &str| format!("{what}: {} {ours}, {} {theirs}", one.0, other.0);
    for name in SETTINGS.into_iter().filter(|name| !except.iter().any(|it| it == name)) {
        let (Some(ours), Some(theirs)) = (one.1.settings.get(name), other.1.settings.get(name)) else {
            continue;
        };
        if ours != theirs {
            let shown = |value: &str| match (SECRET.contains(&name), value.is_empty()) {
                (true, false) => "***".to_owned(),
                _ => format!("`{value}`"),
            };
            let text = both(&format!("{name} differs"), &shown(ours), &shown(theirs));
            let cure = match name {
                "databases" => "set `databases` to the same in every redis.conf, and restart".to_owned(),
                _ => format!("set the same on every node, by CONFIG SET {name} and in its redis.conf"),
            };
            found.push(Difference::new(text, cure));
        }
    }
    if one.1.version != other.1.version {
        let text = both("versions differ", &one.1.version, &other.1.version);
        found.push(Difference::new(
            text,
            "run one version; replicas may be newer than their primary, never older",
        ));
    }
    let lists = [
        ("modules", &one.1.modules, &other.1.modules, "load the same modules on every node"),
        (
            "functions",
            &one.1.functions,
            &other.1.functions,
            "they are replicated: look at the replica's link; else FUNCTION RESTORE",
        ),
    ];
    for (what, ours, theirs, cure) in lists {
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            let shown = |names: &[String]| format!("[{}]", names.join(", "));
            found.push(Difference::new(both(&format!("{what} differ"), &shown(ours), &shown(theirs)), cure));
        }
    }
    let odd = odd_users(one.1, other.1);
    if !odd.is_empty() {
        let text = format!("ACL users differ between {} and {}: {}", one.0, other.0, listed(&odd));
        found.push(Difference::new(
            text,
            "give every node the same users (ACL LIST, ACL SETUSER), in redis.conf or its aclfile too",
        ));
    }
    found
}

/// What a node lacks that would make it a bad primary, in few words.
pub(in crate::control) fn lacks(primary: &Snapshot, node: &Snapshot) -> Option<String> {
    let empty = |of: &Snapshot, name: &str| of.settings.get(name).map(String::is_empty);
    let asked = empty(primary, "requirepass") == Some(false) || empty(primary, "masterauth") == Some(false);
    let mut lacking = Vec::new();
    if asked && empty(node, "masterauth") == Some(true) {
        lacking.push("masterauth".to_owned());
    }
    if let (Some(ours), Some(theirs)) = (&primary.users, &node.users) {
        let missing: Vec<&str> =
            ours.keys().filter(|name| !theirs.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            lacking.push(format!("user {}", listed(&missing)));
        }
    }
    (!lacking.is_empty()).then(|| lacking.join(" and "))
}

/// Reads on replicas let the primary evict what they serve.
pub(in crate::control) fn evicts_unseen(snapshot: &Snapshot) -> Option<Difference> {
    let policy = snapshot.settings.get("maxmemory-policy")?;
    (policy.contains("lru") || policy.contains("lfu")).then(|| {
        Difference::new(
            "reads on replicas do not touch the primary's LRU/LFU clocks: it evicts what replicas serve"
                .to_owned(),
            "reads.policy = \"primary\", or maxmemory-policy noeviction or volatile-ttl",
        )
    })
}

fn odd_users<'a>(one: &'a Snapshot, other: &'a Snapshot) -> Vec<&'a str> {
    let (Some(ours), Some(theirs)) = (&one.users, &other.users) else { return Vec::new() };
    let mut odd: Vec<&str> = ours
        .iter()
        .filter(|(name, rules)| theirs.get(*name).is_none_or(|other| !is_same_user(rules, other)))
        .map(|(name, _)| name.as_str())
        .collect();
    odd.extend(theirs.keys().filter(|name| !ours.contains_key(*name)).map(String::as_str));
    odd.sort_unstable();
    odd
}

/// Versions say some defaults and some do not, and passwords stand in the order in which they were given.
pub(super) fn is_same_user(one: &[String], other: &[String]) -> bool {
    let (mut one, mut other) = (plain(one), plain(other));
    one.0.sort_unstable();
    other.0.sort_unstable();
    one == other
}

/// Password hashes, and everything else in its order.
fn plain(rules: &[String]) -> (Vec<&str>, Vec<&str>) {
    rules
        .iter()
        .map(String::as_str)
        .filter(|rule| *rule != "sanitize-payload")
        .partition(|rule| rule.starts_with('#'))
}

fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(settings: &[(&str, &str)], users: &[&str]) -> Snapshot {
        let user = |line: &&str| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap_or_default(), words.collect())
        };
        Snapshot {
            version: "7.0.15".to_owned(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            users: Some(users.iter().map(user).collect()),
            ..Snapshot::default()
        }
    }

    fn texts(one: &Snapshot, other: &Snapshot) -> Vec<String> {
        compare(("a:1", one), ("b:2", other), &[]).into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn differences_are_told_without_secrets() {
        let one =
            snapshot(&[("maxmemory", "100"), ("requirepass", "hush"), ("timeout", "0")], &["app on #1 #2"]);
        let mut other = snapshot(&[("maxmemory", "50"), ("requirepass", ""), ("timeout", "0")], &["ops on"]);
        other.version = "8.2.3".to_owned();
        other.modules = Some(vec!["json".to_owned()]);
        let expected = [
            "maxmemory differs: a:1 `100`, b:2 `50`",
            "requirepass differs: a:1 ***, b:2 ``",
            "versions differ: a:1 7.0.15, b:2 8.2.3",
            "ACL users differ between a:1 and b:2: app, ops",
        ];
        assert_eq!(texts(&one, &other), expected, "what is not known of one does not differ");
        assert!(compare(("a", &one), ("b", &other), &["maxmemory".to_owned()]).len() == 3);
    }

    #[test]
    fn what_versions_write_otherwise_is_the_same_user() {
        let one = snapshot(&[], &["app on #1 #2 ~* +@all"]);
        assert!(texts(&one, &snapshot(&[], &["app on #2 #1 sanitize-payload ~* +@all"])).is_empty());
        assert_eq!(texts(&one, &snapshot(&[], &["app on #1 ~* +@all"])).len(), 1);
    }

    #[test]
    fn a_bad_primary_to_be_lacks_a_user_or_the_password_of_its_successor() {
        let primary = snapshot(&[("masterauth", "x"), ("requirepass", "x")], &["app on", "default on"]);
        let fine = snapshot(&[("masterauth", "y")], &["app off", "default on", "more on"]);
        assert_eq!(lacks(&primary, &fine), None);
        let poor = snapshot(&[("masterauth", "")], &["default on"]);
        assert_eq!(lacks(&primary, &poor).as_deref(), Some("masterauth and user app"));
        assert_eq!(lacks(&snapshot(&[("requirepass", "")], &[]), &poor), None);
    }
}
