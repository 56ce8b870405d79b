"""A goal: what somebody wants done, with how much money, from which files."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from cognitionos.events.planning import GoalCancelled, GoalSubmitted
from cognitionos.kernel.errors import Conflict, Invalid, NotFound
from cognitionos.kernel.money import nanousd
from cognitionos.planning.domain.replan import DEFAULT_REPLANS, MOST_REPLANS
from cognitionos.planning.domain.run import RunStatus

LONGEST_STATEMENT = 20_000
LONGEST_TITLE = 200
LARGEST_FILE = 10 * 1024 * 1024
LARGEST_FILES = 32 * 1024 * 1024
MOST_FILES = 50
PLAN_DEADLINE_S = 86_400.0
LONGEST_PLAN_DEADLINE_S = 30 * 86_400.0
LARGEST_PLAN = 100
"""The tasks that whoever submits a goal may let one of its plans have."""
MOST_USD = Decimal(1_000_000)
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?[\w-]{1,40}=[\w.+-]{1,60})*")
_BAD_IN_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


class InvalidGoal(Invalid):
    """The goal cannot be taken as it is; `fields` says why."""


class GoalNotFound(NotFound):
    """No such goal, or not of this tenant."""


class GoalAlreadyFinished(Conflict):
    """What was asked needs a goal that is still worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalTerms:
    """What is to be done, and on which terms.

    `critical`: it goes on where a budget near its end halts other runs. `approve_plan`: no plan of it runs before
    somebody has approved it, within `plan_deadline_s`. `replans`: how often it may be planned again when a task fails.
    `plan_tasks`: how many tasks each of its plans may have; None: as many as suit any model.
    """

    statement: str
    budget_usd: str | float | None = None
    title: str | None = None
    critical: bool = False
    approve_plan: bool = False
    plan_deadline_s: float = PLAN_DEADLINE_S
    replans: int = DEFAULT_REPLANS
    plan_tasks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that comes with the goal."""

    name: str
    media_type: str
    content: bytes


@dataclass(eq=False, kw_only=True)
class Goal:
    """Something wanted. Its status follows its run's."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None
    user: str | None
    title: str
    statement: str
    budget_nanousd: int
    run_id: UUID
    created_at: datetime
    status: RunStatus = RunStatus.QUEUED
    result_text: str | None = None
    error: dict[str, str] | None = None
    finished_at: datetime | None = None

    @property
    def subject(self) -> str:
        """Whose budget its calls come from."""
        return f"goal:{self.id}"

    def submitted(self) -> GoalSubmitted:
        """The fact for the other contexts."""
        return GoalSubmitted(
            tenant_id=self.tenant_id,
            at=self.created_at,
            project_id=self.project_id,
            goal_id=self.id,
            run_id=self.run_id,
            statement=self.statement,
        )

    def cancel(self, now: datetime) -> GoalCancelled:
        """Somebody no longer wants it. Raises `GoalAlreadyFinished`."""
        if self.status.is_final:
            raise GoalAlreadyFinished(f"The goal {self.id} is {self.status} already.")
        self.status = RunStatus.CANCELLED
        self.finished_at = now
        return GoalCancelled(
            tenant_id=self.tenant_id, at=now, project_id=self.project_id, goal_id=self.id, run_id=self.run_id
        )

    def follow(self, status: RunStatus) -> None:
        """Its run was paused, resumed, or taken up again after its end."""
        self.status = status
        self.error = self.finished_at = None


def checked_statement(statement: str) -> str:
    """The statement without blanks around it, 1 to 20,000 characters, or `InvalidGoal`."""
    text = statement.strip()
    if not text or len(text) > LONGEST_STATEMENT:
        raise _invalid("statement", f"say in 1 to {LONGEST_STATEMENT} characters what is to be done")
    if "\x00" in text:
        raise _invalid("statement", "contains a NUL character; remove it")
    return text


def check_terms(terms: GoalTerms) -> None:
    """Raise `InvalidGoal` unless plans can be made so often, wait so long for approval, and have as many tasks."""
    if terms.plan_tasks is not None and not 1 <= terms.plan_tasks <= LARGEST_PLAN:
        raise _invalid("plan_tasks", f"must be a whole number from 1 to {LARGEST_PLAN}")
    if not 0 <= terms.replans <= MOST_REPLANS:
        raise _invalid("replans", f"must be a whole number from 0 to {MOST_REPLANS}")
    if not 1 <= terms.plan_deadline_s <= LONGEST_PLAN_DEADLINE_S:
        raise _invalid("plan_deadline_s", f"must be a number of seconds from 1 to {LONGEST_PLAN_DEADLINE_S:.0f}")


def title_of(statement: str, title: str | None) -> str:
    """A title: the one given, else the statement's first line, cut."""
    if title is not None and (not title.strip() or len(title) > LONGEST_TITLE or "\x00" in title):
        raise _invalid("title", f"must have 1 to {LONGEST_TITLE} characters; leave it out to take the statement's")
    first_line = (title or statement).strip().splitlines()[0]
    return first_line if len(first_line) <= LONGEST_TITLE else first_line[: LONGEST_TITLE - 1] + "…"


def checked_budget(amount: str | float) -> int:
    """Dollars, a decimal text or a number, above 0 and exact, as nano-dollars, or `InvalidGoal`."""
    try:
        usd = Decimal(str(amount))
        exact = nanousd(usd) if usd.is_finite() and usd <= MOST_USD else 0
    except (InvalidOperation, ValueError, OverflowError):
        exact = 0
    if exact <= 0:
        raise _invalid("budget_usd", f"must be a number of dollars above 0 and at most {MOST_USD}, such as 0.50")
    return exact


def checked_files(files: Sequence[tuple[str, str, str]]) -> list[InputFile]:
    """`(name, media type, base64 content)` as files, or `InvalidGoal` that names the first bad field of each."""
    faults: dict[str, str] = {}
    if len(files) > MOST_FILES:
        raise _invalid("inputs", f"{len(files)} files; at most {MOST_FILES} can come with a goal")
    taken: list[InputFile] = []
    for index, (name, media_type, content) in enumerate(files):
        fault = _name_fault(name, {file.name for file in taken})
        if fault:
            faults[f"inputs.{index}.name"] = fault
        if not _MEDIA_TYPE.fullmatch(media_type):
            faults[f"inputs.{index}.media_type"] = "must be a media type such as text/csv"
        raw = _decoded(content)
        if raw is None:
            faults[f"inputs.{index}.content_base64"] = "is not base64"
        elif len(raw) > LARGEST_FILE:
            faults[f"inputs.{index}.content_base64"] = f"{len(raw)} bytes; a file may have {LARGEST_FILE}"
        taken.append(InputFile(name=name, media_type=media_type, content=raw or b""))
    if sum(len(file.content) for file in taken) > LARGEST_FILES:
        faults["inputs"] = f"the files together may have {LARGEST_FILES} bytes"
    if faults:
        raise InvalidGoal("; ".join(f"{field}: {fault}" for field, fault in faults.items()), fields=faults)
    return taken


def _name_fault(name: str, others: set[str]) -> str | None:
    if not name.strip() or len(name.encode()) > 200 or name in {".", ".."} or _BAD_IN_NAME.search(name):
        return "must be a plain file name of 1 to 200 bytes without a path"
    return "is used twice; give each file a name of its own" if name in others else None


def _decoded(content: str) -> bytes | None:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return None


def _invalid(field: str, fault: str) -> InvalidGoal:
    return InvalidGoal(f"{field}: {fault}", fields={field: fault})
