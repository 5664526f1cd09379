//! Messages from the monitor.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::Readiness;
use super::connection::Connection;
use super::event_loop::{Entry, EventLoop};
use super::program::ProgramStream;
use crate::message::{End, Summary, TRAFFIC_PER_MESSAGE, ToEngine, ToMonitor, decode};
use crate::process::Received;
use crate::types::{ConnectionId, ListenerId, Stdio};

/// Messages that are received before connections are served again.
const MESSAGES: usize = 64;

impl EventLoop<'_> {
    /// Receives messages from the monitor.
    ///
    /// Errors: those of [`crate::process::Channel::receive`], and EPROTO: a message is invalid.
    pub(super) fn receive(&mut self) -> nix::Result<()> {
        for _ in 0..MESSAGES {
            let Some(channel) = &mut self.channel else {
                break;
            };
            let (message, descriptors) = match channel.receive()? {
                Received::Empty => break,
                Received::Message(bytes, descriptors) => (decode::<ToEngine>(bytes), descriptors),
                Received::Closed => {
                    self.monitor_gone();
                    break;
                }
            };
            if let Some(ToEngine::TicketKeys(_)) = message {
                channel.wipe();
            }
            self.handle(message.ok_or(Errno::EPROTO)?, descriptors)?;
        }
        Ok(())
    }

    /// Errors: the descriptors are not those of the message.
    fn handle(&mut self, message: ToEngine, descriptors: Vec<OwnedFd>) -> nix::Result<()> {
        let mut descriptors = descriptors.into_iter();
        match (message, descriptors.next(), descriptors.next()) {
            (ToEngine::Accepted { id, listener }, Some(socket), None) => {
                self.accept(id, socket, listener);
            }
            (
                ToEngine::Opened {
                    id,
                    stdio: Stdio::Socket,
                },
                Some(socket),
                None,
            ) => {
                self.opened(id, ProgramStream::Socket(socket));
            }
            (
                ToEngine::Opened {
                    id,
                    stdio: Stdio::Pipe,
                },
                Some(read),
                Some(write),
            ) => {
                self.opened(id, ProgramStream::Pipes(read, Some(write)));
            }
            (ToEngine::Connected { id, transport }, Some(socket), None) => {
                self.opened(id, ProgramStream::Backend(socket, transport));
            }
            (ToEngine::OutputEnded { id, end }, None, None) => {
                self.advance(id, |connection, shared| {
                    connection.output_ended(end, shared)
                });
            }
            (ToEngine::Admitted { id }, None, None) => {
                self.advance(id, |connection, shared| connection.admitted(shared));
            }
            // Descriptors are missing here and below: this process has as many as it may have.
            (ToEngine::Accepted { id, .. }, None, None) => {
                let summary = Summary::unknown(End::Refused);
                self.send(&ToMonitor::Closed { id, summary });
            }
            (
                ToEngine::Refused { id }
                | ToEngine::Opened { id, .. }
                | ToEngine::Connected { id, .. },
                _,
                None,
            ) => {
                self.advance(id, |connection, shared| connection.refused(shared));
            }
            (ToEngine::TicketKeys(keys), None, None) => {
                // Keys that AWS-LC refuses leave the old ones in place.
                let _ = self.tickets.set(&keys);
            }
            (ToEngine::ReportTraffic, None, None) => self.report_traffic(),
            (ToEngine::Drain, None, None) => self.draining = true,
            _ => return Err(Errno::EPROTO),
        }
        Ok(())
    }

    /// Begins to serve a client.
    fn accept(&mut self, id: ConnectionId, socket: OwnedFd, listener: ListenerId) {
        let connection = Connection::new(id, socket, listener, &self.shared);
        self.connections.insert(id, Entry::new(connection));
        // The ClientHello is often there already.
        self.advance(id, |connection, shared| {
            connection.advance(Readiness::default(), shared)
        });
    }

    fn opened(&mut self, id: ConnectionId, program: ProgramStream) {
        self.advance(id, |connection, shared| connection.opened(program, shared));
    }

    /// Sends the traffic of each connection to the monitor.
    fn report_traffic(&mut self) {
        let entries = self.connections.values();
        let traffic: Vec<_> = entries.map(|e| e.connection.traffic()).collect();
        for part in traffic.chunks(TRAFFIC_PER_MESSAGE) {
            self.send(&ToMonitor::Traffic(part.to_vec()));
        }
        self.send(&ToMonitor::TrafficReported);
    }
}
