//! How a TLS client connects: versions, groups, signature schemes, ALPN, certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::client::ended;
use crate::pki::Certificate;
use crate::{Client, Ended, Socket};

/// The settings of a client, and its session tickets, which it keeps between connections.
#[derive(Clone)]
pub struct Dial {
    config: Arc<ClientConfig>,
}

impl Dial {
    /// TLS 1.3 and 1.2, with everything that rustls offers. Any certificate is trusted, but its key must sign.
    pub fn new() -> Self {
        Self::offering(rustls::ALL_VERSIONS, &SCHEMES)
    }

    /// Only this version.
    pub fn version(version: &'static SupportedProtocolVersion) -> Self {
        Self::offering(&[version], &SCHEMES)
    }

    /// Only these versions, verifying only signatures of these kinds.
    pub fn offering(
        versions: &[&'static SupportedProtocolVersion],
        schemes: &[SignatureScheme],
    ) -> Self {
        Self::with_provider(aws_lc_rs::default_provider(), versions, schemes)
    }

    /// Only this key exchange.
    pub fn group(group: &'static dyn SupportedKxGroup) -> Self {
        let provider = CryptoProvider {
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        };
        Self::with_provider(provider, rustls::ALL_VERSIONS, &SCHEMES)
    }

    fn with_provider(
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        schemes: &[SignatureScheme],
    ) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes.to_vec())))
            .with_no_client_auth();
        Self {
            config: Arc::new(config),
        }
    }

    /// With this change to its configuration.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// Showing this certificate, where the server asks for one.
    #[must_use]
    pub fn showing(self, certificate: &Certificate) -> Self {
        let chain =
            vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
        self.with(|config| config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key)))
    }

    /// Offering these protocols (ALPN).
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self.with(|config| config.alpn_protocols = protocols)
    }

    /// Connects, asks for this name (none, when it is empty), and completes the handshake.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Client {
        self.over(Socket::connect(address), name)
    }

    /// As [`Dial::connect`], over a connected socket.
    pub fn over(&self, socket: Socket, name: &str) -> Client {
        self.try_over(socket, name).unwrap()
    }

    /// As [`Dial::connect`]; a handshake that fails says how the server ended it.
    pub fn try_connect(&self, address: SocketAddr, name: &str) -> Result<Client, Ended> {
        self.try_over(Socket::connect(address), name)
    }

    /// As [`Dial::over`]; a handshake that fails says how the server ended it.
    pub fn try_over(&self, socket: Socket, name: &str) -> Result<Client, Ended> {
        let mut client = self.start(socket, name);
        while client.tls.is_handshaking() {
            if let Err(e) = client.tls.complete_io(&mut client.socket) {
                return Err(ended(&e));
            }
        }
        Ok(client)
    }

    /// A client that has sent nothing yet.
    pub fn start(&self, socket: Socket, name: &str) -> Client {
        let dial = match name {
            "" => self.clone().with(|config| config.enable_sni = false),
            _ => self.clone(),
        };
        let name = if name.is_empty() { "localhost" } else { name };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Client {
            tls: ClientConnection::new(dial.config, name).unwrap(),
            socket,
        }
    }
}

impl Client {
    /// Connects, asks for this name (none, when it is empty), and completes the handshake.
    pub fn connect(address: SocketAddr, name: &str) -> Self {
        Dial::new().connect(address, name)
    }

    /// The line that the command sends first; then the connection is closed.
    pub fn word(socket: impl Into<Socket>, name: &str) -> String {
        let mut client = Dial::new().over(socket.into(), name);
        let word = client.read_line();
        client.close();
        word
    }
}

/// The signature schemes of a client, unless a test sets others.
const SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Trusts every certificate, but verifies signatures.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}
