"""The lock by itself, as it would be on kernels with an older Landlock: seccomp must carry what that one lacks."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cognitionos.agents.infrastructure.sandbox_lock import landlock_abi, why_no_lock

PROGRAM = """
import ctypes, json, os, shutil, signal, socket, sys
from cognitionos.agents.infrastructure import sandbox_lock
abi, inside, outside, readable, port, victim = int(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5]), int(sys.argv[6])
sandbox_lock.landlock_abi = lambda: abi
os.chdir(inside)
sandbox_lock.drop_privileges(None)
lock = sandbox_lock.Lock(readable=(readable,), writable=(".",), cpu_s=10, file_bytes=10**6,
    address_space_bytes=2**29, data_bytes=None, engine=False)
sandbox_lock.engage(lock)
done = []
def attempt(name, call):
    try:
        call()
        done.append(name)
    except OSError:
        pass
attempt("write inside", lambda: open("mine", "w").write("x"))
attempt("replace inside", lambda: os.replace("mine", "yours"))
attempt("read allowed", lambda: open(readable + "/file").read())
attempt("read outside", lambda: open(outside + "/file").read())
attempt("write allowed for reading", lambda: open(readable + "/file", "a"))
attempt("truncate allowed for reading", lambda: os.truncate(readable + "/file", 0))
attempt("open and truncate", lambda: os.open(readable + "/file", os.O_RDONLY | os.O_TRUNC))
attempt("open mode 3 and truncate", lambda: os.open(readable + "/file", os.O_ACCMODE | os.O_TRUNC))
attempt("truncate outside", lambda: os.truncate(outside + "/file", 0))
attempt("write outside", lambda: open(outside + "/new", "w"))
attempt("link", lambda: os.link(readable + "/file", "link"))
attempt("symlink", lambda: os.symlink(outside + "/file", "symlink"))
attempt("pipe", lambda: os.mkfifo("pipe"))
attempt("owner", lambda: os.chown("yours", 1, 1))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", port), 1))
attempt("signal", lambda: os.kill(victim, 0))
attempt("fork", os.fork)
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("list /", lambda: os.listdir("/"))
attempt("proc", lambda: open("/proc/self/environ").read())
print(json.dumps(done))
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def test_this_machine_can_lock() -> None:
    assert why_no_lock() is None
    assert landlock_abi() >= 1


@pytest.mark.parametrize("abi", range(1, landlock_abi() + 1))
def test_every_landlock_version_holds_together_with_seccomp(abi: int, tmp_path: Path, listener: socket.socket) -> None:
    places = [tmp_path / name for name in ("inside", "outside", "readable")]
    for place in places:
        place.mkdir()
        (place / "file").write_text("content")
    port = listener.getsockname()[1]

    locked = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(abi), *map(str, places), str(port), str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert json.loads(locked.stdout or "null") == ["write inside", "replace inside", "read allowed"], locked.stderr
    assert [(place / "file").read_text() for place in places] == ["content"] * 3
    assert not (places[1] / "new").exists()
