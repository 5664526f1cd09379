//! Keys of a `[[host]]` about client certificates, and `allow`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::run_as::UserFrom;
use crate::config::text::problems::Problems;
use crate::config::text::reader::{FromToml, OneOrMore, TableReader, wrong_type};
use crate::tls::client::Demand;

/// Values of the keys of a host about client certificates, and of `allow`.
pub(in crate::config) struct RawClients {
    pub(in crate::config) demand: Option<Spanned<Demand>>,
    pub(in crate::config) ca: Option<Spanned<OneOrMore>>,
    pub(in crate::config) crl: Option<Spanned<OneOrMore>>,
    pub(in crate::config) allow: Option<Spanned<Vec<Spanned<RawAllowed>>>>,
    pub(in crate::config) users: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
}

/// One entry of `allow`: a table of one key.
pub(in crate::config) struct RawAllowed {
    pub(in crate::config) kind: Kind,
    pub(in crate::config) value: String,
}

/// Kind of an entry of `allow`: the attribute that identifies the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    /// DNS name in the certificate.
    Dns,
    /// Common name in the certificate.
    CommonName,
    /// URI in the certificate.
    Uri,
    /// E-mail address in the certificate.
    Email,
    /// Hash of the public key in the certificate.
    Spki,
    /// PSK identity.
    Psk,
}

impl RawClients {
    /// Reads the keys from the table of a host.
    pub(in crate::config) fn read(table: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        Self {
            demand: table.optional("client-auth", problems),
            ca: table.optional("client-ca", problems),
            crl: table.optional("client-crl", problems),
            allow: table.optional("allow", problems),
            users: table.optional("users", problems),
        }
    }

    /// Reports keys that need or contradict other keys.
    pub(in crate::config) fn check(
        &self,
        table: &TableReader<'_>,
        run_as: Option<UserFrom>,
        problems: &mut Problems,
    ) {
        table.belongs("client-auth", "cert", problems);
        for key in ["client-ca", "client-crl"] {
            let span = table.span_of(key);
            if let Some(span) = span.filter(|_| !table.has("client-auth")) {
                let message = format!(
                    "{key:?} without \"client-auth\": nobody is asked for a certificate; write client-auth = \
                     \"require\", or \"request\" if clients may do without"
                );
                problems.error(span, message);
            }
        }
        if table.has("client-auth") {
            table.belongs("client-crl", "client-ca", problems);
        }
        table.belongs("users", "run-as", problems);
        let mut error = |span: Option<Range<usize>>, message: &str| {
            if let Some(span) = span {
                problems.error(span, message);
            }
        };
        if !table.has("client-ca") {
            self.check_without_ca(table, &mut error);
        }
        let by_name = run_as == Some(UserFrom::CommonName);
        if by_name && !table.has("users") {
            let message = "run-as = \"cert-cn\" needs \"users\", as in { \"alice\" = \"alice\" }";
            error(table.span_of("run-as"), message);
        }
        let demand = self.demand.as_ref().map(Spanned::get_ref);
        if by_name && demand.is_some() && !table.has("client-ca") {
            let message = "run-as = \"cert-cn\" needs \"client-ca\": whoever has a key of allow can make a \
                           certificate with any common name";
            error(table.span_of("run-as"), message);
        }
        if by_name && demand != Some(&Demand::Require) {
            let message = "run-as = \"cert-cn\" needs client-auth = \"require\"";
            error(table.span_of("run-as"), message);
        }
        if !by_name && run_as.is_some() {
            let message = "\"users\" is of no use without run-as = \"cert-cn\"";
            error(table.span_of("users"), message);
        }
        let allow = self.allow.as_ref().map(|allow| allow.get_ref().iter());
        for entry in allow.into_iter().flatten() {
            let (needed, key) = match entry.get_ref().kind {
                Kind::Psk => (table.has("psk"), "psk"),
                _ => (table.has("client-auth") || table.has("cert"), "client-auth"),
            };
            if !needed {
                error(
                    Some(entry.span()),
                    &format!("this entry of allow means nothing without {key:?}"),
                );
            }
        }
        // Without client-auth, clients that use the certificate of the host send no certificate, so they
        // would be accepted in spite of `allow`.
        if table.has("cert") && !table.has("client-auth") {
            let message =
                "\"allow\" needs client-auth = \"require\": clients of \"cert\" show nothing";
            error(table.span_of("allow"), message);
        }
    }

    /// Reports what needs `client-ca`. Keys in `allow` do not: a client proves that it has its key, but nobody vouches
    /// for the names in its certificate.
    fn check_without_ca(
        &self,
        table: &TableReader<'_>,
        error: &mut impl FnMut(Option<Range<usize>>, &str),
    ) {
        let entries = self.allow.iter().flat_map(|allow| allow.get_ref().iter());
        let certified: Vec<_> = entries
            .filter(|entry| entry.get_ref().kind != Kind::Psk)
            .collect();
        if certified.is_empty() {
            let message = "client-auth needs \"client-ca\": whose certificates are to be trusted? Or trust keys: \
                           allow = [{ spki = \"sha256:HASH\" }]";
            return error(table.span_of("client-auth"), message);
        }
        let named = certified
            .iter()
            .filter(|entry| entry.get_ref().kind != Kind::Spki);
        for entry in named.filter(|_| table.has("client-auth")) {
            let message = "this entry of allow needs \"client-ca\": who is to vouch for the name?";
            error(Some(entry.span()), message);
        }
    }
}

impl FromToml for RawAllowed {
    const ONE: &'static str = "a table of one key, such as { dns = \"a.example\" }";
    const MANY: &'static str = "an array of tables, such as [{ dns = \"a.example\" }]";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else {
            return wrong_type(value, Self::ONE, problems);
        };
        let mut table = TableReader::new("allow", entries, value.span());
        let mut found: Vec<Self> = KINDS
            .iter()
            .filter_map(|(key, kind)| {
                let value = table.optional(key, problems)?;
                Some(Self { kind: *kind, value })
            })
            .collect();
        let keys = KINDS.iter().filter(|(key, _)| table.has(key)).count();
        table.finish(problems);
        // `finish` has reported a key that is unknown.
        if keys != 1 && entries.len() != 1 {
            let message = format!("{keys} keys in an entry of allow: each entry has one");
            problems.error(value.span(), message);
        }
        found.pop().filter(|_| keys == 1)
    }
}

/// Keys of the entries of `allow`.
const KINDS: [(&str, Kind); 6] = [
    ("dns", Kind::Dns),
    ("cn", Kind::CommonName),
    ("uri", Kind::Uri),
    ("email", Kind::Email),
    ("spki", Kind::Spki),
    ("psk", Kind::Psk),
];
