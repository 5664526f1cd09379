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

/// When to send again what was not taken.
const RETRY: Duration = Duration::from_millis(100);
/// Messages that wait at the same time; there are as many only when nobody reads them at all.
const MOST: usize = 16;

/// Where a service says how it goes; by default nobody listens. Nothing here ever fails or waits: who does not listen is not told.
#[derive(Default)]
pub struct Notifier {
    recipient: Option<Recipient>,
    watchdog: Option<Watchdog>,
}

/// Who listens.
struct Recipient {
    socket: UnixDatagram,
    /// Each message goes to whoever has it then: a manager may have begun anew.
    address: SocketAddr,
    /// Messages that it had no room for.
    waiting: VecDeque<String>,
    again: Option<Instant>,
}

/// Who restarts a service that says nothing for too long.
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

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.recipient.is_some()
    }

    /// Says something: `NAME=value` lines.
    pub fn notify(&mut self, message: String) {
        if let Some(recipient) = &mut self.recipient {
            // What counts in the end is said last.
            if recipient.waiting.len() >= MOST {
                recipient.waiting.pop_front();
            }
            recipient.waiting.push_back(message);
            recipient.send();
        }
    }

    /// Does what is due. To be called from the loop that does the work, so that nobody is told that a loop
    /// lives which is stuck.
    pub fn tick(&mut self, now: Instant) {
        if let Some(watchdog) = self.watchdog.as_mut().filter(|dog| dog.next <= now) {
            watchdog.next = now + watchdog.every;
            self.notify("WATCHDOG=1".to_owned());
        }
        if let Some(recipient) = &mut self.recipient
            && recipient.again.is_some_and(|when| when <= now)
        {
            recipient.send();
        }
    }

    /// When [`Notifier::tick`] is due.
    pub fn next_tick(&self) -> Option<Instant> {
        let recipient = self.recipient.as_ref()?;
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        recipient.again.into_iter().chain(watchdog).min()
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
            again: None,
        })
    }

    /// Sends what waits, as far as there is room for it.
    fn send(&mut self) {
        self.again = None;
        while let Some(message) = self.waiting.front() {
            let sent = self.socket.send_to_addr(message.as_bytes(), &self.address);
            if sent.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
                self.again = Instant::now().checked_add(RETRY);
                return;
            }
            // Nobody is there to take it: that is no reason to serve nobody either.
            self.waiting.pop_front();
        }
    }
}
