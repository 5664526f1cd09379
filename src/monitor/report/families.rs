//! The metric families: names, labels, help texts and buckets.
#![forbid(unsafe_code)]

use prometheus::core::Collector;
use prometheus::{
    Error, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Buckets of handshake times, in seconds: from a round trip nearby to the default limit.
const HANDSHAKE: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of launch times, in seconds.
const LAUNCH: [f64; 13] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// The families whose values change.
pub(super) struct Families {
    pub(super) accepted: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) ended: IntCounterVec,
    pub(super) received: IntCounterVec,
    pub(super) sent: IntCounterVec,
    pub(super) handshakes: IntCounterVec,
    pub(super) handshake_time: HistogramVec,
    pub(super) launch_time: HistogramVec,
    pub(super) exits: IntCounterVec,
    pub(super) reloads: IntCounterVec,
    pub(super) restarts: IntCounter,
    pub(super) open: IntGaugeVec,
    pub(super) commands: IntGaugeVec,
    pub(super) expiry: IntGaugeVec,
    pub(super) addresses: IntGaugeVec,
    pub(super) engines: IntGauge,
    pub(super) ready: IntGauge,
}

impl Families {
    /// Registers the families.
    ///
    /// Errors: none, unless a name below is not valid for a metric.
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        let new = New(registry);
        Ok(Self {
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
            addresses: new.gauges(
                "backend_addresses",
                "Addresses of the name of a backend; without one, the backend is away.",
                &["backend"],
            )?,
            engines: new.gauge("engines", "Engines that live.")?,
            ready: new.gauge("ready", "1 if new clients are served, as /readyz says.")?,
        })
    }
}

/// Registers the families that never change: the version, and the time of the start in seconds since
/// 1970-01-01 UTC.
///
/// Errors: as those of [`Families::new`].
pub(super) fn register_constants(registry: &Registry, started: i64) -> Result<(), Error> {
    let new = New(registry);
    let build = new.gauges("build_info", "1, with the version of tlssrv.", &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let start = new.gauge(
        "start_time_seconds",
        "When tlssrv was started, in seconds since 1970-01-01 UTC.",
    )?;
    start.set(started);
    Ok(())
}

/// Creates metrics in a registry.
struct New<'a>(&'a Registry);

impl New<'_> {
    fn add<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T, Error> {
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
