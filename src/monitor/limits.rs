//! Who may connect now: so many in total, so many from one source, and so many of them in a second.
//!
//! A client over a limit costs no more than an accept(2) and a close(2), and a line in the log each second.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// How long refusals are counted before the log gets the sum.
const REPORT: Duration = Duration::from_secs(1);
/// Sources without a connection that are kept before somebody looks for those to forget.
const IDLE_SOURCES: usize = 1024;

/// Where a client comes from: an IPv4 address, or the /64 of an IPv6 address, since whoever has one has
/// all of it (RFC 6177 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// A limit that a client is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Connections,
    PerSource,
    PerSourceRate,
    /// No limit: it is no load balancer, where only those may connect.
    ProxyFrom,
}

/// The clients of all sources.
pub(super) struct Admission {
    sources: HashMap<Source, Usage>,
    /// Clients of the hosts that have a limit of their own.
    hosts: HashMap<Seats, usize>,
    refused: Refused,
}

/// A host, as its limit knows it in one configuration and in the next: its label, and how many hosts before
/// it have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seats(String, usize);

/// What a source has.
struct Usage {
    open: usize,
    /// The second that `new` counts.
    second: Instant,
    new: u32,
}

/// Refusals that the log has not been told of.
#[derive(Default)]
struct Refused {
    counts: [u64; 4],
    last: Option<Source>,
    report: Option<Instant>,
}

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self(Ipv6Addr::from_bits(network).into())
            }
        }
    }
}

impl Over {
    pub(super) const ALL: [Self; 4] = [
        Self::Connections,
        Self::PerSource,
        Self::PerSourceRate,
        Self::ProxyFrom,
    ];

    /// Its key in `[limits]`, or in `[[listen]]`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::PerSource => "per-source",
            Self::PerSourceRate => "per-source-rate",
            Self::ProxyFrom => "proxy-from",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

impl Seats {
    /// Those of hosts with these labels.
    pub(super) fn of<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut known = HashMap::new();
        labels
            .map(|label| {
                let count = known.entry(label).or_insert(0_usize);
                *count += 1;
                Self(label.to_owned(), *count - 1)
            })
            .collect()
    }
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            sources: HashMap::new(),
            hosts: HashMap::new(),
            refused: Refused::default(),
        }
    }

    /// Lets a client in, or says which limit it is over; who is let in is to be given back by
    /// [`Admission::release`]. `open` are those that there are, of `room`; a Unix-domain socket is no source.
    pub(super) fn admit(
        &mut self,
        source: Option<Source>,
        (open, room): (usize, usize),
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Over> {
        let over = match open < room {
            true => source.and_then(|source| self.enter(source, limits, now)),
            false => Some(Over::Connections),
        };
        if let Some(over) = over {
            self.refuse(over, source, now);
        }
        over.map_or(Ok(()), Err)
    }

    /// Lets a client stay that was let in without a source, now that there is one, or says which limit it is
    /// over.
    pub(super) fn identify(
        &mut self,
        source: Source,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Over> {
        let over = self.enter(source, limits, now);
        if let Some(over) = over {
            self.refuse(over, Some(source), now);
        }
        over.map_or(Ok(()), Err)
    }

    /// Counts a client that is not let in.
    pub(super) fn refuse(&mut self, over: Over, source: Option<Source>, now: Instant) {
        self.refused.count(over, source, now);
    }

    fn enter(&mut self, source: Source, limits: &Limits, now: Instant) -> Option<Over> {
        if self.sources.len() >= IDLE_SOURCES && self.sources.len() == self.sources.capacity() {
            self.sources
                .retain(|_, usage| usage.open > 0 || !usage.is_past(now));
        }
        let usage = self.sources.entry(source).or_insert(Usage {
            open: 0,
            second: now,
            new: 0,
        });
        if usage.is_past(now) {
            usage.second = now;
            usage.new = 0;
        }
        if limits.per_source.is_some_and(|most| usage.open >= most) {
            return Some(Over::PerSource);
        }
        if limits.per_source_rate.is_some_and(|most| usage.new >= most) {
            return Some(Over::PerSourceRate);
        }
        usage.open += 1;
        usage.new += 1;
        None
    }

    /// Lets a client in to a host that takes so many, or not.
    pub(super) fn reserve(&mut self, host: &Seats, most: usize) -> bool {
        let open = self.hosts.get(host).copied().unwrap_or_default();
        if open < most {
            self.hosts.insert(host.clone(), open + 1);
        }
        open < most
    }

    /// A client that was let in is gone, and so is its place at a host.
    pub(super) fn release(&mut self, source: Option<Source>, reserved: Option<&Seats>) {
        if let Some(host) = reserved
            && let Some(open) = self.hosts.get_mut(host)
        {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.hosts.remove(host);
            }
        }
        if let Some(usage) = source.and_then(|source| self.sources.get_mut(&source)) {
            usage.open = usage.open.saturating_sub(1);
        }
    }

    /// When the log is to be told of refusals.
    pub(super) fn next_report(&self) -> Option<Instant> {
        self.refused.report
    }

    /// What it has not been told when everything ends.
    pub(super) fn last_report(&mut self) -> Option<String> {
        self.report(self.refused.report?)
    }

    /// What the log is to be told now.
    pub(super) fn report(&mut self, now: Instant) -> Option<String> {
        self.refused.report.filter(|when| *when <= now)?;
        Some(std::mem::take(&mut self.refused).to_string())
    }
}

impl Usage {
    fn is_past(&self, now: Instant) -> bool {
        now.duration_since(self.second) >= Duration::from_secs(1)
    }
}

impl Refused {
    fn count(&mut self, over: Over, source: Option<Source>, now: Instant) {
        let [connections, per_source, per_source_rate, proxy_from] = &mut self.counts;
        *match over {
            Over::Connections => connections,
            Over::PerSource => per_source,
            Over::PerSourceRate => per_source_rate,
            Over::ProxyFrom => proxy_from,
        } += 1;
        self.last = source.or(self.last);
        self.report = self.report.or(now.checked_add(REPORT));
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counts {
            [0, 0, 0, _] => write!(f, "refused clients that are no load balancer:")?,
            _ => write!(f, "refused clients over a limit:")?,
        }
        for (over, count) in Over::ALL.iter().zip(self.counts).filter(|(_, n)| *n > 0) {
            write!(f, " {}={count}", over.name())?;
        }
        match self.last {
            Some(source) => write!(f, " last={source}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_that_of_ipv4() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.8"), source("192.0.2.7"));
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn each_limit_refuses_and_recovers() {
        let limits = Limits {
            per_source: Some(2),
            per_source_rate: Some(3),
            ..Limits::default()
        };
        let (mut admission, now) = (Admission::new(), Instant::now());
        let (one, other) = (Some(source("192.0.2.1")), Some(source("192.0.2.2")));
        let room = (0, 10);
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        assert_eq!(
            admission.admit(one, room, &limits, now),
            Err(Over::PerSource)
        );
        assert_eq!(admission.admit(other, room, &limits, now), Ok(()));
        admission.release(one, None);
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        admission.release(one, None);
        let over = admission.admit(one, room, &limits, now);
        assert_eq!(over, Err(Over::PerSourceRate));
        let over = admission.admit(one, (10, 10), &limits, now);
        assert_eq!(over, Err(Over::Connections));
        let later = now + Duration::from_secs(1);
        assert_eq!(admission.admit(one, room, &limits, later), Ok(()));
        assert_eq!(admission.report(now), None);
        assert_eq!(
            admission.report(later).as_deref(),
            Some(
                "refused clients over a limit: connections=1 per-source=1 per-source-rate=1 last=192.0.2.1"
            )
        );
        assert_eq!(admission.report(later), None);
    }

    #[test]
    fn sources_that_are_gone_are_forgotten() {
        let limits = Limits::default();
        let (mut admission, mut now) = (Admission::new(), Instant::now());
        for network in 0..100_000_u32 {
            let source = Some(Source::of(
                Ipv6Addr::from_bits(u128::from(network) << 64).into(),
            ));
            assert_eq!(admission.admit(source, (0, 10), &limits, now), Ok(()));
            admission.release(source, None);
            now += Duration::from_millis(1);
        }
        assert!(admission.sources.len() < 8 * IDLE_SOURCES);
    }
}
