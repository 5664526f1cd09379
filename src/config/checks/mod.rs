//! Checks raw tables, and makes the values of the configuration.
#![forbid(unsafe_code)]

pub(super) mod backends;
mod clients;
mod command;
pub(super) mod host;
pub(super) mod listeners;
pub(super) mod metrics;
mod profile;
mod proxy_from;
mod reachability;
mod rlimits;
pub(super) mod run_as;
mod staples;
pub(super) mod users;
