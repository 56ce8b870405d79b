"""A memory item: one thing known in a project, where it comes from, and how long it holds."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cognitionos.kernel.errors import Invalid, NotFound

MAX_CONTENT_BYTES = 64 * 1024
MAX_TAGS = 20
MAX_TAG_CHARACTERS = 64
MAX_URL_CHARACTERS = 2048

SIMULATED = "simulated"
"""Tag of what was learned from a simulated model: shown to agents only while a simulated model answers."""


class MemoryNotFound(NotFound):
    """There is no such memory in this project."""


class MemoryInvalid(Invalid):
    """The memory cannot be kept as it is; `fields` names what to change."""


class MemoryKind(StrEnum):
    """What sort of knowledge it is."""

    FACT = "fact"
    SUMMARY = "summary"
    DECISION = "decision"
    CONVENTION = "convention"
    ISSUE = "issue"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a memory comes from. Everything is optional; `user` is whoever the credential names."""

    goal_id: UUID | None = None
    run_id: UUID | None = None
    url: str | None = None
    user: str | None = None


@dataclass(eq=False, kw_only=True)
class MemoryItem:
    """One thing known. `confidence` is 0 to 1; it holds from `valid_from` up to but without `valid_until`."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    kind: MemoryKind
    content: str
    source: Source
    confidence: float
    created_at: datetime
    valid_from: datetime
    valid_until: datetime | None = None
    superseded_by: UUID | None = None
    tags: tuple[str, ...] = field(default=())

    @property
    def content_hash(self) -> bytes:
        """What makes two memories of a project the same one."""
        return hash_of(self.content)

    def holds(self, at: datetime) -> bool:
        """Whether it is neither superseded nor out of its time at `at`."""
        return (
            self.superseded_by is None and self.valid_from <= at and (self.valid_until is None or at < self.valid_until)
        )

    def renew(self, *, at: datetime, valid_until: datetime | None) -> None:
        """Let an item that ran out hold again, because somebody said the same anew."""
        self.valid_from = at
        self.valid_until = valid_until


def hash_of(content: str) -> bytes:
    """SHA-256 of the content, runs of white space counting as one: a re-wrapped text is the same memory."""
    return hashlib.sha256(" ".join(content.split()).encode()).digest()


def parse_kind(kind: str, *, name: str = "kind") -> MemoryKind:
    """The kind called `kind`, or `MemoryInvalid` that lists those there are."""
    try:
        return MemoryKind(kind)
    except ValueError as error:
        known = ", ".join(MemoryKind)
        raise _invalid(name, f"'{kind[:40]}' is no kind of memory; use one of {known}") from error


def check_content(content: str) -> str:
    """`content` without white space around it, or `MemoryInvalid`: empty, over 64 KiB in UTF-8, or not storable."""
    stripped = content.strip()
    if not stripped:
        raise _invalid("content", "is empty; say what is to be remembered")
    size = len(checked_text(stripped, name="content").encode())
    if size > MAX_CONTENT_BYTES:
        message = f"is {size} bytes of UTF-8, the most is {MAX_CONTENT_BYTES}; split it into several memories"
        raise _invalid("content", message)
    return stripped


def checked_text(text: str, *, name: str) -> str:
    """`text`, or `MemoryInvalid` when it holds what PostgreSQL cannot store: NUL, or half of a surrogate pair."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise _invalid(name, "contains a NUL character or a lone surrogate; remove it")
    return text


def check_confidence(confidence: float, *, name: str = "confidence") -> float:
    """`confidence`, or `MemoryInvalid` when it is outside 0 to 1 (or not a number)."""
    if not 0.0 <= confidence <= 1.0:
        raise _invalid(name, "must be between 0 and 1")
    return confidence


def check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags stripped, each once, in order; `MemoryInvalid` for too many, an empty or an overlong one."""
    if len(tags) > MAX_TAGS:
        raise _invalid("tags", f"has {len(tags)} tags, the most is {MAX_TAGS}")
    for position, tag in enumerate(tags):
        if not 0 < len(tag.strip()) <= MAX_TAG_CHARACTERS:
            raise _invalid(f"tags.{position}", f"must have 1 to {MAX_TAG_CHARACTERS} characters")
        checked_text(tag, name=f"tags.{position}")
    return tuple(dict.fromkeys(tag.strip() for tag in tags))


def check_source(source: Source) -> Source:
    """`source`, or `MemoryInvalid` when its URL is none or is overlong."""
    if source.url is not None:
        checked_text(source.url, name="source.url")
        if len(source.url) > MAX_URL_CHARACTERS:
            raise _invalid("source.url", f"is longer than {MAX_URL_CHARACTERS} characters")
        if not source.url.startswith(("http://", "https://")):
            raise _invalid("source.url", "must begin with http:// or https://")
    return source


def check_valid_until(valid_until: datetime | None, *, now: datetime) -> datetime | None:
    """`valid_until`, or `MemoryInvalid` when it has no time zone or is over already."""
    if valid_until is None:
        return None
    if valid_until.tzinfo is None:
        raise _invalid("valid_until", "needs a time zone, such as 2030-01-31T12:00:00Z")
    if valid_until <= now:
        raise _invalid("valid_until", "is in the past; leave it out for a memory without an end")
    return valid_until


def _invalid(name: str, message: str) -> MemoryInvalid:
    return MemoryInvalid(f"{name} {message}.", fields={name: message})
