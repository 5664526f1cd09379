//! The facts about a client's certificate for log and command: text without control characters, of bounded
//! length.
#![forbid(unsafe_code)]

use std::fmt;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

/// Text of a stranger that is safe in a variable and in a log line: no control characters, at most
/// [`Text::MAX`] bytes, perhaps empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// A text that is too long, or has control characters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidText;

impl Text {
    /// Longest text, in bytes.
    pub const MAX: usize = 1024;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        match text.len() <= Self::MAX && !text.contains(char::is_control) {
            true => Ok(Self(text)),
            false => Err(InvalidText),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "longer than {} bytes, or with control characters",
            Text::MAX
        )
    }
}

impl std::error::Error for InvalidText {}

/// A certificate of a client that has proved to have its key.
///
/// `None` in a field: left out, because the value is not a [`Text`], or too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// SHA-256 hash of the whole certificate.
    pub sha256: [u8; 32],
    /// SHA-256 hash of its `SubjectPublicKeyInfo`, where the client is known by its key alone. Nobody vouches for the
    /// names in the certificate then, and they are left out.
    pub only_key: Option<[u8; 32]>,
    /// Distinguished name of the subject (RFC 4514).
    pub subject: Option<Text>,
    /// Distinguished name of the issuer.
    pub issuer: Option<Text>,
    /// Common name of the subject, if there is exactly one.
    pub common_name: Option<Text>,
    /// The serial number in hexadecimal digits.
    pub serial: Text,
    /// First moment of the validity, as `mod_ssl` writes it: `Nov 21 07:00:00 2026 GMT`.
    pub not_before: Text,
    /// Last moment of the validity.
    pub not_after: Text,
    /// The dNSName entries of subjectAltName, in their order.
    pub dns_names: Option<Vec<Text>>,
    /// The whole certificate, in DER.
    pub der: Option<Vec<u8>>,
}

impl ClientCertificate {
    /// Maximum number of dNSName entries.
    pub const MAX_DNS_NAMES: usize = 64;
    /// Maximum length of all dNSName entries together, in bytes.
    pub const MAX_DNS_BYTES: usize = 16 * 1024;
    /// Maximum length of a certificate, in bytes of DER.
    pub const MAX_DER: usize = 16 * 1024;

    /// The same certificate of a client that is known by its key alone.
    #[must_use]
    pub fn without_names(self, key: [u8; 32]) -> Self {
        Self {
            only_key: Some(key),
            subject: None,
            issuer: None,
            common_name: None,
            dns_names: None,
            ..self
        }
    }

    /// `SHA256:` and the hash in hexadecimal digits.
    pub fn hash(&self) -> String {
        format!("SHA256:{}", base16ct::lower::encode_string(&self.sha256))
    }

    /// Identity of the client for the log: the subject, or the hash where the subject is empty or left out. A client
    /// that is known by its key alone has the identity of that, as `allow` has it: `sha256:` and the hash.
    pub fn identity(&self) -> String {
        if let Some(key) = &self.only_key {
            return format!("sha256:{}", base16ct::lower::encode_string(key));
        }
        match &self.subject {
            Some(subject) if !subject.as_str().is_empty() => subject.as_str().to_owned(),
            _ => self.hash(),
        }
    }

    /// The certificate in PEM (RFC 7468), lines of 64 characters.
    pub fn pem(&self) -> Option<String> {
        self.der.as_deref().map(pem)
    }

    /// Lines for the log about variables that are left out.
    pub fn left_out(&self) -> Vec<String> {
        let text = format!("is {InvalidText}");
        let names = format!(
            "is one of more than {} names or {} bytes, or {InvalidText}",
            Self::MAX_DNS_NAMES,
            Self::MAX_DNS_BYTES
        );
        let long = format!("is longer than {} bytes of DER", Self::MAX_DER);
        let named = self.only_key.is_none();
        [
            (named && self.subject.is_none(), "SSL_CLIENT_S_DN", &text),
            (named && self.issuer.is_none(), "SSL_CLIENT_I_DN", &text),
            (
                named && self.dns_names.is_none(),
                "SSL_CLIENT_SAN_DNS_0",
                &names,
            ),
            (self.der.is_none(), "SSL_CLIENT_CERT", &long),
        ]
        .into_iter()
        .filter(|(left_out, ..)| *left_out)
        .map(|(_, name, why)| format!("{name} is left out: it {why}"))
        .collect()
    }
}

/// A certificate in PEM, from DER.
fn pem(der: &[u8]) -> String {
    let base64 = Base64::encode_string(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in base64.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_64_characters_with_padding_at_the_end() {
        let full = "A".repeat(64);
        for (bytes, lines) in [
            (Vec::new(), String::new()),
            (b"foob".to_vec(), "Zm9vYg==\n".to_owned()),
            (vec![0xfb, 0xff, 0xfe], "+//+\n".to_owned()),
            (vec![0; 48], format!("{full}\n")),
            (vec![0; 49], format!("{full}\nAA==\n")),
            (vec![0; 98], format!("{full}\n{full}\nAAA=\n")),
        ] {
            let expected =
                format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n");
            assert_eq!(pem(&bytes), expected);
        }
    }

    #[test]
    fn a_text_is_bounded_and_has_no_control_characters() {
        assert!(Text::try_from("Zoë, O=\"x\"".to_owned()).is_ok());
        assert!(Text::try_from("x".repeat(Text::MAX)).is_ok());
        for bad in ["a\nb", "\0", "\u{7f}", "\u{85}", &"x".repeat(Text::MAX + 1)] {
            assert!(Text::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        // What the other side decodes is checked there, too.
        let bytes = postcard::to_stdvec("a\nb").unwrap();
        assert!(postcard::from_bytes::<Text>(&bytes).is_err());
    }
}
