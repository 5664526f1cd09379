//! The virtual hosts as the TLS engines want them, and which engine a client gets.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA256};
use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{self, Form, Host};
use crate::tls::client::Verifier;
use crate::tls::hello;
use crate::tls::psk::{self, Modes};
use crate::tls::session::Session;
use crate::tls::staple::Shown;
use crate::tls::tickets::TicketKeyRing;
use crate::types::NamePattern;

/// A host as the engines want it: with certificates, pre-shared keys, or both.
pub struct Acceptor {
    certificates: Option<Arc<ServerConfig>>,
    clients: Option<Arc<Verifier>>,
    psk: Option<Arc<psk::Config>>,
}

impl Acceptor {
    /// What answers the clients of a host. `form`: whether it is worth while to prepare for more than one.
    ///
    /// Errors: rustls's, when the provider lacks what TLS 1.2 and 1.3 need, or has no randomness.
    pub fn new(
        host: &Host,
        form: Form,
        provider: &Arc<CryptoProvider>,
        tickets: &TicketKeyRing,
    ) -> Result<Self, rustls::Error> {
        let provider = &host.profile.restrict(provider);
        let clients = host.client_auth.as_ref();
        let clients = clients.map(|policy| Verifier::new(policy, provider));
        let clients = clients.transpose().map_err(rustls::Error::General)?;
        let certificates = match host.certificates.is_empty() {
            true => None,
            false => {
                let mut certificates = certificates(host, clients.clone(), provider, tickets)?;
                compress(&mut certificates, host, form);
                Some(Arc::new(certificates))
            }
        };
        let psk = host.psk.as_ref();
        let psk = psk.map(|psk| pre_shared(host, psk, provider)).transpose()?;
        Ok(Self {
            certificates,
            clients,
            psk,
        })
    }

    /// The session that answers a client: with a key that the host knows, if it offers one; else with
    /// the host's certificates, if it has any. Where there is only the engine for keys, that says no.
    ///
    /// `None`: rustls cannot serve with this configuration.
    pub fn session(&self, hello: &hello::ClientHello) -> Option<Session> {
        match (&self.psk, &self.certificates) {
            (Some(psk), None) => Some(Session::psk(Arc::clone(psk))),
            (Some(psk), Some(_)) if psk.suits(hello) => Some(Session::psk(Arc::clone(psk))),
            (_, Some(certificates)) => {
                Session::certificates(Arc::clone(certificates), self.clients.clone()).ok()
            }
            (None, None) => None,
        }
    }
}

fn pre_shared(
    host: &Host,
    psk: &config::Psk,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<psk::Config>, rustls::Error> {
    let modes = Modes {
        psk_ke: psk.only_ke,
        plain_psk: psk.plain,
    };
    let config = psk::Config::new(
        Arc::clone(&psk.keys),
        alpn(host),
        modes,
        Arc::clone(provider),
    )?;
    Ok(Arc::new(config.with_profile(host.profile.clone())))
}

fn certificates(
    host: &Host,
    clients: Option<Arc<Verifier>>,
    provider: &Arc<CryptoProvider>,
    tickets: &TicketKeyRing,
) -> Result<ServerConfig, rustls::Error> {
    let resolver = Arc::new(Identities(host.certificates.clone()));
    let config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(host.profile.versions())?;
    let config = match clients {
        Some(clients) => config.with_client_cert_verifier(clients),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(resolver);
    config.alpn_protocols = alpn(host);
    config.max_fragment_size = host.profile.max_fragment_size();
    // Tickets carry the session: nothing is kept here for clients that come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.ticketer(binding(host));
    // Whoever comes back gets the next one; OpenSSL's servers give no more then, either.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Compresses the host's certificates (RFC 8879) where that pays: for several clients, of whom the first has
/// it done for the others. It takes longer than the rest of a handshake.
fn compress(config: &mut ServerConfig, host: &Host, form: Form) {
    // Nothing of a stranger's is decompressed.
    config.cert_decompressors = Vec::new();
    if form == Form::OneConnection {
        config.cert_compressors = Vec::new();
    }
    // Room for each chain, with its staple and without: nobody is to make us do it again and again.
    let forms = 2 * host.certificates.len() * config.cert_compressors.len();
    config.cert_compression_cache = Arc::new(CompressionCache::new(forms));
}

fn alpn(host: &Host) -> Vec<Vec<u8>> {
    let protocols = host.alpn.iter();
    protocols.map(|name| name.clone().into_bytes()).collect()
}

/// The certificates of one host, side by side.
#[derive(Debug)]
struct Identities(Vec<Shown>);

impl ResolvesServerCert for Identities {
    /// The first one whose key can sign what the client can verify (RFC 8446 §4.4.2.2).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let fits = |shown: &&Shown| shown.certified.key.choose_scheme(offered).is_some();
        // Where none fits, rustls finds that out with the first, and sends the alert.
        let shown = self.0.iter().find(fits).or(self.0.first())?;
        Some(Arc::clone(shown.at(SystemTime::now())))
    }
}

/// What a session ticket is bound to: a host is its names, its protocols, its certificates and what it asks of
/// those of its clients, in whatever process and generation, and on whatever machine (RFC 6066 §3: no
/// resumption under another name).
fn binding(host: &Host) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    add(host.label.as_bytes());
    // How many there are of each comes first, lest one list be taken for the beginning of the next.
    add(&(host.names.len() as u64).to_be_bytes());
    for name in &host.names {
        let (kind, name) = match name {
            NamePattern::Exact(name) => ("", name),
            NamePattern::Wildcard(name) => ("*.", name),
        };
        add(kind.as_bytes());
        add(name.as_str().as_bytes());
    }
    add(&(host.alpn.len() as u64).to_be_bytes());
    for protocol in &host.alpn {
        add(protocol.as_bytes());
    }
    add(&(host.certificates.len() as u64).to_be_bytes());
    for identity in &host.certificates {
        for certificate in &identity.certified.cert {
            add(certificate);
        }
    }
    if let Some(policy) = &host.client_auth {
        add(&policy.digest());
    }
    let mut binding = [0; 32];
    binding.copy_from_slice(context.finish().as_ref());
    binding
}
