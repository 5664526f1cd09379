//! Admission control: limits on open connections in total, per source and per host, and on new ones
//! per second.
//!
//! A client over a limit costs no more than an accept(2), a close(2) and a share of one log line per second.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::monitor::generation::HostKey;

/// Time for which refusals are counted before the log gets the sum.
const REPORT: Duration = Duration::from_secs(1);
/// Number of known sources from which on idle ones are forgotten.
const IDLE_SOURCES: usize = 1024;

/// The network that a client connects from: an IPv4 address, or the /64 of an IPv6 address, since a site
/// has a whole /64 at least (RFC 6177 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// The limit for which a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::monitor) enum LimitExceeded {
    Connections,
    PerSource,
    PerSourceRate,
    /// Not a limit: the client is no load balancer, and the listener accepts only those.
    ProxyFrom,
}

/// A host that has as many connections as its own limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::monitor) struct HostFull;

/// Counts of open and refused connections.
pub(super) struct AdmissionControl {
    sources: HashMap<Source, Usage>,
    /// Open connections of the hosts that have a limit of their own.
    hosts: HashMap<HostKey, usize>,
    refused: Refused,
}

/// Connections of one source.
struct Usage {
    open: usize,
    /// Start of the second in which `new` counts.
    second: Instant,
    new: u32,
}

/// Refusals that are not in the log yet.
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

impl LimitExceeded {
    pub(in crate::monitor) const ALL: [Self; 4] = [
        Self::Connections,
        Self::PerSource,
        Self::PerSourceRate,
        Self::ProxyFrom,
    ];

    /// The key in `[limits]`, or in `[[listen]]`.
    pub(in crate::monitor) fn name(self) -> &'static str {
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

impl AdmissionControl {
    pub(super) fn new() -> Self {
        Self {
            sources: HashMap::new(),
            hosts: HashMap::new(),
            refused: Refused::default(),
        }
    }

    /// Admits a client; [`AdmissionControl::release`] undoes it. `open` and `capacity`: present and largest
    /// number of connections. A client of a Unix-domain socket has no source.
    ///
    /// Errors: the limit that the client is over.
    pub(super) fn admit(
        &mut self,
        source: Option<Source>,
        (open, capacity): (usize, usize),
        limits: &Limits,
        now: Instant,
    ) -> Result<(), LimitExceeded> {
        let over = match open < capacity {
            true => source.and_then(|source| self.enter(source, limits, capacity, now)),
            false => Some(LimitExceeded::Connections),
        };
        if let Some(over) = over {
            self.refuse(over, source, now);
        }
        over.map_or(Ok(()), Err)
    }

    /// Counts a source for a client that was admitted without one.
    ///
    /// Errors: the limit that the source is over.
    pub(super) fn identify(
        &mut self,
        source: Source,
        limits: &Limits,
        capacity: usize,
        now: Instant,
    ) -> Result<(), LimitExceeded> {
        let over = self.enter(source, limits, capacity, now);
        if let Some(over) = over {
            self.refuse(over, Some(source), now);
        }
        over.map_or(Ok(()), Err)
    }

    /// Counts a client that is refused.
    pub(super) fn refuse(&mut self, over: LimitExceeded, source: Option<Source>, now: Instant) {
        self.refused.count(over, source, now);
    }

    fn enter(
        &mut self,
        source: Source,
        limits: &Limits,
        capacity: usize,
        now: Instant,
    ) -> Option<LimitExceeded> {
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
        let per_source = limits.per_source.most(capacity);
        if per_source.is_some_and(|most| usage.open >= most) {
            return Some(LimitExceeded::PerSource);
        }
        if limits.per_source_rate.is_some_and(|most| usage.new >= most) {
            return Some(LimitExceeded::PerSourceRate);
        }
        usage.open += 1;
        usage.new += 1;
        None
    }

    /// Counts a connection of a host that takes `most`.
    ///
    /// Errors: the host has as many already.
    pub(super) fn enter_host(&mut self, host: &HostKey, most: usize) -> Result<(), HostFull> {
        let open = self.hosts.get(host).copied().unwrap_or_default();
        if open >= most {
            return Err(HostFull);
        }
        self.hosts.insert(host.clone(), open + 1);
        Ok(())
    }

    /// Forgets a connection of a source and of a host.
    pub(super) fn release(&mut self, source: Option<Source>, host: Option<&HostKey>) {
        if let Some(host) = host
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

    /// Time of the next line about refusals.
    pub(super) fn next_report(&self) -> Option<Instant> {
        self.refused.report
    }

    /// The line about refusals that are not in the log yet.
    pub(super) fn last_report(&mut self) -> Option<String> {
        self.report(self.refused.report?)
    }

    /// The line about refusals, if one is due.
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
    fn count(&mut self, over: LimitExceeded, source: Option<Source>, now: Instant) {
        let [connections, per_source, per_source_rate, proxy_from] = &mut self.counts;
        *match over {
            LimitExceeded::Connections => connections,
            LimitExceeded::PerSource => per_source,
            LimitExceeded::PerSourceRate => per_source_rate,
            LimitExceeded::ProxyFrom => proxy_from,
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
        for (over, count) in LimitExceeded::ALL
            .iter()
            .zip(self.counts)
            .filter(|(_, n)| *n > 0)
        {
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
    use crate::config::PerSource;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn a_64_of_ipv6_is_one_source_and_a_mapped_address_is_its_ipv4_address() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.8"), source("192.0.2.7"));
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn each_limit_refuses_and_recovers() {
        let limits = Limits {
            per_source: PerSource::AtMost(2),
            per_source_rate: Some(3),
            ..Limits::default()
        };
        let (mut admission, now) = (AdmissionControl::new(), Instant::now());
        let (one, other) = (Some(source("192.0.2.1")), Some(source("192.0.2.2")));
        let room = (0, 10);
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        assert_eq!(
            admission.admit(one, room, &limits, now),
            Err(LimitExceeded::PerSource)
        );
        assert_eq!(admission.admit(other, room, &limits, now), Ok(()));
        admission.release(one, None);
        assert_eq!(admission.admit(one, room, &limits, now), Ok(()));
        admission.release(one, None);
        let over = admission.admit(one, room, &limits, now);
        assert_eq!(over, Err(LimitExceeded::PerSourceRate));
        let over = admission.admit(one, (10, 10), &limits, now);
        assert_eq!(over, Err(LimitExceeded::Connections));
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
    fn idle_sources_are_forgotten() {
        let limits = Limits::default();
        let (mut admission, mut now) = (AdmissionControl::new(), Instant::now());
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
