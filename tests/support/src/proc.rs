//! What `/proc` says about a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::unistd::Pid;

/// The children of a process, zombies too.
pub fn children(parent: Pid) -> Vec<Pid> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        if stat(pid).is_some_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    children
}

/// The zombies among the children of a process.
pub fn zombies(parent: Pid) -> Vec<Pid> {
    let mut children = children(parent);
    children.retain(|pid| stat(*pid).is_some_and(|stat| stat.state == 'Z'));
    children
}

/// Waits until a process has no zombie children.
pub fn no_zombies(parent: Pid) {
    crate::eventually("no zombies", || zombies(parent).is_empty().then_some(()));
}

/// Whether a process exists and is no zombie.
pub fn runs(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// What `/proc/PID/stat` says.
pub struct Stat {
    /// The state: `R`, `S`, `Z` …
    pub state: char,
    /// The process ID of the parent.
    pub parent: Pid,
    /// User and system time, in clock ticks.
    pub ticks: u64,
}

/// `None`: there is no such process.
pub fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may have anything in it.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: Pid::from_raw(fields[1].parse().ok()?),
        ticks: fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?,
    })
}

/// The name of the program that a process runs, 15 bytes of it.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The arguments of a process, its own name first.
pub fn arguments(pid: Pid) -> Vec<String> {
    strings(pid, "cmdline")
}

/// The environment of a process when it started.
pub fn environment(pid: Pid) -> BTreeMap<String, String> {
    let variable = |variable: String| {
        let (name, value) = variable.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    strings(pid, "environ").into_iter().map(variable).collect()
}

fn strings(pid: Pid, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
    let Some(bytes) = bytes.strip_suffix(&[0]) else {
        return Vec::new();
    };
    let strings = bytes.split(|byte| *byte == 0);
    strings
        .map(|s| String::from_utf8(s.to_vec()).unwrap())
        .collect()
}

/// The open descriptors of a process.
pub fn descriptors(pid: Pid) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .map(|n| n.to_str().unwrap().parse().unwrap())
        .collect()
}

/// The number of open descriptors of a process. Since Linux 6.2 it is the size of the directory, even for a
/// process that the tests may not inspect.
pub fn descriptor_count(pid: Pid) -> Option<usize> {
    let directory = format!("/proc/{pid}/fd");
    match fs::metadata(&directory).ok()?.len() {
        0 => Some(fs::read_dir(&directory).ok()?.count()),
        size => usize::try_from(size).ok(),
    }
}

/// A line of `/proc/PID/status`: `Uid`, `SigIgn`, `VmRSS` …
pub fn status(pid: Pid, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = |line: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(':')?;
        Some(value.trim().to_owned())
    };
    status.lines().find_map(value)
}

/// The resident memory of a process, in KiB.
pub fn resident(pid: Pid) -> u64 {
    let size = status(pid, "VmRSS").unwrap_or_default();
    size.trim_end_matches(" kB").parse().unwrap_or(0)
}
