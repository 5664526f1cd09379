//! The jail of an engine: the privileges that it gives up for good before its first connection.
//!
//! The order matters: each step that needs privileges comes before they go, and nothing is opened afterwards. An
//! engine of an ordinary user takes the steps that such a user may take.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, chdir, chroot, setgroups, setresgid, setresuid, setuid};
use seccompiler::{BpfProgram, sock_filter};

use crate::types::{Credentials, cause};

// Elsewhere the filter below would end every engine.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the system call filter is written for x86_64 and aarch64");

/// The jail of a process.
pub struct Jail<'a> {
    /// User and groups to change to; `None`: the process keeps those that tlssrv was started with.
    pub credentials: Option<&'a Credentials>,
}

/// The step that failed, and why.
#[derive(Debug)]
pub struct JailError(String);

impl Display for JailError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unable to {}", self.0)
    }
}

impl Jail<'_> {
    /// Gives up all privileges. On a kernel without landlock or seccomp, the other steps still hold.
    ///
    /// Errors: the step that failed; the engine must not serve then.
    pub fn enter(&self) -> Result<(), JailError> {
        let filter = seccomp_filter();
        if let Some(credentials) = self.credentials {
            enter_empty_root()?;
            become_user(credentials)?;
        }
        // The monitor is undumpable, too, but a change of user resets that.
        prctl::set_dumpable(false).map_err(unable("become undumpable"))?;
        prctl::set_no_new_privs().map_err(unable("set no_new_privs"))?;
        for resource in [
            Resource::RLIMIT_NPROC,
            Resource::RLIMIT_FSIZE,
            Resource::RLIMIT_CORE,
        ] {
            setrlimit(resource, 0, 0).map_err(unable("lower resource limits"))?;
        }
        for set in [
            caps::CapSet::Ambient,
            caps::CapSet::Inheritable,
            caps::CapSet::Effective,
            caps::CapSet::Permitted,
        ] {
            caps::clear(None, set).map_err(unable("clear capabilities"))?;
        }
        landlock_everything()?;
        match seccompiler::apply_filter(&filter) {
            // A kernel without seccomp filters.
            Err(seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e))
                if e.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(())
            }
            result => result.map_err(unable("filter system calls")),
        }
    }
}

fn unable<E: Error + 'static>(what: &'static str) -> impl FnOnce(E) -> JailError {
    move |e| JailError(format!("{what}: {}", cause(&e)))
}

/// An empty root directory that stays empty, because it is already deleted.
fn enter_empty_root() -> Result<(), JailError> {
    let enter = || -> std::io::Result<()> {
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("tlssrv.XXXXXX"))?;
        chdir(&directory)?;
        std::fs::remove_dir(&directory)?;
        chroot(".")?;
        Ok(chdir("/")?)
    };
    enter().map_err(unable("enter an empty root directory"))
}

fn become_user(credentials: &Credentials) -> Result<(), JailError> {
    let (uid, gid) = (
        Uid::from_raw(credentials.uid),
        Gid::from_raw(credentials.gid),
    );
    let groups: Vec<Gid> = credentials
        .groups
        .iter()
        .map(|&g| Gid::from_raw(g))
        .collect();
    setgroups(&groups).map_err(unable("set the engine's groups"))?;
    setresgid(gid, gid, gid).map_err(unable("become the engine's group"))?;
    setresuid(uid, uid, uid).map_err(unable("become the engine's user"))?;
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(JailError("give up root for good".to_owned()));
    }
    Ok(())
}

/// Forbids all files, all TCP ports, signals to other processes and their abstract sockets. An older kernel
/// enforces what it knows of this.
fn landlock_everything() -> Result<(), JailError> {
    let abi = ABI::V6;
    let restrict = || -> Result<_, landlock::RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .restrict_self()
    };
    restrict()
        .map(drop)
        .map_err(unable("restrict itself with landlock"))
}

/// The system calls that an engine may use. Any other one ends it.
///
/// seccompiler's own programs are four times as long, and when a program is installed the kernel runs
/// it once for each system call there is: that was 0.1 ms for every connection of the one-connection
/// form.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all are small constants"
)]
fn seccomp_filter() -> BpfProgram {
    const CALLS: &[libc::c_long] = &[
        // the event loop
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_create1,
        libc::SYS_clock_gettime,
        libc::SYS_restart_syscall,
        // connections, and the channel to the monitor
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_shutdown,
        libc::SYS_close,
        libc::SYS_fcntl,
        // memory
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_futex,
        // randomness, and whether it has been forked
        libc::SYS_getrandom,
        libc::SYS_getpid,
        // the end
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // abort(3) after a panic
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_rt_sigaction,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
    ];
    /// `AUDIT_ARCH_…`: the ELF machine, 64 bits, little-endian.
    const ARCH: u32 = 0xc000_0000
        | if cfg!(target_arch = "x86_64") {
            libc::EM_X86_64 as u32
        } else {
            libc::EM_AARCH64 as u32
        };
    let load = |field| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, field);
    let skip_if = |value, skipped| instruction(libc::BPF_JMP | libc::BPF_JEQ, skipped, value);
    let answer = |verdict| instruction(libc::BPF_RET, 0, verdict);
    let kill = answer(libc::SECCOMP_RET_KILL_PROCESS);

    // struct seccomp_data { int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]; }
    let mut program = vec![load(4), skip_if(ARCH, 1), kill.clone(), load(0)];
    // setsockopt(…, SOL_SOCKET, SO_LINGER, …) resets a connection to a backend; no other option is set.
    program.extend([
        skip_if(libc::SYS_setsockopt as u32, 1),
        instruction(libc::BPF_JMP | libc::BPF_JA, 0, 6),
        load(24),
        skip_if(libc::SOL_SOCKET as u32, 1),
        kill.clone(),
        load(32),
        skip_if(libc::SO_LINGER as u32, CALLS.len() as u8 + 2),
        kill.clone(),
    ]);
    for (&call, left) in CALLS.iter().zip((1..=CALLS.len()).rev()) {
        // To the last instruction, over the calls that are left and the one before the last.
        program.push(skip_if(call as u32, left as u8));
    }
    program.extend([kill, answer(libc::SECCOMP_RET_ALLOW)]);
    program
}

fn instruction(code: u32, skipped: u8, k: u32) -> sock_filter {
    sock_filter {
        #[expect(clippy::cast_possible_truncation, reason = "instructions have 16 bits")]
        code: code as u16,
        jt: skipped,
        jf: 0,
        k,
    }
}
