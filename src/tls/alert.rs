//! Alerts.
#![forbid(unsafe_code)]

use rustls::AlertDescription;

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
