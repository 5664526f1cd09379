//! The metrics that `/metrics` and `--status` show.
//!
//! Labels are fixed words, words of the configuration, or names of a standard; never what a stranger sent,
//! so that only the operator decides how many series there are.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::wait::WaitStatus;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::config::{Config, Host};
use crate::monitor::clients::{Client, Clients, LimitExceeded};
use crate::process::exit_text;
use crate::tls::names::{suite_name, version_name};
use crate::tls::server_certificate::Validity;
use crate::types::Severity;

/// Buckets of handshake times, in seconds: from a round trip nearby to the default limit.
const HANDSHAKE: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of launch times, in seconds.
const LAUNCH: [f64; 13] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Outcomes of a connection.
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

/// The metrics. Every series of a configured host exists from the start, as a rate needs it.
pub(in crate::monitor) struct Metrics {
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
    restarts: IntCounter,
    open: IntGaugeVec,
    commands: IntGaugeVec,
    expiry: IntGaugeVec,
    engines: IntGauge,
    ready: IntGauge,
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

/// Values that are looked up when somebody asks for the metrics or for the status.
pub(in crate::monitor) struct Present<'a> {
    /// The current configuration.
    pub(in crate::monitor) config: &'a Config,
    /// The clients.
    pub(in crate::monitor) clients: &'a Clients,
    /// Number of engines that live, retired ones included.
    pub(in crate::monitor) engines: usize,
    /// Why new clients are not served; `None`: they are.
    pub(in crate::monitor) unready: Option<&'static str>,
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
    /// Errors: none, unless a name below is not valid for a metric.
    pub(in crate::monitor) fn new() -> Result<Self, Error> {
        let registry = Registry::new_custom(Some("tlssrv".into()), None)?;
        let new = New(&registry);
        let metrics = Self {
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
        started.set(unix_time(metrics.started));
        for limit in LimitExceeded::ALL {
            metrics.refused.with_label_values(&["", limit.name()]);
        }
        for result in [ReloadResult::Ok, ReloadResult::Failed] {
            metrics.reloads.with_label_values(&[result.name()]);
        }
        Ok(metrics)
    }

    /// Creates the series of a configuration. Series of hosts that it does not have stay.
    pub(in crate::monitor) fn configure(&self, config: &Config) {
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
                // Several hosts may have one label: the certificate that expires first counts.
                let expiry = unix_time(expiry);
                let known = Some(gauge.get()).filter(|known| *known != 0);
                gauge.set(known.map_or(expiry, |known| known.min(expiry)));
            }
        }
    }

    /// Counts a client that is accepted.
    pub(in crate::monitor) fn accepted(&self, listener: &str) {
        self.accepted.with_label_values(&[listener]).inc();
    }

    /// Counts a client that is refused because of a limit of the server.
    pub(in crate::monitor) fn refused(&self, limit: LimitExceeded) {
        self.refused.with_label_values(&["", limit.name()]).inc();
    }

    /// Counts a client that is refused because of the limit of a host.
    pub(in crate::monitor) fn refused_by_host(&self, host: &str) {
        let labels = [host, HOST];
        self.refused.with_label_values(&labels).inc();
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
        self.handshakes.with_label_values(&labels).inc();
        self.handshake_time(host).observe(time.as_secs_f64());
    }

    fn handshake_time(&self, host: &str) -> Histogram {
        self.handshake_time.with_label_values(&[host])
    }

    /// Counts the start of a command, or a connection to a backend, and the time that it took.
    pub(in crate::monitor) fn launched(&self, host: &str, time: Duration) {
        let histogram = self.launch_time.with_label_values(&[host]);
        histogram.observe(time.as_secs_f64());
    }

    /// Counts a command that has ended.
    pub(in crate::monitor) fn exited(&self, host: &str, status: WaitStatus) {
        if let Some(status) = exit_text(status) {
            self.exits.with_label_values(&[host, &status]).inc();
        }
    }

    /// Counts plaintext bytes from clients and to them.
    pub(in crate::monitor) fn traffic(&self, host: &str, received: u64, sent: u64) {
        for (counters, bytes) in [(&self.received, received), (&self.sent, sent)] {
            if bytes > 0 {
                counters.with_label_values(&[host]).inc_by(bytes);
            }
        }
    }

    /// Counts a connection that has ended.
    pub(in crate::monitor) fn ended(&self, client: &Client) {
        let labels = [client.host_label(), client.outcome()];
        self.ended.with_label_values(&labels).inc();
    }

    /// Counts a reload.
    pub(in crate::monitor) fn reloaded(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.name()]).inc();
    }

    /// Counts engines that were started in the place of dead ones.
    pub(in crate::monitor) fn restarted(&self, engines: u64) {
        self.restarts.inc_by(engines);
    }

    /// Number of engines that were started in the place of dead ones.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// Time since the start of the server.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }

    /// Number of reloads with this result.
    pub(super) fn reloads(&self, result: ReloadResult) -> u64 {
        self.reloads.with_label_values(&[result.name()]).get()
    }

    /// Number of clients that were refused because of a limit of the server.
    pub(super) fn refusals(&self, limit: LimitExceeded) -> u64 {
        self.refused.with_label_values(&["", limit.name()]).get()
    }

    /// Totals of a host; with an empty label, of connections without a host.
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

    /// The metrics in the text format of Prometheus, version 0.0.4.
    ///
    /// Errors: none, unless a family is empty in a way that the crate rules out.
    pub(in crate::monitor) fn text(&self, present: &Present<'_>) -> Result<String, Error> {
        self.open.reset();
        self.commands.reset();
        let labels = present.config.hosts.iter().map(|host| host.label.as_str());
        for label in labels {
            self.open.with_label_values(&[label]);
            self.commands.with_label_values(&[label]);
        }
        self.open.with_label_values(&[""]);
        for (_, client) in present.clients.iter() {
            let label = [client.host_label()];
            if client.is_open() {
                self.open.with_label_values(&label).inc();
            }
            if client.runs() {
                self.commands.with_label_values(&label).inc();
            }
        }
        self.engines
            .set(i64::try_from(present.engines).unwrap_or(i64::MAX));
        self.ready.set(present.unready.is_none().into());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Name of the limit of a host.
const HOST: &str = "host";

/// Expiry times of the certificates of a host, in their order, without those that cannot be read.
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

/// Creates metrics in a registry.
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
