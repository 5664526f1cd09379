//! The alert that ends a connection (RFC 8446 §6, RFC 5246 §7.2), where rustls leaves it out too.
//!
//! rustls queues an alert with most of its errors. With others it does not: at limits of its own,
//! and for a few mistakes of the peer. [`after_error`] sees to it that there is one.
#![forbid(unsafe_code)]

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, Error, PeerMisbehaved, ProtocolVersion};

use super::provider;

/// What is still to be sent after `process_tls_records` has failed: what rustls has queued, then
/// the alert, if that is not among it. The result is the description of the alert.
///
/// - `rest`: the input that was not discarded, all of it. It is lost.
/// - `out`: where the records are appended.
///
/// The connection must use [`provider::provider`], and must not have sent `close_notify`.
pub fn after_error(
    connection: &mut UnbufferedServerConnection,
    error: &Error,
    rest: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<AlertDescription> {
    // As long as something is queued, rustls gives it out and does not look at the input.
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
/// What rustls had queued goes out first, above all an answer to `KeyUpdate`: the alert is
/// encrypted with the keys that it announces. Arguments are those of [`after_error`].
///
/// rustls offers no such thing. But it answers `decode_error` to what is no record, whatever its
/// state; so it gets that for its input, and the alert is exchanged on its way. `rest` keeps its
/// length, because rustls remembers places in it while a handshake message is incomplete, and not
/// its bytes, so that nothing more of it is processed.
pub fn send_fatal(
    connection: &mut UnbufferedServerConnection,
    description: AlertDescription,
    rest: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    rest.fill(NO_RECORD);
    rest.extend_from_slice(&[NO_RECORD; 5]);
    provider::replace_next(description);
    // Each turn takes something: a queued record, or a handshake message that was complete.
    for _ in 0..rest.len() + 16 {
        match turn(connection, rest, out) {
            Turn::Other => {}
            Turn::Alert(_) => {
                if let (Some(_), Some(last)) = (provider::take_replacement(), out.last_mut()) {
                    // It met no encrypter, so it is in plaintext.
                    *last = description.into();
                }
                break;
            }
            Turn::End => break,
        }
    }
    provider::take_replacement();
}

/// The alert for an error that rustls leaves without one. `None` if the peer has sent an alert:
/// "both parties MUST immediately close the connection" (RFC 8446 §6.2).
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
            // More than rustls puts up with; no RFC sets a limit.
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
        // What a second ClientHello must not change (§4.1.2), and whatever else.
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::InvalidCertificate(invalid) => AlertDescription::from(invalid.clone()),
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::DecryptError => AlertDescription::BadRecordMac,
        _ => AlertDescription::InternalError,
    })
}

/// What one call of `process_tls_records` has brought.
enum Turn {
    /// An alert of this description: the last of the records in `out`.
    Alert(AlertDescription),
    /// Something else, or nothing yet.
    Other,
    /// Nothing; nor will another call.
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
        // The peer has closed its side, so its input is not looked at any more.
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
        // Neither can fail now: the size is what it asked for, and it has not been encoded yet.
        let _ = record.encode(out.get_mut(start..).unwrap_or_default());
    }
    sent_alert(out.get(start..).unwrap_or_default()).map_or(Turn::Other, Turn::Alert)
}

fn encode_close_notify<T>(traffic: &mut WriteTraffic<'_, T>, out: &mut Vec<u8>) -> Turn {
    let start = out.len();
    if let Err(EncryptError::InsufficientSize(size)) = traffic.queue_close_notify(&mut []) {
        out.resize(start + size.required_size, 0);
        // It is queued already, and now has the size that it asked for.
        let _ = traffic.queue_close_notify(out.get_mut(start..).unwrap_or_default());
    }
    provider::take_sent().map_or(Turn::End, Turn::Alert)
}

/// The alert in a record that rustls has queued.
///
/// TLS 1.3 hides the type, but not the length: two bytes, the type and the tag. Application data
/// does not pass through the queue, and handshake messages have four bytes and more.
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

/// `HandshakeFailure` → `handshake_failure`; what has no name → `alert 77`.
pub(super) fn rfc_name(camel_case: Option<&str>, what: &str, code: u8) -> String {
    let Some(camel_case) = camel_case else {
        return format!("{what} {code}");
    };
    let mut name = String::with_capacity(camel_case.len() + 4);
    let mut before = '_';
    let mut letters = camel_case.chars().peekable();
    while let Some(letter) = letters.next() {
        let ends_an_acronym = letters.peek().is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase()
            && before != '_'
            && (before.is_ascii_lowercase() || ends_an_acronym)
        {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        before = letter;
    }
    name
}

// ContentType (RFC 8446 §5.1)
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;

/// The first byte of what is no record: a type that does not exist.
const NO_RECORD: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_called_what_the_rfcs_call_them() {
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
