//! Reads what a configuration refers to: files, credentials, accounts, programs, certificates, passwords, PSK
//! files and addresses.
#![forbid(unsafe_code)]

pub(super) mod accounts;
pub(super) mod addresses;
pub(super) mod certificates;
pub(super) mod files;
pub(super) mod names;
pub(super) mod passwords;
pub(super) mod programs;
pub(super) mod psk_file;
mod psk_line;
pub(super) mod ticket_keys;
