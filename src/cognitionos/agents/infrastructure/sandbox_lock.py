"""The lock that a process puts on itself before it runs an agent's Python. ctypes alone, one way, no way back.

rlimits, no capabilities, no_new_privs, Landlock (ABI 1 to 7, later ones as 7) and a seccomp filter on top of each
other: files by Landlock, everything else (processes, sockets, signals, modes) by seccomp. What an older Landlock lacks,
seccomp refuses on every kernel. What stays possible: to learn that a path exists and how big it is (stat), never what
is in it.

Sources: landlock(7), seccomp(2), prctl(2), Linux' include/uapi/linux/{landlock,seccomp,filter,audit}.h. Imported by the
runner process, so it imports as little as possible.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass

from cognitionos.agents.infrastructure.sandbox_syscalls import ABSENT, IGNORED, INSPECTED, REFUSED

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 22, 38
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_SIGKILL, _EPERM, _ENOSYS = 9, 1, 38
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_ON_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
# Write, remove and make directories and regular files, rename between directories: no symlink, socket, pipe, device.
_CHANGE = _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | _TRUNCATE
_FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}  # how many of the file rights the kernel knows; 16 from ABI 5 on


class LockError(Exception):
    """This machine cannot lock the process, or the lock did not take. Nothing may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What the locked process may still do. Paths that do not exist are left out.

    `engine` is for a process whose own trusted native code (the WebAssembly engine) needs threads and memory files.
    """

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    cpu_s: int
    file_bytes: int
    address_space_bytes: int | None
    data_bytes: int | None
    engine: bool


def landlock_abi() -> int:
    """The Landlock version of the running kernel, 0 where there is none or where it is turned off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def why_no_lock() -> str | None:
    """Why this machine cannot lock a process, or None if it can."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, this is {sys.platform}"
    if platform.machine() not in _ARCHITECTURES:
        return f"no system call table for {platform.machine()}"
    if struct.calcsize("P") != 8:
        return "the interpreter is not a 64-bit one"
    if landlock_abi() < 1:
        return "the kernel has no Landlock (Linux 5.13 or later with `landlock` among its security modules)"
    return None


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent goes; leave at once if it is gone already. A change of credentials clears it."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def drop_privileges(uid: int | None) -> None:
    """Root: become `uid`, or stay root without a single capability if `uid` is None. Anyone else: nothing to drop."""
    if os.geteuid() != 0:
        return
    for capability in range(64):
        if _libc().prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    if uid is None:
        with suppress(PermissionError):  # root of a container without capabilities: its groups stay
            os.setgroups([])
    else:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if _libc().syscall(_CAPSET[platform.machine()], header, bytes(24)) != 0:
        raise LockError(f"capset: {os.strerror(ctypes.get_errno())}")


def close_all_but(*kept: int) -> None:
    """Close every inherited descriptor except `kept`."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - no pathlib in the runner
        if int(name) not in kept:
            with suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))


def engage(lock: Lock) -> None:
    """Lock this single-threaded process for good, or raise `LockError`."""
    reason = why_no_lock()
    if reason is not None:
        raise LockError(reason)
    _limit_resources(lock)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _restrict_files(lock)
    _filter_system_calls(lock)


def _limit_resources(lock: Lock) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: lock.cpu_s,
        resource.RLIMIT_FSIZE: lock.file_bytes,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NOFILE: 256,
    }
    if not lock.engine:
        limits[resource.RLIMIT_NPROC] = 0
    if lock.address_space_bytes is not None:
        limits[resource.RLIMIT_AS] = lock.address_space_bytes
    if lock.data_bytes is not None:
        limits[resource.RLIMIT_DATA] = lock.data_bytes
    for kind, wanted in limits.items():
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def _restrict_files(lock: Lock) -> None:
    abi = landlock_abi()
    handled = (1 << _FS_RIGHTS_BY_ABI.get(abi, 16)) - 1
    attributes = struct.pack("=Q", handled)
    if abi >= 4:
        attributes += struct.pack("=Q", 0b11)  # bind and connect of TCP: no rule allows any
    if abi >= 6:
        attributes += struct.pack("=Q", 0b11)  # abstract unix sockets and signals stay inside
    ruleset = _libc().syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        raise LockError(f"landlock_create_ruleset: {os.strerror(ctypes.get_errno())}")
    for paths, access in ((lock.readable, _READ), (lock.writable, _READ | _CHANGE)):
        for path in paths:
            _allow_beneath(ruleset, path, access & handled)
    if _libc().syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
        raise LockError(f"landlock_restrict_self: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def _allow_beneath(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - no pathlib in the runner
            access &= _ON_FILES
        rule = struct.pack("=Qi", access, place)
        if _libc().syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0)) != 0:
            raise LockError(f"landlock_add_rule {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(place)


# The filter program: instructions (code, jump if true, jump if false, constant) over `struct seccomp_data`.
_LOAD, _EQUALS, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
_NEWEST_KNOWN = 462  # mseal, Linux 6.10: what came later answers ENOSYS until someone has looked at it
_X32 = 0x40000000

_Instruction = tuple[int, int, int, int]


def _filter_system_calls(lock: Lock) -> None:
    program = _program(os.getpid(), engine=lock.engine)
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(packed, len(packed))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(program), ctypes.addressof(code))
    if _libc().prctl(_PR_SET_SECCOMP, 2, ctypes.byref(wanted), 0, 0) != 0:
        raise LockError(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _program(pid: int, *, engine: bool) -> list[_Instruction]:
    column, architecture = _ARCHITECTURES[platform.machine()]
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        (_AT_LEAST, 0, 1, _NEWEST_KNOWN + 1),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for table, error in ((REFUSED, _EPERM), (ABSENT, _ENOSYS), (IGNORED, 0)):
        for numbers in table.values():
            program += _when(numbers[column], [(_RETURN, 0, 0, _ERRNO | error)])
    for name, check in _inspections(pid, engine=engine).items():
        program += _when(INSPECTED[name][column], check)
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _when(number: int | None, block: list[_Instruction]) -> list[_Instruction]:
    return [] if number is None else [(_EQUALS, 0, len(block), number), *block]


def _inspections(pid: int, *, engine: bool) -> dict[str, list[_Instruction]]:
    refuse, allow = (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)

    def one_of(argument: int, *values: int, mask: int = 0xFFFFFFFF) -> list[_Instruction]:
        tests = [(_EQUALS, len(values) - place, 0, value) for place, value in enumerate(values)]
        return [(_LOAD, 0, 0, 16 + 8 * argument), (_AND, 0, 0, mask), *tests, refuse, allow]

    def unless_read_only_truncation(argument: int) -> list[_Instruction]:
        # O_RDONLY | O_TRUNC (or access mode 3) empties a file that Landlock before ABI 3 lets one read.
        tests = [(_EQUALS, 2, 0, os.O_TRUNC), (_EQUALS, 1, 0, os.O_TRUNC | os.O_ACCMODE), allow, refuse]
        return [(_LOAD, 0, 0, 16 + 8 * argument), (_AND, 0, 0, os.O_ACCMODE | os.O_TRUNC), *tests]

    thread = 0x10000
    unix_stream = [(_LOAD, 0, 0, 16), (_EQUALS, 1, 0, 1), refuse, *one_of(1, 1, mask=0xF)]
    return {
        # A socket pair of datagrams could be sent to any unix socket; a stream pair talks to itself only.
        "socketpair": unix_stream,
        "clone": [(_LOAD, 0, 0, 16), (_ANY_BIT, 1, 0, thread), refuse, allow] if engine else [refuse],
        "kill": one_of(0, pid),
        "tgkill": one_of(0, pid),
        "prlimit64": one_of(0, 0, pid),
        "prctl": one_of(0, _PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA),
        # TIOCSTI types into a terminal, TIOCLINUX pastes into a console.
        "ioctl": [(_LOAD, 0, 0, 24), (_EQUALS, 1, 0, 0x5412), (_EQUALS, 0, 1, 0x541C), refuse, allow],
        "open": unless_read_only_truncation(1),
        "openat": unless_read_only_truncation(2),
        "memfd_create": [allow] if engine else [refuse],
    }


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, value, 0, 0, 0) != 0:
        raise LockError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
