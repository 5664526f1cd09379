//! Checks raw tables, and makes the values of the configuration.
#![forbid(unsafe_code)]

pub(super) mod backends;
mod client_files;
mod clients;
mod command;
mod crls;
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
