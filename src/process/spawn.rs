//! A command: from prepared data to a running program, or the errno of the step that failed.
//!
//! The child shares the memory of its parent until it execs (`CLONE_VM | CLONE_VFORK`, as in `posix_spawn(3)`):
//! a plain fork would copy the page tables of all certificates and hosts for every connection. The parent
//! stands still meanwhile, and then reads what the child has written into [`Attempt`].

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::types::{Credentials, NewPrivileges, Program};

/// How long a child that has become another user may take to its execve.
const TIME_TO_EXEC: libc::timespec = libc::timespec {
    tv_sec: 3,
    tv_nsec: 0,
};
/// Bytes of stack for the child's few frames.
const STACK: usize = 64 * 1024;

/// Starts commands.
pub struct Launcher {
    /// The soft and hard limit of open descriptors that tlssrv was started with; commands get them back.
    descriptor_limit: (u64, u64),
    stack: Box<[u8]>,
}

/// One command to start.
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Program,
    /// User and groups; `None`: those of tlssrv.
    pub credentials: Option<&'a Credentials>,
    /// The whole environment: `NAME=value` each.
    pub environment: &'a [CString],
    /// Standard input; a number above 2.
    pub stdin: BorrowedFd<'a>,
    /// Standard output; a number above 2.
    pub stdout: BorrowedFd<'a>,
    /// Standard error; a number above 2; `None`: that of tlssrv.
    pub stderr: Option<BorrowedFd<'a>>,
}

/// Why a command did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchError {
    /// The step that failed.
    pub step: Step,
    /// The error of the system call.
    pub errno: Errno,
}

/// The steps of starting a command, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// clone(2).
    Clone,
    /// dup2(2) to 0, 1 and 2.
    Descriptors,
    /// `rt_sigaction(2)`, `setsid(2)` and `rt_sigprocmask(2)`.
    Signals,
    /// setrlimit(2).
    Limits,
    /// setgroups(2).
    Groups,
    /// setresgid(2).
    Group,
    /// setresuid(2).
    User,
    /// The proof that the old user cannot be taken back.
    Proof,
    /// prctl(2): ambient capabilities, `no_new_privs`.
    Privileges,
    /// chdir(2).
    Directory,
    /// `close_range(2)`.
    CloseOnExec,
    /// execve(2).
    Exec,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            Step::Clone => "start a process",
            Step::Descriptors => "set its descriptors",
            Step::Signals => "reset its signals",
            Step::Limits => "set its resource limits",
            Step::Groups => "set its groups",
            Step::Group => "become its group",
            Step::User => "become its user",
            Step::Proof => "give up the old user for good",
            Step::Privileges => "give up privileges",
            Step::Directory => "change to its directory",
            Step::CloseOnExec => "close descriptors",
            Step::Exec => "execute it",
        };
        write!(f, "unable to {what}: {}", self.errno.desc())
    }
}

impl Launcher {
    /// A launcher whose commands get this soft and hard limit of open descriptors.
    pub fn new(descriptor_limit: (u64, u64)) -> Self {
        Self {
            descriptor_limit,
            stack: vec![0; STACK].into_boxed_slice(),
        }
    }

    /// Starts a command. The caller has to wait for it.
    ///
    /// Errors: the step that failed in the child. The child is gone then.
    pub fn start(&mut self, launch: &Launch<'_>) -> Result<Pid, LaunchError> {
        let failed = |step| move |errno| LaunchError { step, errno };
        let program = launch.program;
        let argv = pointers(&program.argv);
        let envp = pointers(launch.environment);
        let mut attempt = Attempt {
            path: &program.path,
            argv: &argv,
            envp: &envp,
            stdio: [
                Some(launch.stdin.as_raw_fd()),
                Some(launch.stdout.as_raw_fd()),
                launch.stderr.map(|fd| fd.as_raw_fd()),
            ],
            descriptor_limit: self.descriptor_limit,
            program,
            credentials: launch.credentials,
            failure: None,
        };

        let mut before = SigSet::empty();
        let all = SigSet::all();
        // No signal handler may run in the child while it shares this memory.
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before))
            .map_err(failed(Step::Signals))?;
        let top = self.stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child runs `child` on a stack of its own (aligned down by the C library), with
        // `attempt` alive and untouched by us, since CLONE_VFORK holds us until it execs or exits.
        // There is no other thread, and no signal handler can run: all are blocked.
        let pid = unsafe { libc::clone(child, top.cast(), flags, (&raw mut attempt).cast()) };
        let pid = Errno::result(pid).map(Pid::from_raw);
        let restored = before.thread_set_mask();
        let pid = pid.map_err(failed(Step::Clone))?;
        // SAFETY: `failure` is ours again; the read is volatile because the compiler has not seen the
        // child write to it.
        let failure = unsafe { ptr::read_volatile(&raw const attempt.failure) };
        match (failure, restored) {
            (None, Ok(())) => Ok(pid),
            (failure, _) => {
                // The child has left by _exit, so this does not block.
                let _ = waitpid(pid, None);
                Err(failure.unwrap_or(LaunchError {
                    step: Step::Signals,
                    errno: Errno::EINVAL,
                }))
            }
        }
    }
}

/// Everything that the child needs, prepared: the child allocates nothing and looks nothing up.
struct Attempt<'a> {
    path: &'a CStr,
    argv: &'a [*const c_char],
    envp: &'a [*const c_char],
    /// The descriptors that become 0, 1 and 2.
    stdio: [Option<RawFd>; 3],
    descriptor_limit: (u64, u64),
    program: &'a Program,
    credentials: Option<&'a Credentials>,
    failure: Option<LaunchError>,
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let strings = strings.iter().map(|s| s.as_ptr());
    strings.chain([ptr::null()]).collect()
}

/// The child, from clone to execve.
extern "C" fn child(attempt: *mut c_void) -> c_int {
    let attempt: *mut Attempt<'_> = attempt.cast();
    // SAFETY: this is the attempt that `start` lent us for as long as it stands still.
    let attempt = unsafe { &mut *attempt };
    let Err(failure) = become_command(attempt);
    attempt.failure = Some(failure);
    // The failure must be in memory before the child is gone.
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    super::fork::exit_now(127)
}

fn become_command(attempt: &Attempt<'_>) -> Result<std::convert::Infallible, LaunchError> {
    let program = attempt.program;
    let step = |step, result: c_long| match result {
        -1 => Err(LaunchError {
            step,
            errno: Errno::last(),
        }),
        value => Ok(value),
    };

    // Descriptors of a command:
    //   0  its end of the socketpair, or of the pipe that it reads
    //   1  the same socketpair end, or the end of the pipe that it writes
    //   2  the pipe into the log, /dev/null, or tlssrv's own
    // All sources have numbers above 2, so dup2 makes a new descriptor, without close-on-exec.
    for (to, from) in (0..).zip(attempt.stdio) {
        if let Some(from) = from {
            // SAFETY: dup2(2) touches no memory.
            let result = unsafe { libc::dup2(from, to) };
            step(Step::Descriptors, result.into())?;
        }
    }
    // Handlers would be reset by execve; what is ignored would stay so. A straight system call: the C
    // library would leave out two signals of its own, which our parent may have ignored all the same.
    let default = [0_u64; 4]; // the kernel's sigaction: SIG_DFL, no flags, an empty mask
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no handler, `default` is as long as the kernel's structure, and no
        // old one is asked for. It fails for SIGKILL and SIGSTOP, which cannot be ignored either.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    // Its own session: a terminal's interrupt is for tlssrv, which then lets commands end by themselves.
    // SAFETY: setsid(2) touches no memory; a new child leads no group, so it cannot fail.
    unsafe { libc::setsid() };
    let none = SigSet::empty();
    // SAFETY: the set is valid, and no old one is asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ref(), ptr::null_mut()) };
    step(Step::Signals, result.into())?;

    let (soft, hard) = attempt.descriptor_limit;
    let descriptors = (libc::RLIMIT_NOFILE, soft, hard);
    let own = program.rlimits.iter();
    let own = own.map(|l| (l.resource as _, l.soft, l.hard));
    for (resource, rlim_cur, rlim_max) in std::iter::once(descriptors).chain(own) {
        let limit = libc::rlimit { rlim_cur, rlim_max };
        // SAFETY: `limit` outlives the call.
        let result = unsafe { libc::setrlimit(resource, &raw const limit) };
        step(Step::Limits, result.into())?;
    }

    if let Some(credentials) = attempt.credentials {
        limit_time(&step)?;
        take_credentials(credentials, &step)?;
    }
    // Ambient capabilities survive execve; kernels without them have none to clear.
    // SAFETY: prctl(2) with these arguments touches no memory.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    if let Some(directory) = &program.directory {
        // SAFETY: the path is a valid C string.
        let result = unsafe { libc::chdir(directory.as_ptr()) };
        step(Step::Directory, result.into())?;
    }
    if let Some(mask) = program.umask {
        // SAFETY: umask(2) touches no memory and cannot fail.
        unsafe { libc::umask(mask) };
    }
    if program.new_privileges == NewPrivileges::Forbidden {
        // SAFETY: prctl(2) with these arguments touches no memory.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        step(Step::Privileges, result.into())?;
    }
    // SAFETY: marking descriptors touches no memory; the table is a copy, ours alone.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    step(Step::CloseOnExec, result)?;
    // SAFETY: path, argv and envp are valid, the last two end with a null pointer.
    unsafe {
        libc::execve(
            attempt.path.as_ptr(),
            attempt.argv.as_ptr(),
            attempt.envp.as_ptr(),
        );
    }
    Err(LaunchError {
        step: Step::Exec,
        errno: Errno::last(),
    })
}

/// From the moment it is another user's, that user's processes can stop the child, and our parent waits
/// for its execve: it gets a timer that kills it, stopped or not. execve deletes the timer.
fn limit_time(
    step: &impl Fn(Step, c_long) -> Result<c_long, LaunchError>,
) -> Result<(), LaunchError> {
    // SAFETY: all zeros is a valid value of this plain C struct.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer: c_int = 0;
    let (clock, event, timer_place) = (libc::CLOCK_MONOTONIC, &raw const event, &raw mut timer);
    // SAFETY: both places outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_timer_create, clock, event, timer_place) };
    step(Step::Limits, result)?;
    let once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let time = libc::itimerspec {
        it_interval: once,
        it_value: TIME_TO_EXEC,
    };
    let old = ptr::null_mut::<libc::itimerspec>();
    // SAFETY: `time` outlives the call, and no old value is asked for.
    let result = unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const time, old) };
    step(Step::Limits, result)?;
    Ok(())
}

/// Groups, group, user, in this order, and the proof. Straight system calls: the C library's wrappers
/// would tell the other threads, and this process shares memory with one.
fn take_credentials(
    credentials: &Credentials,
    step: &impl Fn(Step, c_long) -> Result<c_long, LaunchError>,
) -> Result<(), LaunchError> {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: the list is valid for its length.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    step(Step::Groups, result)?;
    // SAFETY: setresgid(2) touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) };
    step(Step::Group, result)?;
    // SAFETY: setresuid(2) touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) };
    step(Step::User, result)?;
    if *uid != 0 {
        // SAFETY: setresuid(2) touches no memory; it has to fail.
        let back = unsafe { libc::syscall(libc::SYS_setresuid, -1, 0, -1) };
        if back != -1 {
            return Err(LaunchError {
                step: Step::Proof,
                errno: Errno::EPERM,
            });
        }
    }
    Ok(())
}
