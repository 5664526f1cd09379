//! A TLS client: rustls over a blocking socket.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::pki::Certificate;
use crate::{DEADLINE, Socket};

/// The settings of a client, and its session tickets, which it keeps between connections.
#[derive(Clone)]
pub struct Dial {
    config: Arc<ClientConfig>,
}

/// A connected client that has completed the handshake.
pub struct Client {
    /// The TLS side.
    pub tls: ClientConnection,
    /// The socket under it.
    pub socket: Socket,
}

/// Everything received until the end.
#[derive(Debug)]
pub struct Received {
    /// The plaintext.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub ended: Ended,
}

/// The way in which the server ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// close_notify, then FIN.
    CloseNotify,
    /// FIN without close_notify.
    Truncated,
    /// RST.
    Reset,
    /// A fatal alert.
    Alert(AlertDescription),
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

impl Received {
    /// Fails unless these bytes came, and then close_notify.
    #[track_caller]
    pub fn assert_whole(&self, expected: &[u8]) {
        let shown = &self.bytes[..self.bytes.len().min(1000)];
        assert!(
            self.bytes == expected,
            "{} bytes came, not {}: {}",
            self.bytes.len(),
            expected.len(),
            shown.escape_ascii()
        );
        assert_eq!(self.ended, Ended::CloseNotify);
    }
}

impl Client {
    /// Connects, asks for this name (none, when it is empty), and completes the handshake.
    pub fn connect(address: SocketAddr, name: &str) -> Self {
        Dial::new().connect(address, name)
    }

    /// The server's own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.tls.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    }

    /// Sends these bytes, all of them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends these bytes; it fails when the server takes no more.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(16 * 1024) {
            self.tls.writer().write_all(chunk)?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends close_notify; reading is still possible.
    pub fn close_notify(&mut self) {
        self.tls.send_close_notify();
        self.flush().unwrap();
    }

    /// Sends what rustls has ready.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// The next `n` bytes.
    pub fn read_exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut filled = 0;
        while filled < n {
            match self.tls.reader().read(&mut bytes[filled..]) {
                Ok(0) => panic!("the server ended after {filled} of {n} bytes"),
                Ok(more) => filled += more,
                Err(_) => self.take_more().unwrap(),
            }
        }
        bytes
    }

    /// The next line, without its end.
    pub fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.read_exactly(1)[0] {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    /// Everything until the server ends its side.
    pub fn read_to_end(&mut self) -> Received {
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        let ended = loop {
            match self.tls.reader().read(&mut chunk) {
                Ok(0) => break self.wait_for_fin(),
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(e) = self.take_more() {
                        break ended(&e);
                    }
                }
                Err(e) => break ended(&e),
            }
        };
        Received { bytes, ended }
    }

    /// Reads until the server ends its side; fails unless that is with close_notify.
    #[track_caller]
    pub fn read_close_notify(&mut self) {
        assert_eq!(self.read_to_end().ended, Ended::CloseNotify);
    }

    /// Sends close_notify, and reads until that of the server.
    #[track_caller]
    pub fn close(&mut self) {
        self.close_notify();
        self.read_close_notify();
    }

    /// Sends a line, and fails unless the command (cat) sends it back.
    #[track_caller]
    pub fn echoes(&mut self) {
        self.send(b"hello\n");
        assert_eq!(self.read_line(), "hello");
    }

    /// The line that the command sends first; then the connection is closed.
    pub fn word(socket: impl Into<Socket>, name: &str) -> String {
        let mut client = Dial::new().over(socket.into(), name);
        let word = client.read_line();
        client.close();
        word
    }

    /// Fails unless FIN follows close_notify with nothing in between.
    fn wait_for_fin(&mut self) -> Ended {
        match self.socket.read_to_end() {
            (rest, Ok(())) if rest.is_empty() => Ended::CloseNotify,
            (rest, Ok(())) => panic!("{} bytes after close_notify", rest.len()),
            (_, Err(e)) => ended(&e),
        }
    }

    /// Sends bytes and then close_notify, and reads everything at the same time.
    /// former.
    pub fn exchange(&mut self, bytes: &[u8]) -> Received {
        self.socket.set_nonblocking(true);
        let (mut unsent, mut closed) = (bytes, false);
        let mut received = Vec::with_capacity(bytes.len());
        let mut chunk = vec![0; 64 * 1024];
        let ended = 'exchange: loop {
            loop {
                match self.tls.reader().read(&mut chunk) {
                    Ok(0) => {
                        self.socket.set_nonblocking(false);
                        break 'exchange self.wait_for_fin();
                    }
                    Ok(n) => received.extend_from_slice(&chunk[..n]),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => break 'exchange ended(&e),
                }
            }
            if !unsent.is_empty() && !self.tls.wants_write() {
                let taken = self.tls.writer().write(unsent).unwrap();
                unsent = &unsent[taken..];
            } else if unsent.is_empty() && !closed {
                self.tls.send_close_notify();
                closed = true;
            }
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, self.tls.wants_write());
            let mut polled = [PollFd::new(self.socket.as_fd(), flags)];
            let timeout = PollTimeout::try_from(DEADLINE).unwrap();
            assert_ne!(poll(&mut polled, timeout).unwrap(), 0, "nothing moves");
            let ready = polled[0].revents().unwrap();
            if ready.contains(PollFlags::POLLOUT) {
                match self.tls.write_tls(&mut self.socket) {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => break ended(&e),
                    _ => {}
                }
            }
            if ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                match self.take_more() {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => break ended(&e),
                    _ => {}
                }
            }
        };
        self.socket.set_nonblocking(false);
        Received {
            bytes: received,
            ended,
        }
    }

    /// Reads what the server has sent, or waits for it; sends what rustls answers.
    pub fn take_more(&mut self) -> io::Result<()> {
        self.tls.read_tls(&mut self.socket)?;
        let result = self.tls.process_new_packets();
        // The server may be gone; what it sent before counts.
        let _ = self.flush();
        result.map(drop).map_err(io::Error::other)
    }
}

fn ended(e: &io::Error) -> Ended {
    let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match (e.kind(), tls) {
        (_, Some(rustls::Error::AlertReceived(alert))) => Ended::Alert(*alert),
        (io::ErrorKind::UnexpectedEof, _) => Ended::Truncated,
        (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, _) => Ended::Reset,
        _ => panic!("{e}"),
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
