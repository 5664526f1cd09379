//! Messages between monitor and reporter.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Largest number of requests that the monitor has not answered, including those of clients that are gone.
pub const MAX_REQUESTS: usize = 64;
/// Largest number of bytes of content in one message.
pub const MAX_PART: usize = 8 * 1024;

/// The request of a client. One reporter never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub(super) u64);

/// Monitor → reporter.
#[derive(Serialize, Deserialize)]
pub enum ToReporter {
    /// A client has connected. Carries its socket.
    Accepted,
    /// A part of the content of a response.
    Part {
        /// The request that is answered.
        id: RequestId,
        /// The next at most [`MAX_PART`] bytes.
        text: String,
    },
    /// The content of a response is complete.
    Complete {
        /// The request that is answered.
        id: RequestId,
        /// Result of the request.
        outcome: Outcome,
    },
}

/// Reporter → monitor.
#[derive(Serialize, Deserialize)]
pub enum FromReporter {
    /// A client has sent a request.
    Request {
        /// Id of the request.
        id: RequestId,
        /// What the client asks for.
        endpoint: Endpoint,
    },
    /// The reporter has to end, for this reason.
    Failed(String),
}

/// Path that a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint {
    /// `/metrics`: all numbers, in the text format of Prometheus.
    Metrics,
    /// `/healthz`: whether the monitor works.
    Health,
    /// `/readyz`: whether new clients are served.
    Readiness,
}

/// Result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Status 200.
    Ok,
    /// Status 503.
    Unavailable,
}
