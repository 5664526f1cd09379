//! Doubts about the chain of a server's certificate: its order, and gaps in it.
#![forbid(unsafe_code)]

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::OctetString;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier};
use x509_cert::name::Name;

/// Subject of a certificate as text (RFC 4514) in quotation marks, for a message.
pub(super) fn subject(der: &[u8]) -> String {
    match Certificate::from_der(der) {
        Ok(certificate) => quoted(certificate.tbs_certificate().subject()),
        Err(_) => "a certificate that cannot be read".into(),
    }
}

/// Doubts about a chain whose certificates have these lines. Where a certificate cannot be read, there are none.
///
/// "Each following certificate SHOULD directly certify the one immediately preceding it." (RFC 8446 §4.4.2)
pub(super) fn doubts(chain: &[(usize, CertificateDer<'_>)]) -> Vec<String> {
    let (mut links, mut doubts): (Vec<Link>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, (line, der)) in chain.iter().enumerate() {
        let mut before = chain.iter().take(index);
        if let Some((first, _)) = before.find(|(_, other)| other == der) {
            doubts.push(format!(
                "line {line}: the certificate of line {first} again"
            ));
            continue;
        }
        let Some(link) = Link::new(*line, der) else {
            return Vec::new();
        };
        links.push(link);
    }
    doubts.extend(order(&links));
    doubts
}

/// Doubts about the order of different certificates, and about those that are missing or too many.
fn order(links: &[Link]) -> Vec<String> {
    let Some(leaf) = links.first() else {
        return Vec::new();
    };
    let mut doubts = Vec::new();
    let mut path = vec![leaf];
    let mut top = leaf;
    while !top.has_issued(top) {
        let mut others = links.iter().filter(|link| !path.contains(link));
        // Where several could be the issuer, it is the one that stands in the right place.
        let after = others.clone().filter(|link| link.line > top.line);
        let Some(issuer) = after
            .chain(others.clone())
            .find(|link| link.has_issued(top))
        else {
            let beyond = others.any(|link| link.is_authority);
            if path.len() == 1 || beyond {
                doubts.push(missing(top, links));
            }
            break;
        };
        if issuer.line < top.line {
            doubts.push(format!(
                "line {}: {} stands before {}, which it has issued: an issuer comes after what it has issued",
                issuer.line,
                quoted(&issuer.subject),
                quoted(&top.subject)
            ));
        }
        path.push(issuer);
        top = issuer;
    }
    let complete = top.has_issued(top);
    for link in links.iter().filter(|link| !path.contains(link)) {
        let issued_another = path.iter().any(|other| link.has_issued(other));
        if !issued_another && (complete || !link.is_authority) {
            doubts.push(format!(
                "line {}: {} is not of this chain: it has issued none of the others",
                link.line,
                quoted(&link.subject)
            ));
        }
    }
    doubts
}

/// Doubt about a chain without the issuer of one of its certificates.
fn missing(link: &Link, links: &[Link]) -> String {
    let (subject, issuer) = (quoted(&link.subject), quoted(&link.issuer));
    let mut others = links.iter();
    match others.find(|other| other.subject == link.issuer) {
        Some(other) => format!(
            "the issuer of {subject}, {issuer}, is missing in it: the one in line {} has another key",
            other.line
        ),
        None => format!(
            "the issuer of {subject}, {issuer}, is missing in it: clients that do not have that one \
             refuse the certificate; append it"
        ),
    }
}

/// A certificate, as far as its place in a chain is concerned.
#[derive(PartialEq)]
struct Link {
    line: usize,
    subject: Name,
    issuer: Name,
    /// Identifier of its own key, and of that of its issuer.
    key: Option<OctetString>,
    issuer_key: Option<OctetString>,
    is_authority: bool,
}

impl Link {
    /// `None`: the certificate cannot be read.
    fn new(line: usize, der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        let key = fields.get_extension::<SubjectKeyIdentifier>().ok()?;
        let issuer_key = fields.get_extension::<AuthorityKeyIdentifier>().ok()?;
        let constraints = fields.get_extension::<BasicConstraints>().ok()?;
        Some(Self {
            line,
            subject: fields.subject().clone(),
            issuer: fields.issuer().clone(),
            key: key.map(|(_, id)| id.0),
            issuer_key: issuer_key.and_then(|(_, id)| id.key_identifier),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
        })
    }

    /// Whether it has issued another certificate, by the names, and by the identifiers of keys where both are there.
    fn has_issued(&self, other: &Self) -> bool {
        let same_key = match (&self.key, &other.issuer_key) {
            (Some(key), Some(issuer_key)) => key == issuer_key,
            _ => true,
        };
        self.subject == other.issuer && same_key
    }
}

fn quoted(name: &Name) -> String {
    format!("{:?}", name.to_string())
}
