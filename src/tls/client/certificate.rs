//! A parsed client certificate: fields for the log and the command, and fields that rules compare.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::crl::Scoped;
use super::name;
use crate::types::{ClientCertificate, Text};

/// A client's certificate, parsed but not verified.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The fields for the log and for the command.
    pub info: ClientCertificate,
    /// The subject's common name, if it has one and no other.
    pub(super) common_name: Option<String>,
    /// The entries of subjectAltName, by kind.
    pub(super) dns_names: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) emails: Vec<String>,
    /// Its `SubjectPublicKeyInfo`, and the SHA-256 hash of that.
    pub(super) key: SubjectPublicKeyInfoDer<'static>,
    pub(super) spki: [u8; 32],
    /// Its validity, in seconds since 1970, both ends included.
    pub(super) valid: RangeInclusive<u64>,
    /// Whether its extended key usage, if it has one, includes clients.
    pub(super) for_clients: bool,
    /// Name of the issuer and serial number: the contents of their DER.
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
    /// The URIs of its CRL distribution points; `None`: it has none.
    pub(super) points: Option<Vec<String>>,
}

/// A certificate that does not follow RFC 5280.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Certificate {
    /// Parses DER strictly. Errors: the certificate does not follow RFC 5280; bytes follow it, for example, or an
    /// extension is there twice.
    pub fn parse(der: &[u8]) -> Result<Self, Unreadable> {
        let certificate = x509_cert::Certificate::from_der(der).map_err(|_| Unreadable)?;
        let tbs = certificate.tbs_certificate();
        let alternatives = tbs
            .get_extension::<SubjectAltName>()
            .map_err(|_| Unreadable)?
            .map(|(_, names)| names.0)
            .unwrap_or_default();
        let usage = tbs
            .get_extension::<ExtendedKeyUsage>()
            .map_err(|_| Unreadable)?;
        let key = tbs.subject_public_key_info().to_der();
        let key = key.map_err(|_| Unreadable)?;
        let issuer = tbs.issuer().to_der().map_err(|_| Unreadable)?;
        let issuer = AnyRef::from_der(&issuer).map_err(|_| Unreadable)?;
        let (mut dns_names, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        for alternative in &alternatives {
            match alternative {
                GeneralName::DnsName(name) => dns_names.push(name.as_str().to_owned()),
                GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.as_str().to_owned()),
                GeneralName::Rfc822Name(email) => emails.push(email.as_str().to_owned()),
                _ => {}
            }
        }
        let common_name = name::common_name(tbs.subject());
        let validity = tbs.validity();
        let info = ClientCertificate {
            sha256: sha256(der),
            only_key: None,
            subject: distinguished(tbs.subject()),
            issuer: distinguished(tbs.issuer()),
            common_name: common_name.clone().and_then(|name| name.try_into().ok()),
            serial: serial(tbs.serial_number().as_bytes())?,
            not_before: date(validity.not_before.to_date_time())?,
            not_after: date(validity.not_after.to_date_time())?,
            dns_names: within_limits(&dns_names),
            der: (der.len() <= ClientCertificate::MAX_DER).then(|| der.to_vec()),
        };
        Ok(Self {
            info,
            common_name,
            dns_names,
            uris,
            emails,
            spki: sha256(&key),
            key: key.into(),
            valid: seconds(validity.not_before)..=seconds(validity.not_after),
            for_clients: usage.is_none_or(|(_, usage)| usage.0.contains(&CLIENT_AUTH)),
            issuer: issuer.value().to_vec(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            points: Scoped::points(tbs.extensions()),
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a certificate as RFC 5280 has it")
    }
}

impl std::error::Error for Unreadable {}

/// The dNSName entries. `None`: they exceed a limit, or one is not a [`Text`].
fn within_limits(names: &[String]) -> Option<Vec<Text>> {
    let bytes: usize = names.iter().map(String::len).sum();
    let few = names.len() <= ClientCertificate::MAX_DNS_NAMES
        && bytes <= ClientCertificate::MAX_DNS_BYTES;
    let names = names.iter().filter(|_| few).cloned().map(Text::try_from);
    let names = names.collect::<Result<_, _>>().ok();
    names.filter(|_| few)
}

fn distinguished(name: &Name) -> Option<Text> {
    name::text(name).try_into().ok()
}

/// As OpenSSL prints it: two digits for each byte, in upper case.
fn serial(bytes: &[u8]) -> Result<Text, Unreadable> {
    let significant = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let digits = base16ct::upper::encode_string(significant);
    digits.try_into().map_err(|_| Unreadable)
}

/// As OpenSSL prints it, and `mod_ssl` with it: `Nov  1 07:00:00 2026 GMT`.
fn date(date: DateTime) -> Result<Text, Unreadable> {
    let month = MONTHS.get(usize::from(date.month()).saturating_sub(1));
    let text = format!(
        "{} {:2} {:02}:{:02}:{:02} {} GMT",
        month.ok_or(Unreadable)?,
        date.day(),
        date.hour(),
        date.minutes(),
        date.seconds(),
        date.year()
    );
    text.try_into().map_err(|_| Unreadable)
}

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// `id-kp-clientAuth` (RFC 5280 §4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2026, 11, 1);
        params.not_after = date_time_ymd(2051, 2, 28);
        params.serial_number = Some(vec![0x00, 0xa1, 0x02].into());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn fields_are_formatted_as_by_openssl() {
        let der = made(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Example, Inc.");
            name.push(DnType::CommonName, "alice");
            params.subject_alt_names = vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
                SanType::DnsName("b.example".try_into().unwrap()),
            ];
        });
        let certificate = Certificate::parse(&der).unwrap();
        let info = &certificate.info;
        let text = |text: &Option<Text>| text.as_ref().unwrap().as_str().to_owned();
        assert_eq!(text(&info.subject), "CN=alice,O=Example\\, Inc.");
        assert_eq!(text(&info.issuer), "CN=alice,O=Example\\, Inc.");
        assert_eq!(text(&info.common_name), "alice");
        assert_eq!(info.serial.as_str(), "A102");
        assert_eq!(info.not_before.as_str(), "Nov  1 00:00:00 2026 GMT");
        assert_eq!(info.not_after.as_str(), "Feb 28 00:00:00 2051 GMT");
        assert_eq!(certificate.dns_names, ["a.example", "b.example"]);
        assert_eq!(certificate.emails, ["alice@example.com"]);
        assert_eq!(info.dns_names.as_ref().unwrap().len(), 2);
        assert_eq!(info.left_out(), Vec::<String>::new());
        assert_eq!(info.hash().len(), "SHA256:".len() + 64);
    }

    #[test]
    fn fields_that_are_too_long_or_have_control_characters_are_left_out() {
        let der = made(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(DnType::CommonName, "a\nSSL_CLIENT_VERIFY=x");
            params.subject_alt_names = (0..=ClientCertificate::MAX_DNS_NAMES)
                .map(|n| SanType::DnsName(format!("n{n}.example").try_into().unwrap()))
                .collect();
        });
        let info = Certificate::parse(&der).unwrap().info;
        assert_eq!(info.subject, None);
        assert_eq!(info.common_name, None);
        assert_eq!(info.dns_names, None);
        assert_eq!(info.identity(), info.hash());
        let left_out = info.left_out();
        assert_eq!(left_out.len(), 3, "{left_out:?}");
        assert!(left_out[0].starts_with("SSL_CLIENT_S_DN is left out: it is longer than"));
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_is_refused_or_its_fields_keep_to_the_limits(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = made(|params| {
                params.distinguished_name.push(DnType::CommonName, "alice");
                params.subject_alt_names =
                    vec![SanType::DnsName("a.example".try_into().unwrap())];
            });
            let mut der = whole.clone();
            for (place, byte) in changes {
                *place.get_mut(&mut der) = byte;
            }
            if let Ok(certificate) = Certificate::parse(&der) {
                let info = postcard::to_stdvec(&certificate.info).unwrap();
                let same: ClientCertificate = postcard::from_bytes(&info).unwrap();
                prop_assert_eq!(same, certificate.info);
            }
            let cut = cut.index(whole.len());
            prop_assert!(Certificate::parse(&whole[..cut]).is_err());
        }
    }
}
