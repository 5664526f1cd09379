//! One end of a `SOCK_SEQPACKET` socketpair: datagrams in order, each with up to two descriptors.
//!
//! Neither side ever waits for the other. Messages that the socket does not take are queued; the number of
//! connections bounds the queue.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    send, sendmsg, socketpair,
};
use zeroize::{Zeroize, Zeroizing};

/// Maximum number of descriptors in one message: the two pipes of a command, or its one socket.
pub const MAX_DESCRIPTORS: usize = 2;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// One end of the socketpair between monitor and engine.
pub struct Channel {
    socket: OwnedFd,
    unsent: VecDeque<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
}

/// Result of [`Channel::receive`].
pub enum Received<'a> {
    /// A message and its descriptors: fewer than were sent if this process may have no more.
    Message(&'a [u8], Vec<OwnedFd>),
    /// Nothing for now.
    Empty,
    /// The other side is gone.
    Closed,
}

impl Channel {
    /// Two connected ends, both non-blocking and close-on-exec.
    ///
    /// Errors: those of socketpair(2).
    pub fn pair() -> nix::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self::new(a), Self::new(b)))
    }

    /// Returns a function that sends one message past the queue, if there is room. It is for the last message of
    /// a process, as in a panic hook, where the channel itself is out of reach.
    pub fn last_words(&self) -> impl Fn(&[u8]) + Copy + Send + Sync + 'static {
        let socket = self.socket.as_raw_fd();
        move |message| {
            // The process is about to end; a failure cannot be reported.
            let _ = send(
                socket,
                message,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            );
        }
    }

    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            unsent: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE],
        }
    }

    /// Sends a message, or queues it when the other side is slow. The descriptors are closed here
    /// once they are on their way.
    ///
    /// Errors: those of sendmsg(2) after which the other side is gone.
    pub fn send(
        &mut self,
        message: Zeroizing<Vec<u8>>,
        descriptors: Vec<OwnedFd>,
    ) -> nix::Result<()> {
        debug_assert!(message.len() <= MAX_MESSAGE && descriptors.len() <= MAX_DESCRIPTORS);
        self.unsent.push_back((message, descriptors));
        self.flush()
    }

    /// Sends queued messages, as far as the socket takes them.
    ///
    /// Errors: as [`Channel::send`].
    pub fn flush(&mut self) -> nix::Result<()> {
        while let Some((message, descriptors)) = self.unsent.front() {
            let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&raw)];
            let control = if raw.is_empty() { &[] } else { &rights[..] };
            match sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(message)],
                control,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Ok(_) => self.unsent.pop_front(),
                // ETOOMANYREFS: more descriptors are in flight than RLIMIT_NOFILE allows.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(e),
            };
        }
        Ok(())
    }

    /// Wipes the message that was received last, because it had a secret in it.
    pub fn wipe(&mut self) {
        self.buffer.zeroize();
    }

    /// Whether messages are queued.
    pub fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The events to register the channel for: input, and output while a message is queued.
    pub fn interest(&self) -> EpollFlags {
        let mut interest = EpollFlags::EPOLLIN;
        interest.set(EpollFlags::EPOLLOUT, self.wants_write());
        interest
    }

    /// Receives the next message.
    ///
    /// Errors: those of recvmsg(2), and `EMSGSIZE` when a message was cut.
    pub fn receive(&mut self) -> nix::Result<Received<'_>> {
        let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let (length, flags, descriptors) = loop {
            let mut iov = [IoSliceMut::new(&mut self.buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut iov, Some(&mut control), flags) {
                Ok(message) => {
                    let mut descriptors = Vec::new();
                    for part in message.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(raw) = part {
                            for fd in raw {
                                // SAFETY: the kernel made this descriptor for us in this very call, and
                                // no other code has seen its number.
                                descriptors.push(unsafe { OwnedFd::from_raw_fd(fd) });
                            }
                        }
                    }
                    break (message.bytes, message.flags, descriptors);
                }
                // ECONNRESET: the other side has ended without having read everything. The kernel says
                // so once, ahead of the messages that it had sent before.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Empty),
                Err(e) => return Err(e),
            }
        };
        if flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(Errno::EMSGSIZE);
        }
        // No message is empty: an empty one is the other side's end.
        match self.buffer.get(..length) {
            Some(message) if length > 0 => Ok(Received::Message(message, descriptors)),
            _ => Ok(Received::Closed),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
