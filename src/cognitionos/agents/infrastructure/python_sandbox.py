"""The sandbox for agents' Python: one API over two backends, chosen by what the machine offers, or refused.

`wasm`: CPython in WebAssembly (`pyeryx`), inside a locked process. `process`: plain CPython in a locked process. Every
run gets a fresh process that locks itself (`sandbox_lock.py`) before the agent's first line, and dies with it.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cognitionos.agents.infrastructure import sandbox_guest
from cognitionos.agents.infrastructure.sandbox_lock import landlock_abi, why_no_lock
from cognitionos.agents.infrastructure.sandbox_process import Outcome, Runner, RunnerSpec
from cognitionos.agents.infrastructure.sandbox_workspace import (
    Inventory,
    SandboxFile,
    can_be_reached_by_others,
    free_bytes,
    hand_over,
    remove_tree,
    take_inventory,
)
from cognitionos.kernel.errors import Invalid, Unavailable

SandboxKind = Literal["wasm", "process", "none"]

_MIB = 2**20
_MAX_CODE_BYTES = 256 * 1024
_WATCH_EVERY_S = 0.1
LONG_S = 30.0
_RUNNER_UID = 61_490  # of no account: above the human ones, below systemd's dynamic users
_GUEST = Path(sandbox_guest.__file__).read_text("utf-8")
_PROBE = "import decimal, sqlite3\nopen('probe.txt', 'w').write('6')\nprint(int(open('probe.txt').read()) * 7)"


class SandboxUnavailable(Unavailable):
    """This machine cannot lock a process, so no agent's code runs here."""


class BadSandboxRun(Invalid):
    """The code is too long, or its workspace is not a directory."""


@dataclass(frozen=True, slots=True)
class SandboxDescription:
    """Which backend runs agents' Python here and what holds it; for `none`, why."""

    kind: SandboxKind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What a run printed, what went wrong in one line, which files it made or changed.

    `fuel` counts WebAssembly instructions, the same for the same run; None on the other backend or after a failure.
    `printed_bytes` counts also what is not kept.
    """

    stdout: str
    stderr: str
    error: str | None
    timed_out: bool
    duration_s: float
    files: tuple[SandboxFile, ...]
    fuel: int | None
    printed_bytes: int


@dataclass(eq=False, kw_only=True)
class PythonSandbox:
    """Runs code that nobody has read. `open()` before the first run, on the loop that uses it; `close()` at the end.

    `backend` narrows the choice; `warm` runners wait started; at most `concurrent` runs at once, the others queue, and
    as many of those that may be long (over `LONG_S`), which take no place from the short ones.
    `state_directory` keeps the unpacked engine between starts; without it, a private temporary one goes with `close()`.
    """

    backend: Literal["auto", "wasm", "process"] = "auto"
    interpreter: Path | None = None
    state_directory: Path | None = None
    workspace_bytes: int = 256 * _MIB
    file_bytes: int = 64 * _MIB
    warm: int = 1
    concurrent: int = 4
    _spec: RunnerSpec | None = field(default=None, init=False)
    _uid: int | None = field(default=None, init=False)
    _why_not: str = field(default="the sandbox is not open", init=False)
    _failure: str = field(default="", init=False)
    _cache: Path | None = field(default=None, init=False)
    _idle: deque[Runner] = field(default_factory=deque, init=False)
    _starting: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _slots: asyncio.Semaphore = field(init=False, repr=False)
    _long_slots: asyncio.Semaphore = field(init=False, repr=False)

    def describe(self) -> SandboxDescription:
        """What would run (before `open()`: as far as can be told without starting a process) or what runs."""
        kinds, reason = ([], self._failure) if self._failure else _candidates(self.backend)
        if self._spec is None:
            kind: SandboxKind = kinds[0] if kinds else "none"
            return SandboxDescription(kind, _holds(kind, None) if kinds else reason)
        return SandboxDescription(
            "wasm" if self._spec.kind == "wasm" else "process", _holds(self._spec.kind, self._uid)
        )

    async def open(self) -> None:
        """Choose the first backend that passes a real run. None does: every `run` is refused with the reason."""
        self._slots, self._long_slots = asyncio.Semaphore(self.concurrent), asyncio.Semaphore(self.concurrent)
        kinds, self._why_not = _candidates(self.backend)
        failures = []
        for kind in kinds:
            spec = await self._prepare(kind)
            for uid in (_RUNNER_UID, None) if os.geteuid() == 0 else (None,):
                failure = await self._probe(spec, uid)
                if failure is None:
                    self._spec, self._uid = spec, uid
                    self._refill()
                    return
                failures.append(f"{kind}: {failure}")
        self._failure = self._why_not = "; ".join(failures) or self._why_not

    async def close(self) -> None:
        """End the waiting runners and remove what was unpacked. Runs in flight end by their own cancellation."""
        self._spec, self._why_not = None, "the sandbox is closed"
        await asyncio.gather(*self._starting, return_exceptions=True)
        while self._idle:
            await self._idle.popleft().close()
        if self._cache is not None and self.state_directory is None:
            await asyncio.to_thread(remove_tree, self._cache)
        self._cache = None

    async def run(
        self,
        code: str,
        *,
        workspace: Path,
        given: str | None = None,
        timeout_s: float = 30,
        memory_bytes: int = 512 * _MIB,
        max_output_bytes: int = 65536,
        packages: Sequence[Path] = (),
    ) -> SandboxResult:
        """Run `code` with `workspace` as its directory, and of the rest of the machine to read `packages` only.

        `given` is JSON that the code finds, read, as `data` (and `json` imported).
        Whatever the code does ends in a result. Raises `SandboxUnavailable` where no lock holds, `BadSandboxRun`.
        """
        spec = self._spec
        if spec is None:
            raise SandboxUnavailable(f"agents' Python is refused: {self._why_not}")
        if len(code.encode("utf-8", "replace")) > _MAX_CODE_BYTES:
            raise BadSandboxRun(f"the code is longer than {_MAX_CODE_BYTES} bytes")
        async with self._slots if timeout_s <= LONG_S else self._long_slots:
            place, uid, before = await asyncio.to_thread(self._hand_out, workspace)
            job = self._job(code, place, uid=uid, timeout_s=timeout_s, memory_bytes=memory_bytes)
            job |= {"packages": [str(each) for each in packages], "given": given}
            started = time.monotonic()
            runner = await self._take(spec)
            outcome = await runner.run(
                job, timeout_s=timeout_s, max_output_bytes=max_output_bytes, watch=lambda: self._watch(place)
            )
        if outcome.refused is not None:
            raise SandboxUnavailable(f"agents' Python is refused: {outcome.refused}")
        after = await asyncio.to_thread(take_inventory, place)
        return SandboxResult(
            stdout=outcome.stdout,
            stderr=outcome.stderr,
            error=outcome.error or after.excess(self.workspace_bytes),
            timed_out=outcome.timed_out,
            duration_s=time.monotonic() - started,
            files=after.changed_since(before),
            fuel=outcome.fuel,
            printed_bytes=outcome.printed_bytes,
        )

    def _hand_out(self, workspace: Path) -> tuple[Path, int | None, Inventory]:
        if workspace.is_symlink() or not workspace.is_dir():
            raise BadSandboxRun("the workspace is not a directory")
        place = workspace.resolve()
        uid = self._uid if can_be_reached_by_others(place) else None
        if uid is not None:
            hand_over(place, uid)
        return place, uid, take_inventory(place)

    def _job(
        self, code: str, workspace: Path, *, uid: int | None, timeout_s: float, memory_bytes: int
    ) -> dict[str, Any]:
        return {
            "code": code,
            "workspace": str(workspace),
            "uid": uid,
            "timeout_s": timeout_s,
            "cpu_s": int(timeout_s) + 2,
            "memory_bytes": memory_bytes,
            "file_bytes": self.file_bytes,
            "engine_cache": str(self._cache or ""),
            "guest": _GUEST,
            "packages": [],
            "given": None,
        }

    async def _watch(self, workspace: Path) -> str:
        most = (2 * self.concurrent + 1) * self.workspace_bytes
        free = free_bytes(workspace)
        while True:
            if free - free_bytes(workspace) > most:  # files that are open and removed are seen nowhere else
                return f"the disk lost more than {most} bytes during the run"
            found = await asyncio.to_thread(take_inventory, workspace)
            excess = found.excess(self.workspace_bytes)
            if excess is not None:
                return excess
            await asyncio.sleep(_WATCH_EVERY_S)

    async def _take(self, spec: RunnerSpec) -> Runner:
        while self._idle:
            runner = self._idle.popleft()
            self._refill()
            if runner.is_waiting:
                return runner
            await runner.close()
        self._refill()
        return await Runner.start(spec)

    def _refill(self) -> None:
        if self._spec is None:
            return
        for _ in range(self.warm - len(self._idle) - len(self._starting)):
            task = asyncio.create_task(self._start_waiting(self._spec))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start_waiting(self, spec: RunnerSpec) -> None:
        self._idle.append(await Runner.start(spec))

    async def _prepare(self, kind: Literal["wasm", "process"]) -> RunnerSpec:
        spec = RunnerSpec(kind=kind)
        if self.interpreter is not None:
            spec = replace(spec, interpreter=self.interpreter)
        if kind == "process":
            return spec
        self._cache = await asyncio.to_thread(_private_directory, self.state_directory)
        spec = replace(spec, engine_directory=_engine_directory() or "", engine_cache=str(self._cache))
        unpacking = await Runner.start(replace(spec, kind="unpack"))
        await unpacking.wait()
        if os.geteuid() == 0:
            await asyncio.to_thread(_let_others_read, self._cache)
        return spec

    async def _probe(self, spec: RunnerSpec, uid: int | None) -> str | None:
        """Why `spec` does not run a small program here under its lock, or None if it does."""
        workspace = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="cognitionos-probe-"))
        try:
            runner = await Runner.start(spec)
            if uid is not None:
                hand_over(workspace, uid)
            job = self._job(_PROBE, workspace, uid=uid, timeout_s=30, memory_bytes=256 * _MIB)
            outcome: Outcome = await runner.run(
                job, timeout_s=30, max_output_bytes=4096, watch=lambda: self._watch(workspace)
            )
        except OSError as error:
            return str(error)
        finally:
            await asyncio.to_thread(remove_tree, workspace)
        if outcome.stdout == "42\n" and outcome.error is None:
            return None
        return outcome.refused or outcome.error or "the probe gave a wrong answer"


def _engine_directory() -> str | None:
    found = importlib.util.find_spec("eryx")
    return None if found is None or found.origin is None else str(Path(found.origin).parent.parent)


def _candidates(backend: str) -> tuple[list[Literal["wasm", "process"]], str]:
    """The backends to try, best first, and why there are none."""
    reason = why_no_lock()
    if reason is not None:
        return [], reason
    kinds: list[Literal["wasm", "process"]] = []
    if backend in {"auto", "wasm"} and _engine_directory() is not None:
        kinds.append("wasm")
    if backend in {"auto", "process"}:
        kinds.append("process")
    return kinds, "pyeryx is not installed (it needs Python 3.12 or newer)"


def _holds(kind: str, uid: int | None) -> str:
    what = "CPython in WebAssembly, in a process" if kind == "wasm" else "plain CPython in a process"
    account = (
        f"under uid {uid} where it can reach the workspace" if uid is not None else "under the service's own account"
    )
    return f"{what} locked by Landlock (ABI {landlock_abi()}) and seccomp, {account}"


def _private_directory(wanted: Path | None) -> Path:
    """A directory that only we can write: the engine maps what lies there as code."""
    if wanted is None:
        place = Path(tempfile.mkdtemp(prefix="cognitionos-sandbox-"))
    else:
        # a release's standard library carries no version of its own
        place = wanted / f"pyeryx-{importlib.metadata.version('pyeryx')}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = place.lstat()
    if place.is_symlink() or state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise SandboxUnavailable(f"{place} must be a directory that only this account can write")
    return place


def _let_others_read(cache: Path) -> None:
    """Open the unpacked engine to the runner's own account, which may never change it."""
    cache.chmod(0o755)
    for path in cache.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
