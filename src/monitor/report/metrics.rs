//! The metrics that `/metrics` and `--status` show.
//!
//! Labels are fixed words, words of the configuration, or names of a standard; never what a stranger sent,
//! so that only the operator decides how many series there are.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Error, Histogram, Registry, TextEncoder};

use super::families::{Families, register_constants};
use crate::config::{BackendName, Config, Host};
use crate::monitor::clients::{Client, Clients, LimitExceeded};
use crate::process::Ended;
use crate::tls::names::{suite_name, version_name};
use crate::tls::server_certificate::Validity;
use crate::types::Severity;

/// Outcomes of a connection.
const OUTCOMES: [&str; 10] = [
    "closed",
    "truncated",
    "reset",
    "timeout",
    "backend",
    "command",
    "refused",
    "handshake",
    "tls",
    "launch",
];

/// The metrics. Every series of a configured host exists from the start, as a rate needs it.
pub(in crate::monitor) struct Metrics {
    registry: Registry,
    families: Families,
    started: SystemTime,
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::monitor) enum ReloadResult {
    /// A new configuration is in use.
    Ok,
    /// The old configuration stays.
    Failed,
}

impl ReloadResult {
    /// The severity of the log line about it.
    pub(in crate::monitor) fn severity(self) -> Severity {
        match self {
            Self::Ok => Severity::Notice,
            Self::Failed => Severity::Err,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// Values that are looked up for each request of the metrics or of the status.
pub(in crate::monitor) struct Present<'a> {
    /// The current configuration.
    pub(in crate::monitor) config: &'a Config,
    /// The clients.
    pub(in crate::monitor) clients: &'a Clients,
    /// Number of engines that live, retired ones included.
    pub(in crate::monitor) engines: usize,
    /// Names of backends, and the number of addresses that each has.
    pub(in crate::monitor) backends: Vec<(&'a BackendName, usize)>,
    /// Why new clients are not served; `None`: they are.
    pub(in crate::monitor) unready: Option<&'static str>,
    /// A line for each listening socket.
    pub(in crate::monitor) sockets: Vec<String>,
}

/// Totals of one host for `--status`.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) handshakes: u64,
    /// Mean time of a handshake in seconds; `None`: there was none.
    pub(super) handshake_mean: Option<f64>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Metrics {
    /// Metrics of a server that starts.
    ///
    /// Errors: none, unless a name of a family is not valid.
    pub(in crate::monitor) fn new() -> Result<Self, Error> {
        let registry = Registry::new_custom(Some("tlssrv".into()), None)?;
        let (families, started) = (Families::new(&registry)?, SystemTime::now());
        register_constants(&registry, unix_time(started))?;
        for limit in LimitExceeded::ALL {
            families.refused.with_label_values(&["", limit.name()]);
        }
        for result in [ReloadResult::Ok, ReloadResult::Failed] {
            families.reloads.with_label_values(&[result.name()]);
        }
        Ok(Self {
            registry,
            families,
            started,
        })
    }

    /// Creates the series of a configuration. Series of hosts that it does not have stay.
    pub(in crate::monitor) fn configure(&self, config: &Config) {
        for listener in &config.listeners {
            self.families
                .accepted
                .with_label_values(&[listener.name.as_str()]);
        }
        let labels = config.hosts.iter().map(|host| host.label.as_str());
        for label in labels.chain([""]) {
            for outcome in OUTCOMES {
                self.families.ended.with_label_values(&[label, outcome]);
            }
        }
        self.families.expiry.reset();
        for host in config.hosts.iter() {
            for counters in [&self.families.received, &self.families.sent] {
                counters.with_label_values(&[host.label.as_str()]);
            }
            for histograms in [&self.families.handshake_time, &self.families.launch_time] {
                histograms.with_label_values(&[host.label.as_str()]);
            }
            if host.connections.is_some() {
                self.families
                    .refused
                    .with_label_values(&[host.label.as_str(), HOST]);
            }
            for (place, expiry) in (1..).zip(expiries(host)) {
                let place = i32::to_string(&place);
                let gauge = [host.label.as_str(), &place];
                let gauge = self.families.expiry.with_label_values(&gauge);
                // Several hosts may have one label: the certificate that expires first counts.
                let expiry = unix_time(expiry);
                let known = Some(gauge.get()).filter(|known| *known != 0);
                gauge.set(known.map_or(expiry, |known| known.min(expiry)));
            }
        }
    }

    /// Counts a client that is accepted.
    pub(in crate::monitor) fn accepted(&self, listener: &str) {
        self.families.accepted.with_label_values(&[listener]).inc();
    }

    /// Counts a client that is refused because of a limit of the server.
    pub(in crate::monitor) fn refused(&self, limit: LimitExceeded) {
        self.families
            .refused
            .with_label_values(&["", limit.name()])
            .inc();
    }

    /// Counts a client that is refused because of the limit of a host.
    pub(in crate::monitor) fn refused_by_host(&self, host: &str) {
        let labels = [host, HOST];
        self.families.refused.with_label_values(&labels).inc();
    }

    /// Counts a complete handshake, and the time that it took.
    pub(in crate::monitor) fn handshake(&self, client: &Client, time: Duration) {
        let (host, info) = (client.host_label(), client.handshake());
        let auth = client.auth().unwrap_or_default();
        let version = info.version.and_then(version_name).unwrap_or_default();
        let suite = info.suite.and_then(suite_name).unwrap_or_default();
        let resumed = match info.resumed {
            Some(true) => "true",
            _ => "false",
        };
        let labels = [host, version, &suite, auth, resumed];
        self.families.handshakes.with_label_values(&labels).inc();
        self.handshake_time(host).observe(time.as_secs_f64());
    }

    fn handshake_time(&self, host: &str) -> Histogram {
        self.families.handshake_time.with_label_values(&[host])
    }

    /// Counts the start of a command, or a connection to a backend, and the time that it took.
    pub(in crate::monitor) fn launched(&self, host: &str, time: Duration) {
        let histogram = self.families.launch_time.with_label_values(&[host]);
        histogram.observe(time.as_secs_f64());
    }

    /// Counts a command that has ended.
    pub(in crate::monitor) fn exited(&self, host: &str, ended: Ended) {
        let labels = [host, &ended.to_string()];
        self.families.exits.with_label_values(&labels).inc();
    }

    /// Counts plaintext bytes from clients and to them.
    pub(in crate::monitor) fn traffic(&self, host: &str, received: u64, sent: u64) {
        for (counters, bytes) in [
            (&self.families.received, received),
            (&self.families.sent, sent),
        ] {
            if bytes > 0 {
                counters.with_label_values(&[host]).inc_by(bytes);
            }
        }
    }

    /// Counts a connection that has ended.
    pub(in crate::monitor) fn ended(&self, client: &Client) {
        let labels = [client.host_label(), client.outcome()];
        self.families.ended.with_label_values(&labels).inc();
    }

    /// Counts a reload.
    pub(in crate::monitor) fn reloaded(&self, result: ReloadResult) {
        self.families
            .reloads
            .with_label_values(&[result.name()])
            .inc();
    }

    /// Counts engines that were started in the place of dead ones.
    pub(in crate::monitor) fn restarted(&self, engines: u64) {
        self.families.restarts.inc_by(engines);
    }

    /// Number of engines that were started in the place of dead ones.
    pub(super) fn restarts(&self) -> u64 {
        self.families.restarts.get()
    }

    /// Time since the start of the server.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }

    /// Number of reloads with this result.
    pub(super) fn reloads(&self, result: ReloadResult) -> u64 {
        self.families
            .reloads
            .with_label_values(&[result.name()])
            .get()
    }

    /// Number of clients that were refused because of a limit of the server.
    pub(super) fn refusals(&self, limit: LimitExceeded) -> u64 {
        self.families
            .refused
            .with_label_values(&["", limit.name()])
            .get()
    }

    /// Totals of a host; with an empty label, of connections without a host.
    pub(super) fn totals(&self, host: &str) -> Totals {
        let ended = OUTCOMES.map(|outcome| {
            self.families
                .ended
                .with_label_values(&[host, outcome])
                .get()
        });
        let [closed, ..] = ended;
        let ended: u64 = ended.into_iter().sum();
        if host.is_empty() {
            return Totals {
                ended,
                failed: ended,
                ..Totals::default()
            };
        }
        let times = self.handshake_time(host);
        let handshakes = times.get_sample_count();
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        let handshake_mean = (handshakes > 0).then(|| times.get_sample_sum() / handshakes as f64);
        Totals {
            ended,
            failed: ended.saturating_sub(closed),
            handshakes,
            handshake_mean,
            received: self.families.received.with_label_values(&[host]).get(),
            sent: self.families.sent.with_label_values(&[host]).get(),
        }
    }

    /// The metrics in the text format of Prometheus, version 0.0.4.
    ///
    /// Errors: none, unless a family is empty in a way that the crate rules out.
    pub(in crate::monitor) fn text(&self, present: &Present<'_>) -> Result<String, Error> {
        self.families.open.reset();
        self.families.commands.reset();
        let labels = present.config.hosts.iter().map(|host| host.label.as_str());
        for label in labels {
            self.families.open.with_label_values(&[label]);
            self.families.commands.with_label_values(&[label]);
        }
        self.families.open.with_label_values(&[""]);
        for (_, client) in present.clients.iter() {
            let label = [client.host_label()];
            if client.is_open() {
                self.families.open.with_label_values(&label).inc();
            }
            if client.runs() {
                self.families.commands.with_label_values(&label).inc();
            }
        }
        self.families.addresses.reset();
        for (name, count) in &present.backends {
            let gauge = self
                .families
                .addresses
                .with_label_values(&[name.to_string()]);
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.families
            .engines
            .set(i64::try_from(present.engines).unwrap_or(i64::MAX));
        self.families.ready.set(present.unready.is_none().into());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Name of the limit of a host.
const HOST: &str = "host";

/// Expiry times of the certificates of a host, in their order, without those that cannot be read.
pub(super) fn expiries(host: &Host) -> impl Iterator<Item = SystemTime> {
    let leaves = host
        .certificates
        .iter()
        .filter_map(|key| key.certified.cert.first());
    leaves.filter_map(|leaf| Some(Validity::of(leaf)?.not_after))
}

fn unix_time(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
