"""Prompts are versioned files: `executor.v1.md` is `executor@1`. A version that was used is never changed."""

import re
from dataclasses import dataclass

from cognitionos.kernel.errors import NotFound

_FILE_NAME = re.compile(r"(?P<role>[a-z][a-z0-9_]*)\.v(?P<version>[1-9][0-9]*)\.md")


class PromptNotFound(NotFound):
    """There is no prompt of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What an agent is told before anything else."""

    role: str
    version: int
    text: str

    @property
    def name(self) -> str:
        """`role@version`."""
        return f"{self.role}@{self.version}"


def prompt_of(file_name: str, text: str) -> Prompt:
    """The prompt in a file of this name; raises `ValueError` for any other name."""
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        raise ValueError(f"{file_name} is no prompt: it must be named like executor.v1.md")
    return Prompt(role=match["role"], version=int(match["version"]), text=text.strip())
