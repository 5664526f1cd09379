//! A TLS client: rustls over a blocking socket.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, ClientConnection};

use crate::{DEADLINE, Socket};

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

    /// Fails unless FIN follows close_notify with nothing in between.
    fn wait_for_fin(&mut self) -> Ended {
        match self.socket.read_to_end() {
            (rest, Ok(())) if rest.is_empty() => Ended::CloseNotify,
            (rest, Ok(())) => panic!("{} bytes after close_notify", rest.len()),
            (_, Err(e)) => ended(&e),
        }
    }

    /// Sends bytes and then close_notify, and reads everything at the same time.
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
    fn take_more(&mut self) -> io::Result<()> {
        self.tls.read_tls(&mut self.socket)?;
        let result = self.tls.process_new_packets();
        // The server may be gone; what it sent before counts.
        let _ = self.flush();
        result.map(drop).map_err(io::Error::other)
    }
}

/// The way in which the server ended its side, by the error of the client.
pub(crate) fn ended(e: &io::Error) -> Ended {
    let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match (e.kind(), tls) {
        (_, Some(rustls::Error::AlertReceived(alert))) => Ended::Alert(*alert),
        (io::ErrorKind::UnexpectedEof, _) => Ended::Truncated,
        (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, _) => Ended::Reset,
        _ => panic!("{e}"),
    }
}
