//! Distinguished names as text (RFC 4514).
#![forbid(unsafe_code)]

use std::fmt::Write;

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier};
use x509_cert::der::{Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::name::Name;

/// A distinguished name as text: its last part first (RFC 4514 §2.1).
pub(super) fn text(name: &Name) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The common name; `None` if there is none, or more than one.
pub(super) fn common_name(name: &Name) -> Option<String> {
    let mut names = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    match (names.next(), names.next()) {
        (Some(only), None) => value(only),
        _ => None,
    }
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let known = KNOWN.iter().find(|(oid, _)| *oid == attribute.oid);
    match (known, value(attribute)) {
        (Some((_, name)), Some(value)) => format!("{name}={}", escaped(&value)),
        // "a '#' character … followed by the hexadecimal representation of each of the octets of the BER
        // encoding of the X.500 AttributeValue" (§2.4)
        _ => {
            let der = attribute.value.to_der().unwrap_or_default();
            let digits = base16ct::lower::encode_string(&der);
            format!("{}=#{digits}", attribute.oid)
        }
    }
}

/// The value; `None`: it is no string.
fn value(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    match value.tag() {
        Tag::Ia5String => {
            let text = Ia5StringRef::try_from(value).ok()?;
            Some(text.as_str().to_owned())
        }
        _ => {
            let text = DirectoryString::try_from(value).ok()?;
            Some(text.value().into_owned())
        }
    }
}

/// A value with the escapes of §2.4. Control characters need no escape there, so they stay, and a caller
/// that refuses them finds them.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (place, letter) in value.chars().enumerate() {
        let special = match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => place == 0,
            ' ' => place == 0 || place == last,
            _ => false,
        };
        let _ = match special {
            true => write!(text, "\\{letter}"),
            false => write!(text, "{letter}"),
        };
    }
    text
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The table of RFC 4514 §3, and other attributes of certificates by OpenSSL's names.
const KNOWN: [(ObjectIdentifier, &str); 14] = [
    (COMMON_NAME, "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.9"), "street"),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"),
        "DC",
    ),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
        "UID",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"),
        "emailAddress",
    ),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "serialNumber"),
    (ObjectIdentifier::new_unwrap("2.5.4.4"), "SN"),
    (ObjectIdentifier::new_unwrap("2.5.4.42"), "GN"),
    (ObjectIdentifier::new_unwrap("2.5.4.12"), "title"),
];

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn names_are_written_as_in_rfc_4514() {
        for same in [
            "CN=alice",
            "CN=alice,OU=Sales,O=Example\\, Inc.,C=CH",
            "OU=Sales+CN=J. Smith,DC=example,DC=net",
            "CN=\\ leading\\, \\\"quoted\\\"\\ ",
            "CN=\\#hash #inside",
            "CN=Lu\u{10d}i\u{107}",
            "UID=jsmith,emailAddress=a@example.com",
        ] {
            let name = Name::from_str(same).unwrap();
            let mut parts: Vec<String> = text(&name).split('+').map(str::to_owned).collect();
            let mut expected: Vec<String> = same.split('+').map(str::to_owned).collect();
            // DER orders the parts of a set.
            if same.contains('+') {
                parts = text(&name).split(['+', ',']).map(str::to_owned).collect();
                expected = same.split(['+', ',']).map(str::to_owned).collect();
                parts.sort();
                expected.sort();
            }
            assert_eq!(parts, expected);
        }
        assert_eq!(text(&Name::default()), "");
    }

    #[test]
    fn unknown_attributes_and_values_that_are_no_strings_are_shown_in_hexadecimal() {
        let name = Name::from_str("1.3.6.1.4.1.1466.0=#04024869").unwrap();
        assert_eq!(text(&name), "1.3.6.1.4.1.1466.0=#04024869");
        let name = Name::from_str("CN=#0203010001").unwrap();
        assert_eq!(text(&name), "2.5.4.3=#0203010001");
        assert_eq!(common_name(&name), None);
    }

    #[test]
    fn a_common_name_counts_only_if_there_is_exactly_one() {
        let name = |text| Name::from_str(text).unwrap();
        assert_eq!(common_name(&name("CN=a,O=x")), Some("a".to_owned()));
        assert_eq!(common_name(&name("CN=a,CN=b")), None);
        assert_eq!(common_name(&name("CN=a+CN=b")), None);
        assert_eq!(common_name(&name("O=x")), None);
    }
}
