"""Child processes that cannot outlive us: the kernel signals them when we die, however we die."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cognitionos.platform.embedded.account import Account

_PR_SET_PDEATHSIG = 1
_LOG_LIMIT_BYTES = 20_000_000
_prctl: Callable[..., int] | None = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    keep_fds: Sequence[int] = (),
    cwd: Path | None = Path("/"),
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, output appended to `log`; it gets `death_signal` when we die.

    The kernel watches the starting *thread*, so only the main thread may call this. `env` is the whole environment;
    `cwd` None: ours.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "children are started from the main thread: they are signalled when the starting thread ends"
        )
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command lines
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
            start_new_session=True,
            pass_fds=tuple(keep_fds),
            preexec_fn=_prepare(death_signal),  # noqa: PLW1509 - one system call, prepared before the fork
        )


def stop(child: subprocess.Popen[bytes], how: signal.Signals, *, timeout_s: float) -> None:
    """Signal and wait; after `timeout_s` the child and its whole session are killed. Safe to repeat."""
    if child.poll() is None:
        child.send_signal(how)
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            kill_session(child)
            child.wait()


def kill_session(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that `child` led, itself included. Safe to repeat."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def roll(log: Path) -> None:
    """Keep one older generation of a log that has grown large."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".1.log"))


def tail(log: Path, *, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def die_with_parent(death_signal: signal.Signals) -> None:
    """Ask the kernel to send us `death_signal` when the thread that started us ends. Linux; elsewhere nothing."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def _prepare(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(death_signal)  # after the change of account, which would clear it
        if os.getppid() != parent:  # we died between fork and here
            os._exit(1)

    return prepare
