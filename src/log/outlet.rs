//! The way of lines out of the monitor, which never waits for it: what does not go out is kept up to a bound, and
//! dropped and counted beyond.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, shutdown, socketpair,
};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::Fields;
use super::line::{Form, Frame};
use super::sink::Sink;
use super::writer::{self, LONGEST, LONGEST_MESSAGE, Order, TELL_AGAIN, Writer};
use crate::config::{LogFormat, LogTo};
use crate::process::socket::{Written, send};
use crate::process::start_itself;
use crate::types::{Severity, cause};

/// Bytes of lines that are kept, beside those in the buffer of a socket.
const MOST_KEPT: usize = 1 << 20;
/// Time until lines that are kept are tried again, if no other line comes.
const RETRY: Duration = Duration::from_millis(100);
/// Time until a process that has ended is replaced.
const PAUSE: Duration = Duration::from_secs(1);
/// Time that the last lines have at the end.
const LAST: Duration = Duration::from_secs(2);
/// Time that a file has to be opened in, before its errors are no longer those of the start or of the reload.
const OPENING: Duration = Duration::from_secs(1);
/// Time between two looks at the destination at the end.
const LOOK: Duration = Duration::from_millis(5);

/// The lines that wait, and whoever writes them.
pub(super) struct Outlet {
    to: LogTo,
    form: Form,
    by: By,
    kept: VecDeque<Order>,
    /// Bytes of the lines that are kept.
    bytes: usize,
    /// Number of lines that were dropped since the last one that was kept.
    dropped: u64,
    last_try: Instant,
    /// Whether lines are kept until they go out together.
    held: bool,
}

/// Whoever writes the lines.
enum By {
    /// The monitor itself.
    Itself(Writer),
    /// A process.
    Process(Process),
    /// Nobody: the process has ended, and another one is due then.
    Nobody(Instant),
}

/// The process has ended.
struct Gone;

/// A process that writes lines.
struct Process {
    pid: Pid,
    socket: OwnedFd,
    /// Whether it has opened the log. It gets no lines before.
    has_opened: bool,
}

impl Outlet {
    /// Opens a destination. The second value is what the operator has to hear of it.
    ///
    /// Errors: those of opening the file, or of reaching syslog. A file that cannot be opened for now, because its disk
    /// hangs or it is a pipe that nobody reads, is none: its process waits.
    pub(super) fn open(to: &LogTo, format: LogFormat) -> io::Result<(Self, Option<String>)> {
        let sink = match to {
            LogTo::File(_) => None,
            LogTo::Stderr | LogTo::Syslog(_) => Some(Sink::open(to)?),
        };
        let frame = sink.as_ref().map_or(Frame::Stamped, Sink::frame);
        let form = Form { format, frame };
        let mut outlet = Self {
            to: to.clone(),
            form,
            by: By::Nobody(Instant::now()),
            kept: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            last_try: Instant::now(),
            held: false,
        };
        let mut slow = None;
        outlet.by = match sink {
            Some(sink) if sink.never_waits() => By::Itself(Writer::new(sink, form)),
            sink => match outlet.start_process() {
                Ok(mut process) => {
                    process.has_opened(Instant::now() + OPENING)?;
                    By::Process(process)
                }
                Err(e) => {
                    let line = "unable to start the process that writes the log";
                    let then = "everybody waits while the log cannot be written";
                    slow = Some(format!("{line}: {}: {then}", cause(&e)));
                    let sink = sink.map_or_else(|| Sink::open(to), Ok)?;
                    By::Itself(Writer::new(sink, form))
                }
            },
        };
        Ok((outlet, slow))
    }

    fn start_process(&self) -> io::Result<Process> {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (ours, theirs) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?;
        let arguments = writer::arguments(&self.to, self.form.format);
        let pid = start_itself(writer::ARGUMENT_0, &arguments, theirs)?;
        Ok(Process {
            pid,
            socket: ours,
            has_opened: false,
        })
    }

    /// The form of the lines.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Lets lines wait for each other, if a process writes them: it wakes up once for all of them.
    pub(super) fn hold(&mut self) {
        self.held = matches!(self.by, By::Process(_));
    }

    /// Lets lines go out that have waited for each other.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.held) && !self.is_empty() {
            self.flush();
        }
    }

    /// Takes a line.
    pub(super) fn line(&mut self, severity: Severity, line: Vec<u8>) {
        self.flush_unless_held();
        if line.len() > LONGEST || self.bytes + line.len() > MOST_KEPT {
            self.dropped += 1;
            return;
        }
        self.keep_count();
        self.bytes += line.len();
        self.kept.push_back(Order::Line(severity, line));
        self.flush_unless_held();
    }

    /// Opens the destination again, after the lines that are kept.
    pub(super) fn reopen(&mut self) {
        self.kept.push_back(Order::Reopen);
        self.flush();
    }

    /// Keeps the number of lines that were dropped, in their place.
    fn keep_count(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.kept.push_back(Order::Dropped(dropped));
        }
    }

    /// Time of the next [`Outlet::tick`].
    pub(super) fn due(&self) -> Option<Instant> {
        let again = |wait| self.last_try.checked_add(wait);
        match &self.by {
            By::Nobody(until) => Some(*until),
            _ if !self.is_empty() => again(RETRY),
            By::Itself(writer) if writer.has_lost() => again(TELL_AGAIN),
            _ => None,
        }
    }

    /// Tries again what could not be done before.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        if let By::Nobody(_) = self.by {
            self.replace(now);
        }
        self.flush();
        if self.kept.is_empty() {
            self.keep_count();
            self.flush();
        }
        if let By::Itself(writer) = &mut self.by {
            let _ = writer.tell_lost();
        }
    }

    /// Starts another process in place of one that has ended.
    fn replace(&mut self, now: Instant) {
        self.by = match self.start_process() {
            Ok(process) => By::Process(process),
            Err(_) => By::Nobody(now.checked_add(PAUSE).unwrap_or(now)),
        };
    }

    /// Notes that a child process has ended: it may be the one that writes.
    pub(super) fn exited(&mut self, pid: Pid) {
        if matches!(&self.by, By::Process(process) if process.pid == pid) {
            self.lose();
        }
    }

    /// Tells that the process has ended, if it has got lines, and lets another one take its place.
    fn lose(&mut self) {
        let now = Instant::now();
        let until = now.checked_add(PAUSE).unwrap_or(now);
        if let By::Process(Process {
            pid,
            has_opened: true,
            ..
        }) = std::mem::replace(&mut self.by, By::Nobody(until))
        {
            let message =
                format!("the process {pid} that wrote the log has ended: lines may be missing");
            let line = (self.form).line(Severity::Err, Some(&message), &Fields::new());
            self.bytes += line.len();
            self.kept.push_back(Order::Line(Severity::Err, line));
        }
    }

    fn flush_unless_held(&mut self) {
        if !self.held || self.bytes >= LONGEST {
            self.flush();
        }
    }

    /// Gives on what is taken.
    fn flush(&mut self) {
        self.last_try = Instant::now();
        while let Some(order) = self.kept.front() {
            let taken = match &mut self.by {
                By::Itself(writer) => usize::from(writer.take(order).is_ok()),
                By::Process(process) => match process.send(self.kept.iter()) {
                    Ok(taken) => taken,
                    Err(Gone) => return self.lose(),
                },
                By::Nobody(_) => 0,
            };
            if taken == 0 {
                return;
            }
            for order in self.kept.drain(..taken) {
                if let Order::Line(_, line) = order {
                    self.bytes -= line.len();
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.dropped == 0
    }

    /// Number of lines that are not given on.
    pub(super) fn unwritten(&self) -> u64 {
        let kept = self.kept.iter().map(|order| match order {
            Order::Line(..) => 1,
            Order::Dropped(count) => *count,
            Order::Reopen => 0,
        });
        kept.sum::<u64>() + self.dropped
    }

    /// Counts lines that another outlet was to write.
    pub(super) fn count_dropped(&mut self, count: u64) {
        self.dropped += count;
        self.keep_count();
        self.flush();
    }

    /// Waits until everything is written, for a limited time.
    pub(super) fn close(&mut self) {
        let until = Instant::now() + LAST;
        let in_time = || Instant::now() < until;
        loop {
            self.flush();
            self.keep_count();
            self.flush();
            let unread = match &self.by {
                // Who has sent an entry is looked up by the journal while the process is there.
                By::Itself(writer) => writer.sink.unread(),
                By::Process(_) => 0,
                By::Nobody(_) if !self.is_empty() => {
                    self.replace(until);
                    0
                }
                By::Nobody(_) => 0,
            };
            if (self.is_empty() && unread == 0) || !in_time() {
                break;
            }
            thread::sleep(LOOK);
        }
        if let By::Process(process) = &self.by {
            process.end(until);
        }
    }
}

impl Process {
    /// Whether the process has opened the log, which is waited for until then at most.
    ///
    /// Errors: why the log cannot be opened.
    fn has_opened(&mut self, until: Instant) -> io::Result<bool> {
        if self.has_opened {
            return Ok(true);
        }
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let left = u16::try_from(left).unwrap_or(u16::MAX);
        if !matches!(poll(&mut socket, PollTimeout::from(left)), Ok(1..)) {
            return Ok(false);
        }
        let mut errno = [0; size_of::<i32>()];
        match recv(self.socket.as_raw_fd(), &mut errno, MsgFlags::MSG_DONTWAIT)? {
            0 => return Err(io::Error::other("the process that writes it has ended")),
            _ => match i32::from_le_bytes(errno) {
                0 => self.has_opened = true,
                errno => return Err(io::Error::from_raw_os_error(errno)),
            },
        }
        Ok(true)
    }

    /// Gives the first of these orders to the process, as many as a message has room for. Returns how many the socket
    /// has taken.
    fn send<'a>(&mut self, orders: impl Iterator<Item = &'a Order>) -> Result<usize, Gone> {
        if !self.has_opened(Instant::now()).map_err(|_| Gone)? {
            return Ok(0);
        }
        let (mut message, mut count) = (Vec::new(), 0);
        for order in orders {
            // Only types that postcard cannot represent make this fail.
            let order = postcard::to_stdvec(order).unwrap_or_default();
            if count > 0 && message.len() + order.len() > LONGEST_MESSAGE {
                break;
            }
            message.extend(order);
            count += 1;
        }
        match send(&self.socket, &message) {
            Written::Bytes(0) => Ok(0),
            // No socket takes it, now or later.
            Written::Bytes(_) | Written::Broken(Errno::EMSGSIZE) => Ok(count),
            Written::Broken(_) => Err(Gone),
        }
    }

    /// Lets the process write what it has, until then at most.
    fn end(&self, until: Instant) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            let left = u16::try_from(left).unwrap_or(u16::MAX);
            match poll(&mut socket, PollTimeout::from(left)) {
                // The process has closed its end, which it does when it ends.
                Ok(1..) => {
                    let _ = waitpid(self.pid, None);
                    break;
                }
                _ if left > 0 => {}
                _ => {
                    // A process that hangs on a disk cannot be waited for.
                    let _ = kill(self.pid, Signal::SIGKILL);
                    break;
                }
            }
        }
    }
}
