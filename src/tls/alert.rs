//! The alert that ends a connection (RFC 8446 §6, RFC 5246 §7.2), also where rustls sends none.
//!
//! rustls queues an alert for most errors, but not for its own limits and for a few mistakes of the peer.
//! [`after_error`] adds the missing alert.
#![forbid(unsafe_code)]

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, Error, PeerMisbehaved, ProtocolVersion};

use super::provider;
use super::words::rfc_name;

/// Appends the records to send after `process_tls_records` has failed: those that rustls has queued, then the
/// alert, unless it is among them. Returns the alert's description.
///
/// - `rest`: all input that was not discarded. Its content is lost.
/// - `out`: the records are appended here.
///
/// The connection must use [`provider::provider`], and must not have sent `close_notify`.
pub fn after_error(
    connection: &mut UnbufferedServerConnection,
    error: &Error,
    rest: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<AlertDescription> {
    // As long as a record is queued, rustls returns it and does not read the input.
    while connection.wants_write() {
        if let Turn::Alert(description) = turn(connection, rest, out) {
            return Some(known_to_tls12(connection, description, out));
        }
    }
    let description = wanted(error)?;
    send_fatal(connection, description, rest, out);
    Some(description)
}

/// TLS 1.2 has no `certificate_required`: "If the client does not send any certificates, the server MAY […]
/// respond with a fatal `handshake_failure` alert" (RFC 5246 §7.4.6). `out` ends with the alert, which is in
/// plaintext then.
fn known_to_tls12(
    connection: &UnbufferedServerConnection,
    description: AlertDescription,
    out: &mut [u8],
) -> AlertDescription {
    let is_tls12 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_2);
    match (description, out) {
        (AlertDescription::CertificateRequired, [.., last]) if is_tls12 => {
            let known = AlertDescription::HandshakeFailure;
            *last = known.into();
            known
        }
        _ => description,
    }
}

/// Ends a connection with a fatal alert, whatever state it is in, encrypted if it has keys.
///
/// The records that rustls had queued go out first. An answer to `KeyUpdate` has to: the alert is encrypted with
/// the keys that it announces. Arguments are those of [`after_error`].
///
/// rustls has no function for this. But in every state it answers input that is not a record with `decode_error`:
/// so it gets such input, and the provider replaces the alert. `rest` keeps its length, because rustls remembers
/// offsets into it while a handshake message is incomplete, but not its bytes, so that rustls processes none of
/// it.
pub fn send_fatal(
    connection: &mut UnbufferedServerConnection,
    description: AlertDescription,
    rest: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    rest.fill(NO_RECORD);
    rest.extend_from_slice(&[NO_RECORD; 5]);
    provider::replace_next(description);
    // Each turn consumes a queued record or a complete handshake message, so this bound is enough.
    for _ in 0..rest.len() + 16 {
        match turn(connection, rest, out) {
            Turn::Other => {}
            Turn::Alert(_) => {
                if let (Some(_), Some(last)) = (provider::take_replacement(), out.last_mut()) {
                    // No encrypter saw the alert, so it is in plaintext.
                    *last = description.into();
                }
                break;
            }
            Turn::End => break,
        }
    }
    provider::take_replacement();
}

/// The alert for an error for which rustls sends none. `None` if the peer has sent an alert: "both parties MUST
/// immediately close the connection" (RFC 8446 §6.2).
pub fn wanted(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::InvalidMessage(invalid) => AlertDescription::from(*invalid),
        Error::PeerMisbehaved(
            // "there MUST NOT be any other records between them" (RFC 8446 §5.1)
            PeerMisbehaved::MessageInterleavedWithHandshakeMessage
            | PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage
            // "MUST terminate the connection with an "unexpected_message" alert" (§5.4)
            | PeerMisbehaved::IllegalTlsInnerPlaintext
            // "MUST abort the handshake with an "unexpected_message" alert" (§5)
            | PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
            // A limit of rustls; no RFC sets one.
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived,
        )
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => AlertDescription::UnexpectedMessage,
        // "MUST abort the handshake with an "unsupported_extension" alert" (§4.2)
        Error::PeerMisbehaved(PeerMisbehaved::UnsolicitedCertExtension) => {
            AlertDescription::UnsupportedExtension
        }
        // Among others: a second ClientHello that changes what it must not (§4.1.2).
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::InvalidCertificate(invalid) => AlertDescription::from(invalid.clone()),
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::DecryptError => AlertDescription::BadRecordMac,
        _ => AlertDescription::InternalError,
    })
}

/// Result of one call of `process_tls_records`.
enum Turn {
    /// An alert of this description: the last of the records in `out`.
    Alert(AlertDescription),
    /// Another record, or nothing yet.
    Other,
    /// Nothing, and another call would bring nothing either.
    End,
}

fn turn(
    connection: &mut UnbufferedServerConnection,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Turn {
    let UnbufferedStatus { discard, state } = connection.process_tls_records(input);
    let turn = match state {
        Ok(ConnectionState::EncodeTlsData(mut record)) => encode(&mut record, out),
        Ok(ConnectionState::TransmitTlsData(records)) => {
            records.done();
            Turn::Other
        }
        Ok(ConnectionState::ReadTraffic(mut plaintext)) => {
            while plaintext.next_record().is_some() {}
            Turn::Other
        }
        // The peer has closed its side, so rustls does not read its input any more.
        Ok(ConnectionState::WriteTraffic(mut traffic)) => encode_close_notify(&mut traffic, out),
        Ok(ConnectionState::PeerClosed) | Err(_) => Turn::Other,
        Ok(_) => Turn::End,
    };
    input.drain(..discard.min(input.len()));
    turn
}

fn encode<T>(record: &mut EncodeTlsData<'_, T>, out: &mut Vec<u8>) -> Turn {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = record.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        // Neither can fail now: the buffer has the size that rustls asked for, and the record has not been encoded
        // yet.
        let _ = record.encode(out.get_mut(start..).unwrap_or_default());
    }
    sent_alert(out.get(start..).unwrap_or_default()).map_or(Turn::Other, Turn::Alert)
}

fn encode_close_notify<T>(traffic: &mut WriteTraffic<'_, T>, out: &mut Vec<u8>) -> Turn {
    let start = out.len();
    if let Err(EncryptError::InsufficientSize(size)) = traffic.queue_close_notify(&mut []) {
        out.resize(start + size.required_size, 0);
        // The record is queued already, and the buffer now has the size that it asked for.
        let _ = traffic.queue_close_notify(out.get_mut(start..).unwrap_or_default());
    }
    provider::take_sent().map_or(Turn::End, Turn::Alert)
}

/// The description of the alert in a record that rustls has queued; `None`: the record is no alert.
///
/// TLS 1.3 hides the type, but not the length: two bytes of content, the content type and the tag. Application
/// data does not pass through the queue, and handshake messages have four bytes and more.
fn sent_alert(record: &[u8]) -> Option<AlertDescription> {
    match *record {
        [ALERT, _, _, 0, 2, _level, description] => Some(description.into()),
        [ALERT, ..] | [APPLICATION_DATA, _, _, 0, 19, ..] => provider::take_sent(),
        _ => None,
    }
}

/// A fatal alert in plaintext, for a connection that ends before it has keys.
///
/// `legacy_record_version` is 0x0303 whatever the client speaks (RFC 8446 §5.1).
pub fn alert_record(description: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description.into()]
}

/// The name of an alert, spelled as the RFCs do: `handshake_failure`.
pub fn name(description: AlertDescription) -> String {
    rfc_name(description.as_str(), "alert", description.into())
}

// ContentType (RFC 8446 §5.1)
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;

/// First byte of input that is no record: a content type that does not exist.
const NO_RECORD: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_rfcs() {
        for (description, expected) in [
            (AlertDescription::CloseNotify, "close_notify"),
            (AlertDescription::BadRecordMac, "bad_record_mac"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::Unknown(77), "alert 77"),
        ] {
            assert_eq!(name(description), expected);
        }
    }

    #[test]
    fn an_alert_record_is_seven_bytes_of_plaintext() {
        assert_eq!(
            alert_record(AlertDescription::UnrecognisedName),
            [21, 3, 3, 0, 2, 2, 112]
        );
    }
}
