//! Files that are not PEM: what they are, and the command that converts them.
#![forbid(unsafe_code)]

/// What a file without PEM sections is, and the command that makes PEM of it. `None`: it is nothing known.
pub(super) fn hint(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"\xfe\xed\xfe\xed") {
        return Some(
            "it is a keystore of Java, not PEM: \"keytool -importkeystore -srckeystore FILE \
             -destkeystore NEW.p12 -deststoretype PKCS12\" makes PKCS#12 of it"
                .into(),
        );
    }
    let (what, command) = match kind(bytes)? {
        Kind::Pkcs12 => ("PKCS#12", "openssl pkcs12 -in FILE -nodes -out NEW"),
        Kind::Certificate => ("DER", "openssl x509 -inform DER -in FILE -out NEW"),
        Kind::Key => ("DER", "openssl pkey -inform DER -in FILE -out NEW"),
        Kind::EncryptedKey => ("DER", "openssl pkcs8 -topk8 -inform DER -in FILE -out NEW"),
        Kind::Pkcs7 => (
            "PKCS#7",
            "openssl pkcs7 -inform DER -print_certs -in FILE -out NEW",
        ),
        Kind::Crl => ("DER", "openssl crl -inform DER -in FILE -out NEW"),
        Kind::Request => {
            return Some("it is a certificate request: a CA makes a certificate of it".into());
        }
        Kind::Other => return Some("it is DER of another kind, not PEM".into()),
    };
    Some(format!("it is {what}, not PEM: \"{command}\" converts it"))
}

/// Whether a file is DER, or at least looks more like it than like text.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    kind(bytes).is_some()
}

/// Kind of a file in DER or BER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `PFX` (RFC 7292 §4).
    Pkcs12,
    /// `Certificate` (RFC 5280 §4.1).
    Certificate,
    /// `PrivateKeyInfo` (RFC 5208 §5), `RSAPrivateKey` (RFC 8017 §A.1.2) or `ECPrivateKey` (RFC 5915 §3).
    Key,
    /// `EncryptedPrivateKeyInfo` (RFC 5208 §6).
    EncryptedKey,
    /// `ContentInfo` of `signedData` (RFC 5652 §3).
    Pkcs7,
    /// `CertificateList` (RFC 5280 §5.1).
    Crl,
    /// `CertificationRequest` (RFC 2986 §4.2).
    Request,
    /// Anything else that is a SEQUENCE.
    Other,
}

/// Kind of a file, by the first fields of its SEQUENCE; `None`: it is not DER.
fn kind(bytes: &[u8]) -> Option<Kind> {
    let fields = sequence(bytes)?;
    // Text that begins with 0, which is the tag of a SEQUENCE, has no such bytes.
    if !bytes.iter().any(|byte| *byte < b'\t') {
        return None;
    }
    Some(match fields {
        [2, 1, 3, SEQUENCE, ..] => Kind::Pkcs12,
        [2, 1, 0 | 1, SEQUENCE, ..] | [2, 1, 0, 2, ..] | [2, 1, 1, 4, ..] => Kind::Key,
        [6, rest @ ..]
            if rest
                .get(1..)
                .is_some_and(|oid| oid.starts_with(SIGNED_DATA)) =>
        {
            Kind::Pkcs7
        }
        _ => match sequence(fields) {
            // The version of an X.509 certificate, or the serial number of an old one.
            Some([0xa0, 3, 2, 1, ..]) => Kind::Certificate,
            Some([6, ..]) => Kind::EncryptedKey,
            Some([2, 1, 0, SEQUENCE, ..]) => Kind::Request,
            Some([2, 1, 1, SEQUENCE, ..]) => Kind::Crl,
            Some([2, ..]) => Kind::Certificate,
            _ => Kind::Other,
        },
    })
}

/// Contents of a SEQUENCE, whose length may be indefinite, as in BER, and what follows it.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [SEQUENCE, length, rest @ ..] if *length <= 0x80 => Some(rest),
        [SEQUENCE, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

/// Tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;
/// `id-signedData` (RFC 5652 §5.1), without its tag and length.
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
