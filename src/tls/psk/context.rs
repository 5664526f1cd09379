//! State that all steps of a connection share.
#![forbid(unsafe_code)]

use super::Config;
use super::record::Records;
use crate::types::{Buffer, PskIdentity};

/// Parameters negotiated so far.
#[derive(Default)]
pub(super) struct Negotiated {
    pub(super) version: Option<u16>,
    pub(super) suite: Option<u16>,
    pub(super) group: Option<u16>,
    pub(super) alpn: Option<Vec<u8>>,
    /// Identity of the key, once the client has proved that it has the key.
    pub(super) identity: Option<PskIdentity>,
}

/// Context of a state: everything it works with besides its own fields.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) records: &'a mut Records,
    pub(super) negotiated: &'a mut Negotiated,
    /// Records for the client.
    pub(super) out: &'a mut Buffer,
}
