//! Open files: how many the proxy may come to need, and what the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Beside those of clients and nodes: listeners, the admin endpoint, looks at the nodes, files.
const OTHERS: u64 = 1_024;

/// What is needed beside one for each client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// The most connections of clients' own.
    lent: u64,
    /// The most connections that clients share.
    shared: u64,
}

impl Descriptors {
    /// With the nodes that are known.
    pub(crate) fn of(config: &Config) -> Self {
        let (backend, workers) = (&config.backend, config.frontend.workers);
        // What 0 comes to is the primary's to say, and no client has two.
        let lent = if backend.pinned_max == 0 { u64::MAX } else { backend.pinned_max as u64 };
        let shared = backend.pipelines_max * config.control.nodes.len() * workers;
        Self { lent, shared: shared as u64 }
    }

    /// With so many clients, each of whom shares connections, or has one of its own.
    fn needed(self, max_clients: usize) -> [u64; 2] {
        let clients = max_clients as u64;
        let least = clients + OTHERS;
        [least, least + self.shared + self.lent.min(clients)]
    }

    /// What `allowed` descriptors do not suffice for, and whether that is so in any case.
    pub(crate) fn shortage(self, max_clients: usize, allowed: u64) -> Option<(String, bool)> {
        let [least, most] = self.needed(max_clients);
        let (what, always) = match allowed {
            _ if allowed < least => ("proxy.max_clients", true),
            _ if allowed < most => ("proxy.max_clients when many clients block, watch or subscribe", false),
            _ => return None,
        };
        let text =
            format!("the limit of open files, {allowed}, is too low for {what}: up to {most} may be needed");
        Some((text, always))
    }

    /// The same, and the limit raised for them.
    pub(super) fn raised(config: &Config) -> Self {
        let descriptors = Self::of(config);
        descriptors.raise(config.frontend.limits.max_clients);
        descriptors
    }

    /// Raises the limit as far as the system allows, and says so when that does not suffice.
    pub(super) fn raise(self, max_clients: usize) {
        let [_, most] = self.needed(max_clients);
        let limit = getrlimit(Resource::Nofile);
        let present = limit.current.unwrap_or(u64::MAX);
        if present >= most {
            return;
        }
        let reachable = allowed().min(most);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum: limit.maximum });
        let allowed = if raised.is_ok() { reachable } else { present };
        match self.shortage(max_clients, allowed) {
            Some((shortage, true)) => tracing::warn!("{shortage}; {CURE}"),
            Some((shortage, false)) => tracing::info!("{shortage}; {CURE}"),
            None => {}
        }
    }
}

/// What helps.
pub(crate) const CURE: &str = "raise `ulimit -Hn` or LimitNOFILE";

/// As far as this process could raise its limit.
pub(crate) fn allowed() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_connections_to_nodes_have_to_fit() {
        let needs = |text: &str| Descriptors::of(&crate::config::parse(text, []).unwrap());
        let text =
            "[proxy]\nworkers = 2\n[backend]\nnodes = [\"a:1\", \"b:1\", \"c:1\"]\npipelines_max = 10\n";
        let any = needs(text);
        assert_eq!(any.needed(1_000), [2_024, 2_024 + 60 + 1_000]);
        let few = needs(&format!("{text}pinned_max = 7\n"));
        assert_eq!(few.needed(1_000), [2_024, 2_024 + 60 + 7]);
        assert_eq!(few.shortage(1_000, 2_091), None);
        let (told, always) = few.shortage(1_000, 2_090).unwrap();
        assert!(["2090", "when many clients", "2091"].iter().all(|words| told.contains(words)), "{told}");
        assert!(!always);
        let (told, always) = few.shortage(1_000, 2_023).unwrap();
        assert!(always && told.contains("for proxy.max_clients: "), "{told}");
    }
}
