//! The ClientHello as one line of the trace (`-D`).
#![forbid(unsafe_code)]

use std::fmt;

use super::hello::ClientHello;
use super::names::suite_name;

/// `versions=TLSv1.3,TLSv1.2 name=example.com alpn=h2 suites=… groups=… shares=…`, then `psk=` the number of
/// identities and `ticket` where there are any. Fields that the client did not send are left out; long lists are
/// cut.
impl fmt::Display for ClientHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |v: rustls::ProtocolVersion| match v.as_str() {
            Some(name) => name.replace('_', "."),
            None => number(v.into()),
        };
        let versions = match &self.supported_versions[..] {
            [] => std::slice::from_ref(&self.legacy_version),
            versions => versions,
        };
        write!(f, "versions=")?;
        list(f, versions.iter().copied().map(version))?;
        if let Some(name) = &self.server_name {
            write!(f, " name={name}")?;
        }
        if let Some(name) = &self.unfit_name {
            write!(f, " name={name}")?;
        }
        if !self.alpn.is_empty() {
            write!(f, " alpn=")?;
            list(
                f,
                self.alpn.iter().map(|name| name.escape_ascii().to_string()),
            )?;
        }
        write!(f, " suites=")?;
        list(
            f,
            (self.cipher_suites.iter().map(|suite| u16::from(*suite)))
                .map(|suite| suite_name(suite).unwrap_or_else(|| number(suite))),
        )?;
        for (what, groups) in [("groups", &self.groups), ("shares", &self.key_shares)] {
            if !groups.is_empty() {
                write!(f, " {what}=")?;
                list(f, groups.iter().map(|group| named(group.as_str(), *group)))?;
            }
        }
        if !self.signature_schemes.is_empty() {
            write!(f, " signatures=")?;
            let schemes = self.signature_schemes.iter();
            list(f, schemes.map(|scheme| named(scheme.as_str(), *scheme)))?;
        }
        if !self.psk_identities.is_empty() {
            write!(f, " psk={}", self.psk_identities.iter().count())?;
        }
        if self.session_ticket {
            write!(f, " ticket")?;
        }
        Ok(())
    }
}

fn named(name: Option<&str>, code: impl Into<u16>) -> String {
    name.map_or_else(|| number(code.into()), str::to_owned)
}

fn number(code: u16) -> String {
    format!("{code:#06x}")
}

/// The first items, separated by commas, and the number of the others.
fn list(f: &mut fmt::Formatter<'_>, mut items: impl Iterator<Item = String>) -> fmt::Result {
    for (i, item) in items.by_ref().take(SHOWN).enumerate() {
        let comma = if i > 0 { "," } else { "" };
        write!(f, "{comma}{item}")?;
    }
    match items.count() {
        0 => Ok(()),
        more => write!(f, ",+{more}"),
    }
}

/// Maximum number of items shown of a list. Browsers send some sixteen suites, OpenSSL thirty.
const SHOWN: usize = 40;
