//! Acceptors: the TLS configuration of each host, and the choice of the session for a client.
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
use crate::tls::psk;
use crate::tls::session::Session;
use crate::tls::staple::StapledCertificate;
use crate::tls::tickets::TicketKeyRing;
use crate::types::NamePattern;

/// The TLS configuration of a host: certificates, pre-shared keys, or both.
pub struct Acceptor {
    certificates: Option<Arc<ServerConfig>>,
    clients: Option<Arc<Verifier>>,
    psk: Option<Arc<psk::Config>>,
}

impl Acceptor {
    /// The acceptor of a host. `form`: whether it serves one connection or many.
    ///
    /// Errors: those of rustls, if the provider lacks algorithms of TLS 1.2 and 1.3, or has no randomness.
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

    /// A session for a client: with a pre-shared key if [`psk::Config::accepts`] the client, else with the
    /// certificates of the host. A host without certificates always has a session for pre-shared keys, which refuses
    /// clients without one.
    ///
    /// `None`: rustls cannot serve with this configuration.
    pub fn session(&self, hello: &hello::ClientHello) -> Option<Session> {
        match (&self.psk, &self.certificates) {
            (Some(psk), None) => Some(Session::psk(Arc::clone(psk))),
            (Some(psk), Some(_)) if psk.accepts(hello) => Some(Session::psk(Arc::clone(psk))),
            (_, Some(certificates)) => {
                let clients = self.clients.clone();
                let session = Session::certificates(Arc::clone(certificates), clients).ok()?;
                Some(match hello.unfit_name {
                    Some(_) => session.without_name(),
                    None => session,
                })
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
    let config = psk::Config::new(
        Arc::clone(&psk.keys),
        alpn(host),
        psk.modes,
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
    let resolver = Arc::new(CertificateResolver(host.certificates.clone()));
    let config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(host.profile.versions())?;
    let config = match clients {
        Some(clients) => config.with_client_cert_verifier(clients),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(resolver);
    config.alpn_protocols = alpn(host);
    config.max_fragment_size = host.profile.max_fragment_size();
    // Tickets carry the session: the server stores nothing for a resumption.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.ticketer(binding(host));
    // One is enough: a resumed session gets a new ticket.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Enables compression of the host's certificates (RFC 8879), unless only one client is served: compression
/// takes longer than the rest of a handshake, and its result is kept for the next clients.
fn compress(config: &mut ServerConfig, host: &Host, form: Form) {
    // Certificates of clients are never decompressed.
    config.cert_decompressors = Vec::new();
    if form == Form::OneConnection {
        config.cert_compressors = Vec::new();
    }
    // The cache has room for each chain, with its staple and without, so that clients cannot cause repeated
    // compression.
    let forms = 2 * host.certificates.len() * config.cert_compressors.len();
    config.cert_compression_cache = Arc::new(CompressionCache::new(forms));
}

fn alpn(host: &Host) -> Vec<Vec<u8>> {
    let protocols = host.alpn.iter();
    protocols.map(|name| name.clone().into_bytes()).collect()
}

/// The certificates of one host.
#[derive(Debug)]
struct CertificateResolver(Vec<StapledCertificate>);

impl ResolvesServerCert for CertificateResolver {
    /// The first certificate whose key can sign with a scheme that the client offers (RFC 8446 §4.4.2.2).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let fits = |certificate: &&StapledCertificate| {
            certificate.certified.key.choose_scheme(offered).is_some()
        };
        // If none fits, rustls finds that out with the first, and sends the alert.
        let certificate = self.0.iter().find(fits).or(self.0.first())?;
        Some(Arc::clone(certificate.at(SystemTime::now())))
    }
}

/// Digest of a host that its session tickets are bound to (RFC 6066 §3: no resumption under another name). A host
/// is its names, its protocols, its certificates and its policy for client certificates. It is the same in
/// another process, generation or machine.
fn binding(host: &Host) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    add(host.label.as_bytes());
    // The length of each list comes first, so that no list is taken for the beginning of the next.
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
