//! A builder of ClientHello messages: every field can be set to right and wrong values.

use super::bytes::{list8, list16, message, numbers, vector8, vector16};
use super::codes::{TLS12, TLS13, extension, handshake};
use super::groups::Share;
use super::hash::Hash;
use super::transcript::Transcript;

/// A ClientHello (RFC 8446 §4.1.2).
#[derive(Clone)]
pub struct Hello {
    /// `legacy_version`.
    pub version: u16,
    /// `random`.
    pub random: [u8; 32],
    /// `legacy_session_id`.
    pub session_id: Vec<u8>,
    /// `cipher_suites`.
    pub suites: Vec<u16>,
    /// `legacy_compression_methods`.
    pub compressions: Vec<u8>,
    /// Type and body, in this order. `None`: as a client of SSL 3.0, not even their length.
    pub extensions: Option<Vec<(u16, Vec<u8>)>>,
    /// The contents of `pre_shared_key`.
    pub offer: Option<Offer>,
    /// Extensions behind `pre_shared_key`, where none may be.
    pub behind: Vec<(u16, Vec<u8>)>,
}

/// `OfferedPsks` (RFC 8446 §4.2.11).
#[derive(Clone)]
pub struct Offer {
    /// Identity and `obfuscated_ticket_age`.
    pub identities: Vec<(Vec<u8>, u32)>,
    /// A binder for each identity, where nothing is wrong.
    pub binders: Vec<Binder>,
}

/// A binder.
#[derive(Clone)]
pub enum Binder {
    /// The right one, of this key.
    Of(Psk),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A pre-shared key and its name.
#[derive(Clone, Debug)]
pub struct Psk {
    /// The identity that the client sends.
    pub identity: Vec<u8>,
    /// The key itself.
    pub secret: Vec<u8>,
    /// The hash that the key is for.
    pub hash: Hash,
}

impl Offer {
    /// These keys, in this order.
    pub fn of(keys: &[Psk]) -> Self {
        Self {
            // "For identities established externally, an obfuscated_ticket_age of 0 SHOULD be used".
            identities: keys.iter().map(|key| (key.identity.clone(), 0)).collect(),
            binders: keys.iter().cloned().map(Binder::Of).collect(),
        }
    }

    fn identities(&self) -> Vec<u8> {
        let identities = self.identities.iter();
        let entries = identities
            .flat_map(|(identity, age)| [&vector16(identity)[..], &age.to_be_bytes()[..]].concat());
        vector16(&entries.collect::<Vec<_>>())
    }

    /// The binders of a hello that is so far `truncated`, or bytes of the same length for none.
    fn binders(&self, truncated: Option<(&Transcript, &[u8])>) -> Vec<u8> {
        let binders = self.binders.iter().flat_map(|binder| match binder {
            Binder::Bytes(bytes) => vector8(bytes),
            Binder::Of(key) => vector8(&match truncated {
                None => vec![0; key.hash.length()],
                Some((before, hello)) => {
                    key.binder(&[&before.messages(key.hash)[..], hello].concat())
                }
            }),
        });
        vector16(&binders.collect::<Vec<_>>())
    }
}

impl Psk {
    /// RFC 8446 §4.2.11.2: HMAC of the truncated hello, with the Finished key of the binder key.
    fn binder(&self, messages: &[u8]) -> Vec<u8> {
        let hash = self.hash;
        let early = hash.extract(&vec![0; hash.length()], &self.secret);
        let binder_key = hash.derive(&early, "ext binder", b"");
        let finished = hash.expand_label(&binder_key, "finished", b"", hash.length());
        hash.hmac(&finished, &hash.digest(messages))
    }
}

impl Hello {
    /// One with these suites, and nothing else in it.
    pub fn new(suites: &[u16]) -> Self {
        Self {
            version: TLS12,
            random: [0x5a; 32],
            session_id: Vec::new(),
            suites: suites.to_vec(),
            compressions: vec![0],
            extensions: Some(Vec::new()),
            offer: None,
            behind: Vec::new(),
        }
    }

    /// With an extension: in place of the one of its type, or as the last.
    pub fn with(mut self, typ: u16, body: &[u8]) -> Self {
        let extensions = self.extensions.get_or_insert_default();
        match extensions.iter_mut().find(|(other, _)| *other == typ) {
            Some((_, old)) => *old = body.to_vec(),
            None => extensions.push((typ, body.to_vec())),
        }
        self
    }

    /// Without an extension.
    pub fn without(mut self, typ: u16) -> Self {
        let extensions = self.extensions.get_or_insert_default();
        extensions.retain(|(other, _)| *other != typ);
        self
    }

    /// With changes that have no method of their own.
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Offers TLS 1.3, and below it these.
    pub fn versions(self, versions: &[u16]) -> Self {
        self.with(extension::SUPPORTED_VERSIONS, &list8(versions))
    }

    /// `supported_groups`.
    pub fn groups(self, groups: &[u16]) -> Self {
        self.with(extension::SUPPORTED_GROUPS, &list16(groups))
    }

    /// `key_share`, of any groups and contents.
    pub fn raw_shares(self, shares: &[(u16, &[u8])]) -> Self {
        let entries = shares.iter();
        let entries = entries.flat_map(|(group, share)| [numbers(&[*group]), vector16(share)]);
        let entries: Vec<u8> = entries.flatten().collect();
        self.with(extension::KEY_SHARE, &vector16(&entries))
    }

    /// `key_share`.
    pub fn shares(self, shares: &[Share]) -> Self {
        let shares: Vec<_> = shares.iter().map(|s| (s.group, &s.public[..])).collect();
        self.raw_shares(&shares)
    }

    /// `psk_key_exchange_modes`.
    pub fn modes(self, modes: &[u8]) -> Self {
        self.with(extension::PSK_KEY_EXCHANGE_MODES, &vector8(modes))
    }

    /// `pre_shared_key` of these keys.
    pub fn keys(mut self, keys: &[Psk]) -> Self {
        self.offer = Some(Offer::of(keys));
        self
    }

    /// `server_name`.
    pub fn server_name(self, name: &str) -> Self {
        let name = [&[0][..], &vector16(name.as_bytes())].concat();
        self.with(extension::SERVER_NAME, &vector16(&name))
    }

    /// ALPN.
    pub fn alpn(self, names: &[&str]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|n| vector8(n.as_bytes())).collect();
        self.with(extension::ALPN, &vector16(&list))
    }

    /// A session id, as a client in middlebox compatibility mode has (RFC 8446 §D.4).
    pub fn compatible(mut self) -> Self {
        self.session_id = vec![0xa5; 32];
        self
    }

    /// The body of an extension.
    pub fn get(&self, typ: u16) -> Option<&[u8]> {
        let mut extensions = self.extensions.as_ref()?.iter();
        extensions
            .find(|(other, _)| *other == typ)
            .map(|(_, body)| &body[..])
    }

    /// Whether TLS 1.3 is offered.
    pub(super) fn offers_tls13(&self) -> bool {
        self.get(extension::SUPPORTED_VERSIONS)
            .is_some_and(|list| list[1..].chunks(2).any(|v| v == TLS13.to_be_bytes()))
    }

    /// The message, with binders for a handshake in which this came before it.
    pub fn message(&self, before: &Transcript) -> Vec<u8> {
        let mut whole = message(handshake::CLIENT_HELLO, &self.body(None));
        if let Some(offer) = self.offer.as_ref().filter(|_| self.behind.is_empty()) {
            let binders = offer.binders(None).len();
            let truncated = whole.len() - binders;
            let binders = offer.binders(Some((before, &whole[..truncated])));
            whole.splice(truncated.., binders);
        }
        whole
    }

    /// The message with its extensions, and bytes in the place of this one's body.
    fn body(&self, replaced: Option<(u16, &[u8])>) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend_from_slice(&self.random);
        body.extend_from_slice(&vector8(&self.session_id));
        body.extend_from_slice(&list16(&self.suites));
        body.extend_from_slice(&vector8(&self.compressions));
        let Some(extensions) = &self.extensions else {
            return body;
        };
        let offer = self.offer.iter().map(|offer| {
            let offer = [offer.identities(), offer.binders(None)].concat();
            (extension::PRE_SHARED_KEY, offer)
        });
        let all = extensions.iter().cloned().chain(offer);
        let mut bytes = Vec::new();
        for (typ, extension) in all.chain(self.behind.iter().cloned()) {
            let replacement = replaced.filter(|(other, _)| *other == typ);
            let extension = replacement.map_or(&extension[..], |(_, bytes)| bytes);
            bytes.extend_from_slice(&numbers(&[typ]));
            bytes.extend_from_slice(&vector16(extension));
        }
        body.extend_from_slice(&vector16(&bytes));
        body
    }

    /// The message with other bytes for the body of `pre_shared_key`.
    pub fn message_with_offer(&self, body: &[u8]) -> Vec<u8> {
        let replaced = Some((extension::PRE_SHARED_KEY, body));
        message(handshake::CLIENT_HELLO, &self.body(replaced))
    }
}
