//! Versions that a ClientHello offers (RFC 8446 §4.2.1), and why a host that speaks others refuses it.
#![forbid(unsafe_code)]

use rustls::ProtocolVersion;

use super::ClientHello;
use crate::tls::profile::Version;

impl ClientHello {
    /// Why a server that speaks these versions, lowest first, refuses the client; `None`: they have one in common.
    ///
    /// The alert is `protocol_version`: "The protocol version the peer has attempted to negotiate is recognized but
    /// not supported" (RFC 8446 §6.2).
    pub fn refused_version(&self, spoken: &[Version]) -> Option<String> {
        if spoken.iter().any(|version| self.offers(*version)) {
            return None;
        }
        let needed: Vec<&str> = spoken.iter().map(|version| version.name()).collect();
        let needed = needed.join(" or ");
        let lowest = spoken.first().map_or(0, |version| version.number());
        Some(match self.highest_version() {
            None => {
                format!("the client offers no version of TLS that is known: {needed} is needed")
            }
            Some(highest) if highest < lowest => {
                let highest = name(highest);
                format!("the client offers {highest} at most: {needed} is needed")
            }
            Some(_) => format!("the client does not offer {needed}, which is needed"),
        })
    }

    /// Whether the client offers a version, as TLS implementations choose it. "If this extension is not present,
    /// servers which are compliant with this specification and which also support TLS 1.2 MUST negotiate TLS 1.2 or
    /// prior […], even if `ClientHello.legacy_version` is 0x0304 or later." (RFC 8446 §4.2.1)
    fn offers(&self, version: Version) -> bool {
        match &self.supported_versions[..] {
            [] => version == Version::Tls12 && u16::from(self.legacy_version) >= version.number(),
            list => list.contains(&version.number().into()),
        }
    }

    /// The highest version of TLS or SSL that the client offers. Unknown values do not count, GREASE (RFC 8701) among
    /// them.
    fn highest_version(&self) -> Option<u16> {
        let known = |number: &u16| KNOWN.contains(number);
        match &self.supported_versions[..] {
            [] => Some(u16::from(self.legacy_version).min(Version::Tls12.number())).filter(known),
            list => list
                .iter()
                .map(|version| u16::from(*version))
                .filter(known)
                .max(),
        }
    }
}

impl Version {
    /// `ProtocolVersion`
    fn number(self) -> u16 {
        match self {
            Self::Tls12 => ProtocolVersion::TLSv1_2.into(),
            Self::Tls13 => ProtocolVersion::TLSv1_3.into(),
        }
    }

    fn name(self) -> &'static str {
        name(self.number())
    }
}

/// A version that is [`KNOWN`], as people write it.
fn name(version: u16) -> &'static str {
    match version {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        _ => "TLS 1.3",
    }
}

/// SSL 3.0 to TLS 1.3.
const KNOWN: std::ops::RangeInclusive<u16> = 0x0300..=0x0304;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hello::{ProtocolNames, PskIdentities};

    fn hello(legacy: u16, supported: &[u16]) -> ClientHello {
        ClientHello {
            server_name: None,
            unfit_name: None,
            alpn: ProtocolNames::default(),
            legacy_version: legacy.into(),
            supported_versions: supported.iter().map(|version| (*version).into()).collect(),
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            key_shares: Vec::new(),
            signature_schemes: Vec::new(),
            psk_identities: PskIdentities::default(),
            session_ticket: false,
        }
    }

    const BOTH: &[Version] = &[Version::Tls12, Version::Tls13];

    #[test]
    fn a_client_with_a_version_in_common_is_not_refused() {
        for (legacy, supported, spoken) in [
            (0x0303, &[][..], BOTH),
            (0x0304, &[], BOTH),
            (0x0399, &[], &[Version::Tls12]),
            (0x0303, &[0x0304, 0x0303], &[Version::Tls12]),
            (0x0301, &[0x2a2a, 0x0304], &[Version::Tls13]),
        ] {
            let refused = hello(legacy, supported).refused_version(spoken);
            assert_eq!(refused, None, "{legacy:#06x} {supported:04x?}");
        }
    }

    #[test]
    fn a_refusal_names_the_version_that_the_client_offers() {
        let most = |version: &str, needed: &str| {
            format!("the client offers {version} at most: {needed} is needed")
        };
        let both = "TLS 1.2 or TLS 1.3";
        for (legacy, supported, spoken, reason) in [
            (0x0300, &[][..], BOTH, most("SSL 3.0", both)),
            (0x0301, &[], BOTH, most("TLS 1.0", both)),
            (0x0302, &[], BOTH, most("TLS 1.1", both)),
            (0x0303, &[0x0302, 0x0301], BOTH, most("TLS 1.1", both)),
            (0x0303, &[0xfafa, 0x0301], BOTH, most("TLS 1.0", both)),
            (0x0303, &[], &[Version::Tls13], most("TLS 1.2", "TLS 1.3")),
            (0x0304, &[], &[Version::Tls13], most("TLS 1.2", "TLS 1.3")),
            (
                0x0303,
                &[0x0304],
                &[Version::Tls12],
                "the client does not offer TLS 1.2, which is needed".into(),
            ),
            (
                0x0303,
                &[0x1a1a, 0x7f1c],
                BOTH,
                format!("the client offers no version of TLS that is known: {both} is needed"),
            ),
            (
                0x0002,
                &[],
                BOTH,
                format!("the client offers no version of TLS that is known: {both} is needed"),
            ),
        ] {
            let refused = hello(legacy, supported).refused_version(spoken);
            assert_eq!(refused.as_deref(), Some(&reason[..]));
        }
    }
}
