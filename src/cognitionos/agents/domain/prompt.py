"""Prompts are versioned: the file `executor.v1.md` is `executor@1`, a tenant's own second one `executor@own.2`.

A version is never changed once it is there.
"""

import re
from dataclasses import dataclass

from cognitionos.kernel.errors import NotFound

_FILE_NAME = re.compile(r"(?P<role>[a-z][a-z0-9_]*)\.v(?P<version>[1-9][0-9]*)\.md")
_OWN = "own."


class PromptNotFound(NotFound):
    """There is no prompt of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What an agent is told before anything else. `own`: a tenant wrote it."""

    role: str
    version: int
    text: str
    own: bool = False

    @property
    def label(self) -> str:
        """Its version in words: `1`, or `own.1` for a tenant's."""
        return own_label(self.version) if self.own else str(self.version)

    @property
    def knows_marks(self) -> bool:
        """Whether it is shown results between marks: the first that shipped were written before there were any."""
        return self.own or self.version > 1

    @property
    def name(self) -> str:
        """`role@version`."""
        return f"{self.role}@{self.label}"


def own_label(version: int) -> str:
    """How a tenant's own version is called."""
    return f"{_OWN}{version}"


def own_version(label: str) -> int | None:
    """The number in `own.3`; None for what is no tenant's."""
    number = label.removeprefix(_OWN)
    is_own = label.startswith(_OWN) and number.isascii() and number.isdecimal() and len(number) < 10
    return int(number) if is_own else None


def prompt_of(file_name: str, text: str) -> Prompt:
    """The prompt in a file of this name; raises `ValueError` for any other name."""
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        raise ValueError(f"{file_name} is no prompt: it must be named like executor.v1.md")
    return Prompt(role=match["role"], version=int(match["version"]), text=text.strip())
