"""Runs a program under the capabilities and system call filters that a unit of systemd asks for:

    confine.py UNIT PROGRAM [ARGUMENT]...

An emulation of systemd.exec(5) as far as it needs no mounts: NoNewPrivileges=, CapabilityBoundingSet=,
AmbientCapabilities= and DynamicUser= (as user 64242), SystemCallFilter=, MemoryDenyWriteExecute=,
RestrictNamespaces=, RestrictAddressFamilies=, and the filters that Protect*= and PrivateDevices= imply.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys

seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
ALLOW = 0x7FFF0000
EQUAL, MASKED_EQUAL = 4, 7
USER = "64242"


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def deny(number):
    return 0x00050000 | number


class Filter:
    def __init__(self, default):
        self.context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, name, *compares):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # not on this architecture
        array = (Compare * len(compares))(*compares)
        result = seccomp.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), number, len(compares), array)
        assert result == 0, (name, result)

    def load(self):
        result = seccomp.seccomp_load(self.context)
        assert result == 0, result


def expand(word):
    if not word.startswith("@"):
        return {word}
    text = subprocess.run(["systemd-analyze", "syscall-filter", word],
                          stdout=subprocess.PIPE, check=True, text=True).stdout
    members = [line.strip() for line in text.splitlines()[1:]]
    return set().union(*(expand(m) for m in members if m and not m.startswith("#")))


def read(unit):
    settings = {}
    with open(unit) as lines:
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if equals and not line.startswith("#"):
                settings.setdefault(name, []).append(value)
    return settings


def filters(unit):
    settings = read(unit)
    on = lambda name: settings.get(name, ["no"])[-1] == "yes"
    lists = settings.get("SystemCallFilter", [])
    if lists:
        allow, names = not lists[0].startswith("~"), set()
        for entry in lists:
            words = set().union(*map(expand, entry.lstrip("~").split()))
            names = names | words if entry.startswith("~") != allow else names - words
        made = Filter(deny(errno.EPERM) if allow else ALLOW)
        for name in names:
            made.add(ALLOW if allow else deny(errno.EPERM), name)
        yield made

    made = Filter(ALLOW)
    implied = {"ProtectKernelModules": "@module", "PrivateDevices": "@raw-io", "ProtectClock": "@clock",
               "ProtectKernelLogs": "syslog", "ProtectHostname": "sethostname"}
    for name in set().union(*(expand(words) for setting, words in implied.items() if on(setting))):
        made.add(deny(errno.EPERM), name)
    if on("MemoryDenyWriteExecute"):
        made.add(deny(errno.EPERM), "mmap", Compare(2, MASKED_EQUAL, 6, 6))
        for name in ["mprotect", "pkey_mprotect"]:
            made.add(deny(errno.EPERM), name, Compare(2, MASKED_EQUAL, 4, 4))
    if on("RestrictNamespaces"):
        for kind in [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]:
            made.add(deny(errno.EPERM), "unshare", Compare(0, MASKED_EQUAL, kind, kind))
            made.add(deny(errno.EPERM), "clone", Compare(0, MASKED_EQUAL, kind, kind))
        made.add(deny(errno.EPERM), "setns")
        made.add(deny(errno.ENOSYS), "clone3")
    families = " ".join(settings.get("RestrictAddressFamilies", [])).split()
    if families:
        allowed = {getattr(socket, name) for name in families}
        for family in set(range(46)) - allowed:
            made.add(deny(errno.EAFNOSUPPORT), "socket", Compare(0, EQUAL, family, 0))
    yield made


def no_new_privileges(unit):
    settings = read(unit)
    return settings.get("NoNewPrivileges", ["no"])[-1] == "yes" or "DynamicUser" in settings


def privileges(unit):
    settings = read(unit)
    words = lambda name: " ".join(settings.get(name, [])).lower().replace("cap_", "").split()
    command = ["setpriv"] + ["--no-new-privs"] * no_new_privileges(unit)
    command.append("--bounding-set=" + ",".join(["-all"] + ["+" + c for c in words("CapabilityBoundingSet")]))
    if "DynamicUser" in settings:
        ambient = ",".join(["-all"] + ["+" + c for c in words("AmbientCapabilities")])
        command += ["--reuid=" + USER, "--regid=" + USER, "--clear-groups",
                    "--inh-caps=" + ambient, "--ambient-caps=" + ambient]
    return command


if sys.argv[1] == "--filtered":
    unit, command = sys.argv[2], sys.argv[3:]
    for made in list(filters(unit)):
        made.load()
elif not no_new_privileges(sys.argv[1]):
    # As systemd does it: without no_new_privs a filter takes CAP_SYS_ADMIN, which goes afterwards.
    unit, rest = sys.argv[1], sys.argv[2:]
    for made in list(filters(unit)):
        assert seccomp.seccomp_attr_set(made.context, 3, ctypes.c_uint32(0)) == 0  # SCMP_FLTATR_CTL_NNP
        made.load()
    command = privileges(unit) + rest
else:
    unit, rest = sys.argv[1], sys.argv[2:]
    command = privileges(unit) + [sys.executable, __file__, "--filtered", unit] + rest
os.execvp(command[0], command)
