"""One runner process seen from outside: start it, hand it one job, read what it says, make sure that it ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import cognitionos

RunnerKind = Literal["process", "wasm", "unpack"]

_START = """import sys
sys.path.insert(0, {root!r})
from cognitionos.agents.infrastructure.sandbox_runner import main
del sys.path[0]
main()
"""
LOCKED = b"locked\n"  # what a runner says first, before anything hostile runs: nobody can take it back
_REPORT_BYTES = 64 * 1024
_FLOOD_BYTES = 16 * 2**20  # a program that prints more than this is stopped, what is kept of it is far less
_SIGXCPU = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSpec:
    """How to start a runner: which kind, by which interpreter, where the engine is and what it has unpacked."""

    kind: RunnerKind
    interpreter: Path = Path(sys.executable)
    engine_directory: str = ""
    engine_cache: str = ""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a job. `refused` is why it was not locked and so not run; `stopped` why it was killed."""

    stdout: str = ""
    stderr: str = ""
    error: str | None = None
    refused: str | None = None
    stopped: str | None = None
    timed_out: bool = False
    fuel: int | None = None
    printed_bytes: int = 0


@dataclass(eq=False, kw_only=True)
class Runner:
    """A started process that waits for its one job."""

    process: asyncio.subprocess.Process
    report: int
    _stopped: str | None = field(default=None, init=False)

    @classmethod
    async def start(cls, spec: RunnerSpec) -> Self:
        """Start a runner with an empty environment and no descriptor of ours but the pipes."""
        root = str(Path(cognitionos.__file__).parent.parent)
        report, report_to = os.pipe()
        os.set_blocking(report, False)
        try:
            process = await asyncio.create_subprocess_exec(
                str(spec.interpreter),
                *("-I", "-S", "-B", "-X", "utf8", "-c", _START.format(root=root)),
                *(spec.kind, str(report_to), str(os.getpid()), spec.engine_directory),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"TMPDIR": spec.engine_cache} if spec.engine_cache else {},
                cwd="/",
                pass_fds=(report_to,),
                start_new_session=True,
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(report_to)
        return cls(process=process, report=report)

    @property
    def is_waiting(self) -> bool:
        """Whether it can still take a job."""
        return self.process.returncode is None

    async def run(
        self,
        job: dict[str, Any],
        *,
        timeout_s: float,
        max_output_bytes: int,
        watch: Callable[[], Awaitable[str]],
    ) -> Outcome:
        """Run `job` to its end or kill it: after `timeout_s`, on a flood of output, or when `watch` returns why."""
        outcome = Outcome()
        try:
            await self._attend(job, outcome, timeout_s=timeout_s, keep=max_output_bytes, watch=watch)
            outcome.stopped = self._stopped
            self._conclude(outcome, timeout_s)
        finally:
            os.close(self.report)
        return outcome

    async def _attend(
        self, job: dict[str, Any], outcome: Outcome, *, timeout_s: float, keep: int, watch: Callable[[], Awaitable[str]]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            stdout = group.create_task(self._read(self.process.stdout, keep))
            stderr = group.create_task(self._read(self.process.stderr, keep))
            watcher = group.create_task(self._stop_when(watch))
            try:
                async with asyncio.timeout(timeout_s):
                    await self._send(job)
                    await self.process.wait()
            except TimeoutError:
                outcome.timed_out = True
            finally:
                watcher.cancel()
                self.kill()
                if self.process.stdin is not None:
                    self.process.stdin.close()
        await self.process.wait()
        (outcome.stdout, outcome.printed_bytes), (outcome.stderr, _) = stdout.result(), stderr.result()

    def kill(self) -> None:
        """End the process now; the event loop reaps it."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def close(self) -> None:
        """End a process that got no job, and wait until it is gone."""
        self.kill()
        await self.wait()

    async def wait(self) -> None:
        """Wait until a process that gets no job is gone."""
        await self.process.communicate()
        os.close(self.report)

    async def _send(self, job: dict[str, Any]) -> None:
        stdin = self.process.stdin
        if stdin is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead already: the exit status will tell
            stdin.write(json.dumps(job).encode() + b"\n")
            await stdin.drain()
            stdin.close()

    async def _read(self, stream: asyncio.StreamReader | None, keep: int) -> tuple[str, int]:
        """What is kept of it, and how many bytes came."""
        kept, seen = bytearray(), 0
        while stream is not None and (chunk := await stream.read(64 * 1024)):
            seen += len(chunk)
            kept += chunk[: max(0, keep - len(kept))]
            if seen > _FLOOD_BYTES and self._stopped is None:
                self._stopped = (
                    f"the program printed more than {_FLOOD_BYTES} bytes and was stopped after {seen}; the first "
                    f"{keep} are kept. Write what is large to a file"
                )
                self.kill()
        text = kept.decode("utf-8", "replace")
        return (text if seen <= keep else f"{text}\n[cut after {keep} bytes of {seen}]"), seen

    async def _stop_when(self, watch: Callable[[], Awaitable[str]]) -> None:
        reason = await watch()
        self._stopped = self._stopped or reason
        self.kill()

    def _conclude(self, outcome: Outcome, timeout_s: float) -> None:
        locked, report = self._take_report()
        status = self.process.returncode
        if not locked:
            outcome.refused = _text(report.get("refused"))
        fuel = report.get("fuel")
        outcome.fuel = fuel if isinstance(fuel, int) else None
        if outcome.timed_out or status == -_SIGXCPU:
            outcome.timed_out = True
            outcome.error = f"TimeoutError: the program was stopped after {timeout_s:g} s"
        elif outcome.stopped is not None:
            outcome.error = outcome.stopped
        elif "error" in report:
            outcome.error = _text(report["error"])
        else:
            outcome.error = _cause_of_death(status)

    def _take_report(self) -> tuple[bool, dict[str, Any]]:
        """Whether the process locked itself, and its report: once locked, of any shape, hostile code may write it."""
        try:
            said = os.read(self.report, _REPORT_BYTES)
        except BlockingIOError:
            said = b""
        locked = said.startswith(LOCKED)
        try:
            report = json.loads(said.removeprefix(LOCKED) or b"{}")
        except (ValueError, RecursionError):
            report = {}
        return locked, report if isinstance(report, dict) else {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:2000]


def _cause_of_death(status: int | None) -> str:
    if status is not None and status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"the program was ended by {name}"
    return f"the program left with status {status} without a report"
