//! TLS 1.3 after the handshake: traffic keys and KeyUpdate (RFC 8446 §4.6.3, §7.2).
#![forbid(unsafe_code)]

use super::context::Context;
use super::error::Error;
use super::message::{KeyUpdate, body};
use super::record::HANDSHAKE;
use super::schedule::TrafficSecret;
use super::suites::Suite;

/// State after the handshake, with the present generation of keys.
pub(super) struct Traffic {
    suite: &'static Suite,
    client: TrafficSecret,
    server: TrafficSecret,
    /// Whether the client has requested a KeyUpdate since our last record.
    owes_update: bool,
}

impl Traffic {
    /// The first generation: `client_application_traffic_secret_0`, and the server's.
    pub(super) fn new(suite: &'static Suite, client: TrafficSecret, server: TrafficSecret) -> Self {
        Self {
            suite,
            client,
            server,
            owes_update: false,
        }
    }

    /// Processes a KeyUpdate of the client (RFC 8446 §4.6.3).
    pub(super) fn key_update(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Self, Error> {
        // "the receiver MUST send a KeyUpdate of its own […] prior to sending its next Application Data record";
        // until then one KeyUpdate answers any number of requests.
        self.owes_update |= KeyUpdate::read(body(message))? == KeyUpdate::Requested;
        self.client = self.client.next()?;
        context.records.read_with(self.client.keys(self.suite)?);
        Ok(self)
    }

    /// Sends a KeyUpdate before application data if the client has requested one, or if the keys have protected
    /// their maximum number of records (RFC 8446 §5.5).
    pub(super) fn before_data(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if !self.owes_update && !context.records.must_rekey() {
            return Ok(());
        }
        let mut message = Vec::new();
        KeyUpdate::NotRequested.write(&mut message);
        context.records.write(HANDSHAKE, &message, context.out)?;
        self.server = self.server.next()?;
        context.records.write_with(self.server.keys(self.suite)?);
        self.owes_update = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider::provider;
    use crate::tls::psk::context::Negotiated;
    use crate::tls::psk::record::{APPLICATION_DATA, Records};
    use crate::tls::psk::{Config, Hash, Keys, Modes, suites};
    use crate::types::Buffer;

    /// The records in `out`, opened with one generation of the server's keys.
    fn opened(out: &Buffer, with: &TrafficSecret, suite: &'static Suite) -> Vec<(u8, Vec<u8>)> {
        let mut records = Records::new();
        records.read_with(with.keys(suite).unwrap());
        let mut opened = Vec::new();
        let mut left = out.filled().to_vec();
        while !left.is_empty() {
            let rest = left.split_off(5 + usize::from(u16::from_be_bytes([left[3], left[4]])));
            let (typ, content) = records.open(&mut left).unwrap().unwrap();
            opened.push((typ, content.to_vec()));
            left = rest;
        }
        opened
    }

    #[test]
    fn keys_are_renewed_before_their_limit_of_records() {
        let suite = suites::tls13(0x1301).unwrap();
        let secret = |byte| TrafficSecret::of(Hash::Sha256, byte);
        let config = Config::new(Keys::new().into(), Vec::new(), Modes::default(), provider());
        let config = config.unwrap();
        let (mut records, mut negotiated) = (Records::new(), Negotiated::default());
        records.write_with(secret(2).keys(suite).unwrap().limited(2));
        let mut traffic = Traffic::new(suite, secret(1), secret(2));
        let mut send = |data: &[u8]| {
            let mut out = Buffer::default();
            traffic
                .before_data(&mut Context {
                    config: &config,
                    records: &mut records,
                    negotiated: &mut negotiated,
                    out: &mut out,
                })
                .unwrap();
            let update = std::mem::take(&mut out);
            records.write(APPLICATION_DATA, data, &mut out).unwrap();
            (update, out)
        };
        let mut old = Buffer::default();
        for data in [b"one", b"two"] {
            let (update, out) = send(data);
            assert!(update.is_empty());
            old.append(out.filled());
        }
        let (update, new) = send(b"three");
        old.append(update.filled());
        let data = |data: &[u8]| (APPLICATION_DATA, data.to_vec());
        let key_update = (HANDSHAKE, vec![24, 0, 0, 1, 0]);
        assert_eq!(
            opened(&old, &secret(2), suite),
            [data(b"one"), data(b"two"), key_update]
        );
        let next = secret(2).next().unwrap();
        assert_eq!(opened(&new, &next, suite), [data(b"three")]);
    }
}
