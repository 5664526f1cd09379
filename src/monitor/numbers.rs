//! What is counted for `/metrics`. Labels are words of ours, of the configuration, or names that a standard
//! has given; never what a stranger sent, so that nobody but the operator decides how many series there are.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::wait::WaitStatus;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::connection::{Connection, exit_text};
use super::limits::Over;
use crate::config::{Config, Host};
use crate::tls::names::{suite_name, version_name};
use crate::tls::server_certificate::Validity;
use crate::types::HandshakeInfo;

/// Seconds that a handshake may take: from one round trip nearby to the default limit.
const HANDSHAKE: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds that the start of a command may take.
const LAUNCH: [f64; 13] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// How a connection may end.
const OUTCOMES: [&str; 9] = [
    "closed",
    "truncated",
    "reset",
    "timeout",
    "backend",
    "refused",
    "handshake",
    "tls",
    "launch",
];

/// What is counted. Every series of a host that is configured is there from the start, as a rate needs it.
pub(super) struct Numbers {
    registry: Registry,
    accepted: IntCounterVec,
    refused: IntCounterVec,
    ended: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    handshakes: IntCounterVec,
    handshake_time: HistogramVec,
    launch_time: HistogramVec,
    exits: IntCounterVec,
    reloads: IntCounterVec,
    pub(super) restarts: IntCounter,
    open: IntGaugeVec,
    commands: IntGaugeVec,
    expiry: IntGaugeVec,
    engines: IntGauge,
    ready: IntGauge,
    pub(super) started: SystemTime,
}

/// What is not counted but looked up when somebody asks.
pub(super) struct Present<'a> {
    pub(super) config: &'a Config,
    pub(super) connections: Vec<&'a Connection>,
    /// Engines that live, those that finish old connections among them.
    pub(super) engines: usize,
    /// Whether new clients are served.
    pub(super) ready: bool,
}

/// What `--status` says of a host.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) handshakes: u64,
    /// Seconds that a handshake took; `None`: there was none.
    pub(super) handshake_mean: Option<f64>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Numbers {
    /// Nothing has been counted.
    ///
    /// Errors: none, unless a name below is no name for a metric.
    pub(super) fn new() -> Result<Self, Error> {
        let registry = Registry::new_custom(Some("tlssrv".into()), None)?;
        let new = New(&registry);
        let numbers = Self {
            accepted: new.counters(
                "connections_accepted_total",
                "Clients accepted, by listener.",
                &["listener"],
            )?,
            refused: new.counters(
                "connections_refused_total",
                "Clients turned away because of a limit, by its name and, where the limit is a host's, by host.",
                &["host", "limit"],
            )?,
            ended: new.counters(
                "connections_total",
                "Connections that have ended, by host and outcome; without a host: before one was chosen.",
                &["host", "outcome"],
            )?,
            received: new.counters(
                "received_bytes_total",
                "Plaintext bytes from clients to commands.",
                &["host"],
            )?,
            sent: new.counters(
                "sent_bytes_total",
                "Plaintext bytes from commands to clients.",
                &["host"],
            )?,
            handshakes: new.counters(
                "handshakes_total",
                "Handshakes completed.",
                &["host", "version", "suite", "auth", "resumed"],
            )?,
            handshake_time: new.histograms(
                "handshake_seconds",
                "From accept to the end of the handshake.",
                &HANDSHAKE,
            )?,
            launch_time: new.histograms(
                "launch_seconds",
                "How long it took to start what a client is connected to.",
                &LAUNCH,
            )?,
            exits: new.counters(
                "command_exits_total",
                "Commands that have ended, by exit status or signal.",
                &["host", "status"],
            )?,
            reloads: new.counters(
                "reloads_total",
                "Times that the configuration was to be read anew, by result.",
                &["result"],
            )?,
            restarts: new.counter(
                "engines_restarted_total",
                "Engines started in the place of one that had died.",
            )?,
            open: new.gauges(
                "connections_open",
                "Connections that are open; without a host: whose host is not chosen yet.",
                &["host"],
            )?,
            commands: new.gauges("commands_running", "Commands that run.", &["host"])?,
            expiry: new.gauges(
                "certificate_expiry_timestamp_seconds",
                "When a certificate expires, in seconds since 1970-01-01 UTC; a host's first is 1.",
                &["host", "certificate"],
            )?,
            engines: new.gauge("engines", "Engines that live.")?,
            ready: new.gauge("ready", "1 if new clients are served, as /readyz says.")?,
            started: SystemTime::now(),
            registry: registry.clone(),
        };
        let build = new.gauges("build_info", "1, with the version of tlssrv.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let started = new.gauge(
            "start_time_seconds",
            "When tlssrv was started, in seconds since 1970-01-01 UTC.",
        )?;
        started.set(unix_time(numbers.started));
        for limit in Over::ALL {
            numbers.refused.with_label_values(&["", limit.name()]);
        }
        for result in ["ok", "failed"] {
            numbers.reloads.with_label_values(&[result]);
        }
        Ok(numbers)
    }

    /// A configuration is the current one from now on. What was counted for hosts that it has no more, stays.
    pub(super) fn configured(&self, config: &Config) {
        for listener in &config.listeners {
            self.accepted.with_label_values(&[listener.name.as_str()]);
        }
        let labels = config.hosts.iter().map(|host| host.label.as_str());
        for label in labels.chain([""]) {
            for outcome in OUTCOMES {
                self.ended.with_label_values(&[label, outcome]);
            }
        }
        self.expiry.reset();
        for host in config.hosts.iter() {
            for counters in [&self.received, &self.sent] {
                counters.with_label_values(&[host.label.as_str()]);
            }
            for histograms in [&self.handshake_time, &self.launch_time] {
                histograms.with_label_values(&[host.label.as_str()]);
            }
            if host.connections.is_some() {
                self.refused.with_label_values(&[host.label.as_str(), HOST]);
            }
            for (place, expiry) in (1..).zip(expiries(host)) {
                let place = i32::to_string(&place);
                let gauge = [host.label.as_str(), &place];
                let gauge = self.expiry.with_label_values(&gauge);
                // Two hosts may have one label: the certificate that expires first is the one that matters.
                let expiry = unix_time(expiry);
                let known = Some(gauge.get()).filter(|known| *known != 0);
                gauge.set(known.map_or(expiry, |known| known.min(expiry)));
            }
        }
    }

    pub(super) fn accepted(&self, listener: &str) {
        self.accepted.with_label_values(&[listener]).inc();
    }

    pub(super) fn refused(&self, limit: Over) {
        self.refused.with_label_values(&["", limit.name()]).inc();
    }

    pub(super) fn refused_by(&self, host: &Host) {
        let labels = [host.label.as_str(), HOST];
        self.refused.with_label_values(&labels).inc();
    }

    /// A handshake is complete, and took so long.
    pub(super) fn handshake(&self, host: &str, auth: &str, facts: &HandshakeInfo, time: Duration) {
        let version = facts.version.and_then(version_name).unwrap_or_default();
        let suite = facts.suite.and_then(suite_name).unwrap_or_default();
        let resumed = match facts.resumed {
            Some(true) => "true",
            _ => "false",
        };
        let labels = [host, version, &suite, auth, resumed];
        self.handshakes.with_label_values(&labels).inc();
        self.handshake_time(host).observe(time.as_secs_f64());
    }

    fn handshake_time(&self, host: &str) -> Histogram {
        self.handshake_time.with_label_values(&[host])
    }

    /// What a client is connected to was started, in so much time.
    pub(super) fn launched(&self, host: &str, time: Duration) {
        let histogram = self.launch_time.with_label_values(&[host]);
        histogram.observe(time.as_secs_f64());
    }

    pub(super) fn exited(&self, host: &str, status: WaitStatus) {
        if let Some(status) = exit_text(status) {
            self.exits.with_label_values(&[host, &status]).inc();
        }
    }

    /// So many more bytes went up and down.
    pub(super) fn moved(&self, host: &str, received: u64, sent: u64) {
        for (counters, bytes) in [(&self.received, received), (&self.sent, sent)] {
            if bytes > 0 {
                counters.with_label_values(&[host]).inc_by(bytes);
            }
        }
    }

    /// A connection is over.
    pub(super) fn ended(&self, connection: &Connection) {
        let labels = [connection.host_label(), connection.outcome()];
        self.ended.with_label_values(&labels).inc();
    }

    pub(super) fn reloaded(&self, result: &str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    /// How often it was reloaded with this result.
    pub(super) fn reloads(&self, result: &str) -> u64 {
        self.reloads.with_label_values(&[result]).get()
    }

    /// How many were over this limit of all.
    pub(super) fn over(&self, limit: Over) -> u64 {
        self.refused.with_label_values(&["", limit.name()]).get()
    }

    /// What was counted for a host.
    pub(super) fn totals(&self, host: &str) -> Totals {
        let ended = OUTCOMES.map(|outcome| self.ended.with_label_values(&[host, outcome]).get());
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
            received: self.received.with_label_values(&[host]).get(),
            sent: self.sent.with_label_values(&[host]).get(),
        }
    }

    /// All of it, as Prometheus reads it (text format 0.0.4).
    ///
    /// Errors: none, unless a family is empty in a way that the crate rules out.
    pub(super) fn text(&self, present: &Present<'_>) -> Result<String, Error> {
        self.open.reset();
        self.commands.reset();
        let labels = present.config.hosts.iter().map(|host| host.label.as_str());
        for label in labels {
            self.open.with_label_values(&[label]);
            self.commands.with_label_values(&[label]);
        }
        self.open.with_label_values(&[""]);
        for connection in &present.connections {
            let label = [connection.host_label()];
            if connection.is_served() {
                self.open.with_label_values(&label).inc();
            }
            if connection.runs() {
                self.commands.with_label_values(&label).inc();
            }
        }
        self.engines
            .set(i64::try_from(present.engines).unwrap_or(i64::MAX));
        self.ready.set(present.ready.into());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The limit of a host, among those of all.
const HOST: &str = "host";

/// When the certificates of a host expire, in their order; those whose dates cannot be read are none.
pub(super) fn expiries(host: &Host) -> impl Iterator<Item = SystemTime> {
    let leaves = host
        .identities
        .iter()
        .filter_map(|key| key.certified.cert.first());
    leaves.filter_map(|leaf| Some(Validity::of(leaf)?.not_after))
}

fn unix_time(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Makes metrics of a registry.
struct New<'a>(&'a Registry);

impl New<'_> {
    fn add<T: prometheus::core::Collector + Clone + 'static>(&self, metric: T) -> Result<T, Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, &["host"])?)
    }
}
