"""The `python` tool: code runs in the sandbox on a copy of the run's files, made for this call and gone after it.

A task of the kind `python` is such a call: it has the task's time, an input, and may print as much as an output may be.

Calls that overlap do not see each other's half-written files: each has its copy, and what it changed is kept in the
commit of its step (of two that wrote the same name, the later one stands).
"""

import asyncio
import json
import math
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from cognitionos.agents.application.ports import Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import MOST_TASK_RESULT, Effect, ToolSpec, clipped
from cognitionos.agents.domain.workspace import Artifact, BadFileName, FileChanges, NewFile, file_name
from cognitionos.agents.infrastructure.file_tools import WorkspaceFiles
from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox, SandboxResult
from cognitionos.agents.infrastructure.sandbox_packages import no_packages
from cognitionos.agents.infrastructure.sandbox_workspace import remove_tree
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.kernel.errors import DomainError
from cognitionos.kernel.json_text import reader, within_depth

RUN_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 90.0
"""Of agents' calls."""
_MOST_PRINTED = 64 * 1024
_MAX_CODE = 100_000
LEFT_BEHIND_S = 3600.0
"""Far longer than a call may take."""
PlacesOf = Callable[[UUID], Awaitable[Sequence[Path]]]
"""Where the packages of a tenant are unpacked."""

_TOO_MUCH = "the code printed {} bytes, a task's output has at most {}. Write what is large to a file"
_DIGITS = 17
_SHOWN_OF_FAILED = 4_000
_FENCED = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)

SPEC = ToolSpec(
    name="python",
    description=(
        "Run Python 3 (standard library and your packages, no network). The files of the workspace are in the current "
        "directory; files the code writes are kept. Print what you want to see, best as JSON."
    ),
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "minLength": 1, "maxLength": _MAX_CODE}},
        "required": ["code"],
        "additionalProperties": False,
    },
    effect=Effect.NONE,
)


@dataclass(eq=False)
class PythonTool:
    """Runs agents' code. The sandbox starts with the first call: the API process never pays for it."""

    sandbox: PythonSandbox
    files: PostgresFiles
    root: Path
    packages: PlacesOf = no_packages
    _is_open: bool = field(default=False, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def tool(self) -> Tool:
        """As agents know it."""
        return Tool(
            spec=SPEC, run=self.run, timeout_s=CALL_TIMEOUT_S, why_not=self._why_not, task_properties={"input": {}}
        )

    async def open(self) -> None:
        """Nothing yet: see the class."""

    async def close(self) -> None:
        """End the sandbox's processes."""
        if self._is_open:
            self._is_open = False
            await self.sandbox.close()

    async def run(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Run the code; whatever it does is an answer. Raises `SandboxUnavailable`."""
        await self._open_once()
        before = await self.files.read_all(context.tenant_id, context.run_id)
        place = await asyncio.to_thread(_lay_out, self.root, before)
        try:
            packages = await self.packages(context.tenant_id)
            result = await self.sandbox.run(
                _unfenced(arguments["code"]),
                workspace=place,
                given=json.dumps(arguments["input"], ensure_ascii=False) if "input" in arguments else None,
                timeout_s=context.task_s or RUN_TIMEOUT_S,
                max_output_bytes=_MOST_PRINTED if context.task_s is None else MOST_TASK_RESULT,
                packages=packages,
            )
            if context.task_s is not None:
                result = _of_task(result)
            changes, notes = await asyncio.to_thread(_collect, place, before, result)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, place))
        return ToolAnswer(content=_told(result, changes, notes), changes=changes, is_error=result.error is not None)

    def sweep(self) -> int:
        """Remove the copies of files that killed workers left on this machine; gives their number."""
        removed = 0
        for place in self.root.glob("call-*"):
            with suppress(OSError):  # another process was first
                if time.time() - place.stat().st_mtime > LEFT_BEHIND_S:
                    remove_tree(place)
                    removed += 1
        return removed

    async def _open_once(self) -> None:
        async with self._opening:
            if not self._is_open:
                await asyncio.to_thread(self.sweep)
                await self.sandbox.open()
                self._is_open = True

    def _why_not(self) -> str | None:
        offered = self.sandbox.describe()
        return offered.detail if offered.kind == "none" else None


def _lay_out(root: Path, files: Iterable[tuple[Artifact, bytes]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="call-", dir=root))
    workspace = WorkspaceFiles(root=place)
    for file, content in files:
        workspace.write(file.name, content)
    return place


def _collect(place: Path, before: list[tuple[Artifact, bytes]], result: SandboxResult) -> tuple[FileChanges, list[str]]:
    """What the code changed, and what of it cannot be kept and why."""
    known = {file.name: (file, content) for file, content in before}
    workspace = WorkspaceFiles(root=place)
    written: list[NewFile] = []
    notes: list[str] = []
    for changed in result.files:
        if "__pycache__" in changed.path.split("/"):
            continue
        try:
            new = NewFile(name=file_name(changed.path), content=workspace.read(changed.path))
        except (BadFileName, DomainError) as error:
            notes.append(f"{changed.path!r} was not kept: {error.detail}")
            continue
        file, content = known.get(new.name, (None, None))
        if file is not None and file.origin == "input" and new.content != content:
            notes.append(f"'{new.name}' is an input of the goal and stays as it was; write under another name")
        elif new.content != content:
            written.append(new)
    there = {each.path for each in workspace.list()}
    removed = tuple(name for name, (file, _) in known.items() if file.origin == "output" and name not in there)
    return FileChanges(written=tuple(written), removed=removed), notes


def _of_task(result: SandboxResult) -> SandboxResult:
    """Whole, or an error, beside which what was printed is shown in short."""
    error = result.error
    if error is None and result.printed_bytes > MOST_TASK_RESULT:
        error = _TOO_MUCH.format(result.printed_bytes, MOST_TASK_RESULT)
    return result if error is None else replace(result, error=error, stdout=clipped(result.stdout, _SHOWN_OF_FAILED))


def _told(result: SandboxResult, changes: FileChanges, notes: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"output": _parsed(result.stdout)}
    if not result.stdout and result.error is None:
        notes = [*notes, "the code printed nothing"]
    if result.error is not None:
        told["error"] = "the code ran out of time" if result.timed_out else result.error
        told["stderr"] = result.stderr[-_SHOWN_OF_FAILED:]
    if changes.written:
        told["files_written"] = [file.name for file in changes.written]
    if changes.removed:
        told["files_removed"] = list(changes.removed)
    if notes:
        told["notes"] = notes
    return told


def _unfenced(code: str) -> str:
    """The code without the Markdown fence that small models put around it."""
    match = _FENCED.fullmatch(code.strip())
    return match.group(1) if match else code


def _parsed(text: str) -> Any:
    """What was printed: the JSON value that it is as a whole, if that keeps it as it is; else the text."""
    with suppress(ValueError):
        return within_depth({"output": _READ(text)})["output"]
    return text


def _fraction(text: str) -> float:
    """Raises `ValueError` for a number of which a double keeps not all digits (17 is what it takes to write one)."""
    number, written = float(text), Decimal(text)
    is_near = len(written.as_tuple().digits) <= _DIGITS and (number != 0) == (written != 0)
    if not math.isfinite(number) or not (is_near or written in (Decimal(number), Decimal(repr(number)))):
        raise ValueError(f"the number {text[:40]} is not kept")
    return number


_READ = reader(parse_float=_fraction)
