"""The tables of planning's aggregates, and their imperative mapping. Tasks and events go without the ORM."""

from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator

from cognitionos.planning.domain.goal import Goal
from cognitionos.planning.domain.run import Run, RunStatus

E = TypeVar("E", bound=StrEnum)


class Word(TypeDecorator[E]):
    """A text column that gives back the enum: a plain one would give a `str`, and `is` would silently be false."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self._words = words

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """The word itself."""
        return None if value is None else value.value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> E | None:
        """The member with that word."""
        return None if value is None else self._words(value)


metadata = MetaData()

goals = Table(
    "goals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("api_key_id", Uuid),
    Column("user_name", Text, key="user"),
    Column("title", Text, nullable=False),
    Column("statement", Text, nullable=False),
    Column("budget_nanousd", BigInteger, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("status", Word(RunStatus), nullable=False),
    Column("result_text", Text),
    Column("error", JSONB(none_as_null=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("goal_id", Uuid),
    Column("api_key_id", Uuid),
    Column("user_name", Text, key="user"),
    Column("status", Word(RunStatus), nullable=False),
    Column("total_tasks", Integer, nullable=False),
    Column("open_tasks", Integer, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("result_task_id", Uuid),
    Column("result_text", Text),
    Column("error", JSONB(none_as_null=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("workflow", Text),
    Column("workflow_version", Integer),
    Column("input", JSONB(none_as_null=True)),
    Column("stops_now", Boolean, nullable=False),
    Column("forked_from", Uuid),
    Column("forked_at", Text),
    Column("parent_run_id", Uuid),
    Column("parent_task_id", Uuid),
    Column("depth", Integer, nullable=False),
    Column("critical", Boolean, nullable=False),
)

mapper_registry = registry(metadata=metadata)
mapper_registry.map_imperatively(Goal, goals)
mapper_registry.map_imperatively(Run, runs)
