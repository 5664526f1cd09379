//! TLS sessions, which turn bytes into bytes: no module here uses a descriptor or a process.
#![forbid(unsafe_code)]

pub mod alert;
mod chain;
pub mod client;
pub mod contents;
mod disguise;
mod encoding;
mod encrypted_key;
pub mod hello;
mod hmac;
pub mod names;
pub mod pem;
mod private_key;
pub mod profile;
pub mod provider;
pub mod psk;
mod records;
pub mod server_certificate;
pub mod session;
mod show_hello;
mod stage;
pub mod staple;
pub mod tickets;
mod transcript;
mod wire;
pub mod words;
