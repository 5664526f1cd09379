//! Checks `min-version`, `suites`, `kx-groups` and `max-fragment`.
#![forbid(unsafe_code)]

use rustls::{NamedGroup, ProtocolVersion};
use toml::Spanned;

use crate::config::text::problems::Problems;
use crate::config::text::raw_host::RawHost;
use crate::config::text::reader::within;
use crate::tls::names::suite_name;
use crate::tls::profile::{MAX_FRAGMENT, Profile, Version};
use crate::tls::provider::provider;
use crate::tls::psk::{self, Modes};

/// TLS parameters of a host. `None`: there is an error, which is reported.
pub(in crate::config) fn profile(raw: &RawHost, problems: &mut Problems) -> Option<Profile> {
    let suites = suites(raw, problems);
    let groups = groups(raw, problems);
    let fragment = raw.max_fragment.as_ref();
    let max_fragment = within(fragment, 64, MAX_FRAGMENT as u64, problems);
    Some(Profile {
        min_version: raw.min_version.unwrap_or_default(),
        suites: suites?,
        groups: groups?,
        max_fragment: max_fragment.unwrap_or(MAX_FRAGMENT),
    })
}

fn suites(raw: &RawHost, problems: &mut Problems) -> Option<Option<Vec<u16>>> {
    let Some(list) = &raw.suites else {
        return Some(None);
    };
    let for_certificates = match raw.cert {
        Some(_) => certificate_suites(),
        None => Vec::new(),
    };
    let for_keys = match raw.psk {
        Some(_) => psk::suites(modes(raw)).collect(),
        None => Vec::new(),
    };
    let mut known = for_certificates.clone();
    known.extend(
        for_keys
            .iter()
            .filter(|suite| !for_certificates.contains(suite)),
    );
    let known: Vec<_> = (known.into_iter())
        .filter_map(|suite| Some((name(suite)?, suite.0)))
        .collect();
    // The log has the names of IANA, while rustls writes TLS13_ in the names of TLS 1.3 suites.
    let same = |known: &str, found: &str| {
        let iana = known.replacen("TLS13_", "TLS_", 1);
        [known, &iana, &openssl_suite(&iana)]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(found))
    };
    let chosen = choose("suite", list, &known, same, problems)?;

    let least = raw.min_version.unwrap_or_default();
    for (suites, whose) in [
        (for_certificates, "certificates"),
        (for_keys, "pre-shared keys"),
    ] {
        let usable = |(id, version): &(u16, Version)| *version >= least && chosen.contains(id);
        if !suites.is_empty() && !suites.iter().any(usable) {
            let with = match least {
                Version::Tls12 => "",
                Version::Tls13 => " and TLS 1.3",
            };
            let message = format!("no suite for {whose}{with} in it");
            problems.error(list.span(), message);
            return None;
        }
    }
    Some(Some(chosen))
}

fn groups(raw: &RawHost, problems: &mut Problems) -> Option<Option<Vec<u16>>> {
    let Some(list) = &raw.kx_groups else {
        return Some(None);
    };
    let known = kx_groups();
    choose("group", list, &known, same_group, problems).map(Some)
}

/// Values of the names in a list, of which `known` has all. A string may have several names with colons between them,
/// as openssl writes them. `None`: a name is unknown, and reported.
fn choose(
    what: &str,
    list: &Spanned<Vec<Spanned<String>>>,
    known: &[(String, u16)],
    same: impl Fn(&str, &str) -> bool,
    problems: &mut Problems,
) -> Option<Vec<u16>> {
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    if list.get_ref().is_empty() {
        let message = format!("no {what}: known are {names}");
        problems.error(list.span(), message);
        return None;
    }
    let mut chosen = Some(Vec::new());
    let parts = |names: &'_ Spanned<String>| {
        let span = names.span();
        let names: Vec<String> = names.get_ref().split(':').map(str::to_owned).collect();
        names.into_iter().map(move |name| (name, span.clone()))
    };
    for (name, span) in list.get_ref().iter().flat_map(parts) {
        let found = known.iter().find(|(known, _)| same(known, &name));
        match found {
            Some((_, id)) => chosen.iter_mut().for_each(|chosen| chosen.push(*id)),
            None => {
                let message = format!("unable to use {what} {name:?}: known are {names}");
                problems.error(span, message);
                chosen = None;
            }
        }
    }
    chosen
}

/// PSK key exchanges without (EC)DHE that a host allows.
pub(in crate::config) fn modes(raw: &RawHost) -> Modes {
    Modes {
        psk_ke: raw.psk_only_ke.unwrap_or(false),
        plain_psk: raw.psk_plain.unwrap_or(false),
    }
}

/// Whether this is the name of a key-exchange group.
pub(in crate::config) fn is_kx_group(name: &str) -> bool {
    let groups = kx_groups();
    groups.iter().any(|(known, _)| same_group(known, name))
}

/// Whether a name is that of a group: its own, or one of openssl's.
fn same_group(known: &str, found: &str) -> bool {
    let also: &[&str] = match known {
        "secp256r1" => &["P-256", "prime256v1"],
        "secp384r1" => &["P-384"],
        _ => &[],
    };
    (also.iter().chain([&known])).any(|known| known.eq_ignore_ascii_case(found))
}

/// Name of a suite of TLS 1.2 as openssl spells it: `ECDHE-RSA-AES256-GCM-SHA384`.
fn openssl_suite(iana: &str) -> String {
    let name = iana.replacen("TLS_", "", 1).replacen("_WITH_", "_", 1);
    let name = name.replacen("AES_", "AES", 1).replace('_', "-");
    name.replacen("POLY1305-SHA256", "POLY1305", 1)
}

/// Names and values of the key-exchange groups.
fn kx_groups() -> Vec<(String, u16)> {
    let provider = provider();
    let groups = provider.kx_groups.iter().map(|group| group.name());
    groups
        .filter_map(|group| Some((group.as_str()?.to_owned(), NamedGroup::into(group))))
        .collect()
}

/// Cipher suites for certificates, with their TLS version.
fn certificate_suites() -> Vec<(u16, Version)> {
    let version = |suite: &rustls::SupportedCipherSuite| match suite.version().version {
        ProtocolVersion::TLSv1_3 => Version::Tls13,
        _ => Version::Tls12,
    };
    let provider = provider();
    let suites = provider.cipher_suites.iter();
    suites
        .map(|suite| (suite.suite().into(), version(suite)))
        .collect()
}

/// Name of a suite as rustls spells it.
fn name((id, version): (u16, Version)) -> Option<String> {
    let name = suite_name(id)?;
    Some(match version {
        Version::Tls13 => name.replacen("TLS_", "TLS13_", 1),
        Version::Tls12 => name,
    })
}
