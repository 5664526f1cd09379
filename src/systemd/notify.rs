//! The notify protocol (`sd_notify(3)`), and the watchdog (`sd_watchdog_enabled(3)`).
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::process::take_variable;

/// Time before a message that was not taken is sent again.
const RETRY: Duration = Duration::from_millis(100);
/// Maximum number of messages that wait; there are as many only if the manager reads none at all.
const MAX_WAITING: usize = 16;

/// The way to the service manager; by default there is none. Nothing here ever fails or waits.
#[derive(Default)]
pub struct Notifier {
    recipient: Option<Recipient>,
    watchdog: Option<Watchdog>,
}

/// A service manager that listens.
struct Recipient {
    socket: UnixDatagram,
    /// The address of the manager. Each message looks it up, since the manager may have been restarted.
    address: SocketAddr,
    /// Messages that the manager had no room for.
    waiting: VecDeque<String>,
    retry_at: Option<Instant>,
}

/// The watchdog: systemd restarts a service that sends no sign of life for too long.
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Notifier {
    /// Takes `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn take() -> Self {
        let names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
        let [socket, time, pid] = names.map(take_variable);
        let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
        let ours = match &pid {
            Some(pid) => number(pid) == Some(u64::from(std::process::id())),
            None => true,
        };
        let time = time.as_deref().filter(|_| ours).and_then(number);
        Self {
            recipient: socket.and_then(|name| Recipient::at(&name).ok()),
            watchdog: time.filter(|time| *time > 0).map(|time| Watchdog {
                every: Duration::from_micros(time) / 2,
                next: Instant::now(),
            }),
        }
    }

    /// Whether a service manager listens.
    pub fn is_heard(&self) -> bool {
        self.recipient.is_some()
    }

    /// Sends a message: `NAME=value` lines.
    pub fn notify(&mut self, message: String) {
        if let Some(recipient) = &mut self.recipient {
            // The last message counts.
            if recipient.waiting.len() >= MAX_WAITING {
                recipient.waiting.pop_front();
            }
            recipient.waiting.push_back(message);
            recipient.send();
        }
    }

    /// Sends what is due. The loop that does the work has to call this, so that the watchdog notices a loop that
    /// is stuck.
    pub fn tick(&mut self, now: Instant) {
        if let Some(watchdog) = self.watchdog.as_mut().filter(|dog| dog.next <= now) {
            watchdog.next = now + watchdog.every;
            self.notify("WATCHDOG=1".to_owned());
        }
        if let Some(recipient) = &mut self.recipient
            && recipient.retry_at.is_some_and(|when| when <= now)
        {
            recipient.send();
        }
    }

    /// Time of the next [`Notifier::tick`].
    pub fn next_tick(&self) -> Option<Instant> {
        let recipient = self.recipient.as_ref()?;
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        recipient.retry_at.into_iter().chain(watchdog).min()
    }
}

impl Recipient {
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            // `vsock:`, to the host of a virtual machine.
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address,
            waiting: VecDeque::new(),
            retry_at: None,
        })
    }

    /// Sends the messages that wait, as far as there is room for them.
    fn send(&mut self) {
        self.retry_at = None;
        while let Some(message) = self.waiting.front() {
            let sent = self.socket.send_to_addr(message.as_bytes(), &self.address);
            if sent.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
                self.retry_at = Instant::now().checked_add(RETRY);
                return;
            }
            // It is sent, or there is no manager to take it. The server goes on without one.
            self.waiting.pop_front();
        }
    }
}
