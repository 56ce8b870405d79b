"""Attacks by way of the kernel's own interfaces, on every backend: each is turned away before it looks at anything.

A call that only misses its target (`EFAULT`, `EINVAL`, ...) has been let through: the filter's answers are EPERM and
ENOSYS, and no other counts as refused. WebAssembly has no such calls at all.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.sandboxes import runners_of
from tests.waiting import eventually

from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox

NEW_USER, CHILD = 0x10000000, 17
IOV = "bytes(struct.pack('QQ', ctypes.addressof(buffer), 8))"
HIGHER = "struct.pack('QQ', 1 << 40, 1 << 40)"
# name -> (number on x86_64, on aarch64, arguments)
CALLS = {
    "add_key": (248, 217, "b'user', b'x', b'y', 1, -3"),
    "keyctl": (250, 219, "0, -3, 1"),
    "userfaultfd": (323, 282, "1"),
    "perf_event_open": (298, 241, "struct.pack('IIQ', 1, 112, 0) + bytes(96), 0, -1, -1, 0"),
    "bpf": (321, 280, "0, struct.pack('IIII', 2, 4, 8, 1) + bytes(100), 116"),
    "io_uring_setup": (425, 425, "4, bytes(120)"),
    "ptrace of a sibling": (101, 117, "16, @SIBLING, 0, 0"),
    "ptrace of the parent": (101, 117, "0x4206, @PARENT, 0, 0"),
    "process_vm_readv of a sibling": (310, 270, f"@SIBLING, {IOV}, 1, {IOV}, 1, 0"),
    "process_vm_readv of the parent": (310, 270, f"@PARENT, {IOV}, 1, {IOV}, 1, 0"),
    "process_vm_writev of a sibling": (311, 271, f"@SIBLING, {IOV}, 1, {IOV}, 1, 0"),
    "pidfd_open of the parent": (434, 434, "@PARENT, 0"),
    "kcmp with the parent": (312, 272, "@PARENT, @PARENT, 0, 0, 0"),
    "mount": (165, 40, "b'none', b'/tmp', b'tmpfs', 0, None"),
    "umount2": (166, 39, "b'/proc', 2"),
    "pivot_root": (155, 41, "b'.', b'.'"),
    "chroot": (161, 51, "b'.'"),
    "fsopen": (430, 430, "b'tmpfs', 0"),
    "open_tree": (428, 428, "-100, b'/', 1"),
    "unshare for a user": (272, 97, f"{NEW_USER}"),
    "unshare for mounts": (272, 97, "0x20000"),
    "clone for a user": (56, 220, f"{NEW_USER | CHILD}, 0, 0, 0, 0"),
    "clone3 for a user": (435, 435, f"struct.pack('QQQQQ', {NEW_USER}, 0, 0, 0, {CHILD}) + bytes(48), 88"),
    "setns": (308, 268, "0, 0"),
    "name_to_handle_at": (303, 264, "-100, b'/etc/passwd', struct.pack('Ii', 128, 0) + bytes(128), bytes(8), 0"),
    "open_by_handle_at": (304, 265, "-100, struct.pack('Ii', 8, 1) + bytes(8), 0"),
    "memfd_secret": (447, 447, "0"),
    "memfd_create": (319, 279, "b'x', 0"),
    "inotify_init1": (294, 26, "0"),
    "fanotify_init": (300, 262, "0, 0"),
    "personality": (135, 92, "0xffffffff"),
    "shmget": (29, 194, "0, 4096, 0o1600"),
    "semget": (64, 190, "0, 1, 0o1600"),
    "msgget": (68, 186, "0, 0o1600"),
    "mq_open": (240, 180, "b'x', 0o102, 0o600, 0"),
    "more open files": (160, 164, f"7, {HIGHER}"),
    "larger files": (160, 164, f"1, {HIGHER}"),
    "more time": (160, 164, f"0, {HIGHER}"),
    "more processes": (160, 164, f"6, {HIGHER}"),
    "more open files by prlimit": (302, 261, f"0, 7, {HIGHER}, None"),
    "the parent's limits": (302, 261, f"@PARENT, 7, {HIGHER}, None"),
    "typing into the terminal": (16, 29, "0, 0x5412, b'x'"),
    "pasting into the console": (16, 29, "0, 0x541C, b'\\x03'"),
    "being traced": (157, 167, "4, 1, 0, 0, 0"),
    "naming a tracer": (157, 167, "0x59616d61, -1, 0, 0, 0"),
    "moving the memory map": (157, 167, "35, 1, 0, 0, 0"),
}
HARMLESS = {"inotify_init1", "memfd_create", "personality", "pidfd_open of the parent", "being traced"}
"""These are let through on plain Python, whoever runs it."""
PROBE = """
import ctypes, errno, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
arm, buffer = platform.machine() == 'aarch64', ctypes.create_string_buffer(8)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    told = libc.syscall(ctypes.c_long(number), *given)
    if told >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        print('REACHED', name, told, errno.errorcode.get(ctypes.get_errno()))
"""
FILES = {
    "the first process's root": "print('REACHED', os.listdir('/proc/1/root'))",
    "a file by the first process's root": "print('REACHED', open('/proc/1/root/etc/passwd').read())",
    "its own root": "print('REACHED', open('/proc/self/root/etc/passwd').read())",
    "the parent's memory": "print('REACHED', open('/proc/@PARENT/mem', 'rb'))",
    "a sibling's memory": "print('REACHED', open('/proc/@SIBLING/mem', 'rb'))",
    "a sibling's directory": "print('REACHED', os.listdir('/proc/@SIBLING/cwd'))",
    "a sibling's file": "print('REACHED', open('/proc/@SIBLING/cwd/private').read())",
    "a sibling's environment": "print('REACHED', open('/proc/@SIBLING/environ', 'rb').read())",
    "its own memory": "print('REACHED', open('/proc/self/mem', 'r+b'))",
    "a larger core": "open('/proc/self/coredump_filter', 'w').write('0x7f'); print('REACHED')",
    "the first to be killed": "open('/proc/@PARENT/oom_score_adj', 'w').write('1000'); print('REACHED')",
    "never to be killed": "open('/proc/self/oom_score_adj', 'w').write('-1000'); print('REACHED')",
    "shared memory": "open('/dev/shm/x', 'wb').write(bytes(2**20)); print('REACHED')",
    "shared memory by its name": "from multiprocessing import shared_memory as s\n"
    "s.SharedMemory(create=True, size=2**30); print('REACHED')",
    "the terminal": "print('REACHED', open('/dev/tty', 'r+b', 0))",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/sh'); print('REACHED')",
    "the kernel's keys": "open('/proc/sysrq-trigger', 'w').write('h'); print('REACHED')",
    "control groups": "print('REACHED', os.listdir('/sys/fs/cgroup'))",
    "raw disks": "print('REACHED', os.listdir('/dev'))",
    "a device of its own": "os.mknod('device', 0o20666, os.makedev(1, 1)); print('REACHED')",
    "a pipe of its own": "os.mkfifo('pipe'); print('REACHED')",
    "a set-user-id file": "open('f', 'w').close(); os.chmod('f', 0o4755)\n"
    "print('REACHED' if os.stat('f').st_mode & 0o4000 else '')",
    "packets in a pair": "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); print('REACHED')",
}


@asynccontextmanager
async def a_sibling(sandbox: PythonSandbox) -> AsyncIterator[str]:
    """The process id of code that runs at the same time, and has a file."""
    with tempfile.TemporaryDirectory() as place:
        code = "import os, time\nopen('private', 'w').write('x')\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
        running = asyncio.create_task(sandbox.run(code, workspace=Path(place), timeout_s=60))
        await eventually((Path(place) / "private").exists)
        [pid] = await eventually(lambda: [each for each in runners_of(os.getpid()) if holds(each, place)])
        yield str(pid)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def holds(pid: int, place: str) -> bool:
    """Whether a process works in this directory."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()) == place
    except OSError:
        return False


def filled(code: str, sibling: str = "0") -> str:
    """With the ids of the processes around."""
    return code.replace("@PARENT", str(os.getpid())).replace("@SIBLING", sibling)


def calling(names: set[str] | None = None, sibling: str = "0") -> str:
    lines = [
        f"call({name!r}, {there} if arm else {here}, {arguments})"
        for name, (here, there, arguments) in CALLS.items()
        if names is None or name in names
    ]
    return filled(PROBE + "\n".join(lines), sibling)


def test_the_calls_are_let_through_on_plain_python() -> None:
    done = subprocess.run([sys.executable, "-c", calling(HARMLESS)], capture_output=True, text=True, check=True)

    assert {name for name in HARMLESS if f"REACHED {name} " in done.stdout} == HARMLESS, done.stdout


async def test_no_call_is_let_through_in_the_sandbox(sandbox: PythonSandbox, workspace: Path) -> None:
    async with a_sibling(sandbox) as sibling:
        result = await sandbox.run(calling(sibling=sibling) + "\nprint('all tried')", workspace=workspace)

    assert "REACHED" not in result.stdout, result.stdout
    assert "all tried" in result.stdout or "ctypes" in str(result.error), result


async def test_no_file_of_the_system_is_a_way_out(sandbox: PythonSandbox, workspace: Path) -> None:
    tries = "\n".join(
        f"try:\n    exec({code!r})\nexcept Exception as error: print({name!r}, type(error).__name__)"
        for name, code in FILES.items()
    )

    async with a_sibling(sandbox) as sibling:
        result = await sandbox.run(filled(f"import os\n{tries}\nprint('all tried')", sibling), workspace=workspace)

    assert "REACHED" not in result.stdout, result.stdout
    assert "all tried" in result.stdout, result
