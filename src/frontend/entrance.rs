//! Who may come in: from which networks, how many from one address, how many in a second. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::telemetry::ErrorKind;

use super::shared::lock;

/// What is asked of who comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// `proxy.allow`: empty: all.
    pub allow: Vec<IpNet>,
    /// `proxy.deny`
    pub deny: Vec<IpNet>,
    /// `proxy.trusted`: these say in a PROXY header for whom they come, if `proxy_protocol` is set.
    pub trusted: Vec<IpNet>,
    /// `proxy.proxy_protocol`
    pub proxy_protocol: bool,
    /// `limits.clients_per_address`; 0: any number.
    pub per_address: usize,
    /// `limits.connections_per_second`; 0: any number.
    pub per_second: u32,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many are here.
    Full,
    /// Too many from his address are.
    FullForAddress,
    /// His network may not come.
    Denied,
    /// The workers are behind.
    Busy,
    /// Whoever comes for others did not say for whom.
    NoHeader,
}

impl Refusal {
    /// What he is told: the first in Redis's own words.
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Full => "-ERR max number of clients reached\r\n",
            Self::FullForAddress => "-ERR max number of clients reached for your address\r\n",
            Self::Denied => "-DENIED Redhold takes no connections from your address\r\n",
            Self::Busy => "-ERR proxy is too busy to take new connections\r\n",
            Self::NoHeader => "-ERR a PROXY header is expected from your address\r\n",
        }
    }

    /// The key that says so.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Full => "proxy.max_clients",
            Self::FullForAddress => "limits.clients_per_address",
            Self::Denied => "proxy.allow, proxy.deny",
            Self::Busy => "proxy.workers",
            Self::NoHeader => "proxy.proxy_protocol, proxy.trusted",
        }
    }
}

impl From<Refusal> for ErrorKind {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full | Refusal::Busy => Self::MaxClients,
            Refusal::FullForAddress => Self::ClientsPerAddress,
            Refusal::Denied => Self::Denied,
            Refusal::NoHeader => Self::ProxyHeader,
        }
    }
}

impl Entrance {
    /// Whether a client at this address may come.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        (self.allow.is_empty() || among(&self.allow)) && !among(&self.deny)
    }

    /// Whether a peer at this address says for whom it comes.
    pub(super) fn speaks_for_others(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy_protocol && self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// How many clients each address has.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// One more, unless there are as many as may be.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> bool {
        let mut counts = lock(&self.0);
        let count = counts.entry(counted_as(address)).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }

    /// One less.
    pub(super) fn leave(&self, address: IpAddr) {
        let address = counted_as(address);
        let mut counts = lock(&self.0);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// So many in a second, and after a quiet one as many at once. The generic cell rate algorithm (ITU-T I.371).
#[derive(Debug)]
pub(super) struct Rate {
    /// Between two, on average; `None`: any number.
    apart: Option<Duration>,
    /// When the next one would come if they came evenly.
    due: Instant,
}

/// What may come at once, as time between evenly spaced ones.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    /// Of any number.
    pub(super) fn new(now: Instant) -> Self {
        Self { apart: None, due: now }
    }

    /// From now on so many in a second; 0: any number.
    pub(super) fn set(&mut self, per_second: u32) {
        self.apart = (per_second > 0).then(|| BURST / per_second);
    }

    /// How long the next one has to wait.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let Some(apart) = self.apart else { return Duration::ZERO };
        (self.due + apart).saturating_duration_since(now + BURST)
    }

    /// One came.
    pub(super) fn came(&mut self, now: Instant) {
        if let Some(apart) = self.apart {
            self.due = self.due.max(now) + apart;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_denied_stays_out_and_with_a_list_of_the_allowed_all_others_do() {
        let deny = networks(&["10.1.0.0/16", "2001:db8::/32"]);
        let entrance = Entrance { deny: deny.clone(), ..Entrance::default() };
        assert!(entrance.allows(at("10.2.0.1")) && !entrance.allows(at("10.1.2.3")));
        assert!(!entrance.allows(at("::ffff:10.1.2.3")), "the same in IPv6");
        assert!(!entrance.allows(at("2001:db8::1")) && entrance.allows(at("2001:db9::1")));
        let entrance = Entrance { allow: networks(&["10.0.0.0/8"]), deny, ..Entrance::default() };
        assert!(entrance.allows(at("10.2.0.1")) && !entrance.allows(at("10.1.2.3")));
        assert!(!entrance.allows(at("192.168.0.1")));
    }

    #[test]
    fn only_who_is_trusted_speaks_for_others_and_only_where_that_is_asked_for() {
        let trusted = networks(&["10.0.0.1/32"]);
        let mut entrance = Entrance { trusted, proxy_protocol: true, ..Entrance::default() };
        assert!(entrance.speaks_for_others(at("10.0.0.1")) && !entrance.speaks_for_others(at("10.0.0.2")));
        entrance.proxy_protocol = false;
        assert!(!entrance.speaks_for_others(at("10.0.0.1")));
    }

    #[test]
    fn an_address_has_so_many_and_gets_another_when_one_leaves() {
        let addresses = Addresses::default();
        let (one, other) = (at("10.0.0.1"), at("10.0.0.2"));
        assert!(addresses.enter(one, 2) && addresses.enter(one, 2) && !addresses.enter(one, 2));
        assert!(addresses.enter(other, 2), "others are not its concern");
        addresses.leave(one);
        assert!(addresses.enter(at("::ffff:10.0.0.1"), 2) && !addresses.enter(one, 2));
        (0..2).for_each(|_| addresses.leave(one));
        addresses.leave(other);
        assert!(addresses.0.lock().unwrap().is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one_address() {
        let addresses = Addresses::default();
        assert!(addresses.enter(at("2001:db8::1"), 1));
        assert!(!addresses.enter(at("2001:db8::ffff:1"), 1));
        assert!(addresses.enter(at("2001:db8:0:1::1"), 1));
    }

    #[test]
    fn a_burst_of_one_second_and_then_evenly() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.set(10);
        for _ in 0..10 {
            assert_eq!(rate.wait(start), Duration::ZERO);
            rate.came(start);
        }
        assert_eq!(rate.wait(start), Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(rate.wait(later), Duration::ZERO);
        rate.came(later);
        assert_eq!(rate.wait(later), Duration::from_millis(100));
        let mut rested = later + Duration::from_secs(60);
        let mut came = 0;
        while rate.wait(rested).is_zero() {
            rate.came(rested);
            came += 1;
        }
        assert_eq!(came, 10, "what was not used is not saved up beyond a second");
        rested += Duration::from_millis(250);
        (0..2).for_each(|_| rate.came(rested));
        assert!(!rate.wait(rested).is_zero());
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        (0..100).for_each(|_| rate.came(now));
        assert_eq!(rate.wait(now), Duration::ZERO);
    }

    #[test]
    fn another_rate_is_kept_from_then_on() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        rate.set(1);
        rate.came(now);
        assert_eq!(rate.wait(now), Duration::from_secs(1));
        rate.set(1_000);
        assert_eq!(rate.wait(now), Duration::from_millis(1));
        rate.set(0);
        assert_eq!(rate.wait(now), Duration::ZERO);
    }
}
