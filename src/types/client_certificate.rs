//! What is told of a client's certificate: a stranger's text, without control characters and bounded.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stranger's text as a variable and a log line may have it: no control characters, and no more than
/// [`Text::MAX`] bytes. Empty is a text, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// A text that is too long, or has control characters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidText;

impl Text {
    /// The longest, in bytes.
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

/// A certificate that a client has shown, and whose key it has shown to have.
///
/// `None`: left out, because it is no [`Text`], or too much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The SHA-256 hash of all of it.
    pub sha256: [u8; 32],
    /// The subject's distinguished name (RFC 4514).
    pub subject: Option<Text>,
    /// The issuer's.
    pub issuer: Option<Text>,
    /// The subject's common name, if it has one and no other.
    pub common_name: Option<Text>,
    /// The serial number in hexadecimal digits.
    pub serial: Text,
    /// The first moment of its validity, as `mod_ssl` writes it: `Nov 21 07:00:00 2026 GMT`.
    pub not_before: Text,
    /// The last one.
    pub not_after: Text,
    /// The dNSName entries of subjectAltName, in their order.
    pub dns_names: Option<Vec<Text>>,
    /// The whole of it, in DER.
    pub der: Option<Vec<u8>>,
}

impl ClientCertificate {
    /// The most dNSName entries that are told.
    pub const MAX_DNS_NAMES: usize = 64;
    /// The most bytes that these may have together.
    pub const MAX_DNS_BYTES: usize = 16 * 1024;
    /// The longest certificate that is told, in bytes of DER.
    pub const MAX_DER: usize = 16 * 1024;

    /// `SHA256:` and its hash in hexadecimal digits.
    pub fn hash(&self) -> String {
        self.sha256.iter().fold("SHA256:".to_owned(), |hash, byte| {
            format!("{hash}{byte:02x}")
        })
    }

    /// Who it is of, for the log: the subject; the hash where there is none that can be told.
    pub fn identity(&self) -> String {
        match &self.subject {
            Some(subject) if !subject.as_str().is_empty() => subject.as_str().to_owned(),
            _ => self.hash(),
        }
    }

    /// The certificate in PEM (RFC 7468), lines of 64 characters.
    pub fn pem(&self) -> Option<String> {
        let base64 = base64(self.der.as_ref()?);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in base64.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        Some(pem)
    }

    /// The variables that are left out, and why.
    pub fn left_out(&self) -> Vec<String> {
        let text = format!("is {InvalidText}");
        let names = format!(
            "is one of more than {} names or {} bytes, or {InvalidText}",
            Self::MAX_DNS_NAMES,
            Self::MAX_DNS_BYTES
        );
        let long = format!("is longer than {} bytes of DER", Self::MAX_DER);
        [
            (self.subject.is_none(), "SSL_CLIENT_S_DN", &text),
            (self.issuer.is_none(), "SSL_CLIENT_I_DN", &text),
            (self.dns_names.is_none(), "SSL_CLIENT_SAN_DNS_0", &names),
            (self.der.is_none(), "SSL_CLIENT_CERT", &long),
        ]
        .into_iter()
        .filter(|(left_out, ..)| *left_out)
        .map(|(_, name, why)| format!("{name} is left out: it {why}"))
        .collect()
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            let letter = ALPHABET.get(digit).copied().unwrap_or(b'=');
            text.push(match place <= chunk.len() {
                true => char::from(letter),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
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
