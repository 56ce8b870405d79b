"""The six kinds of error. A context subclasses one of them beside the rule that raises it.

`type` in the problem document is derived from the class name: `GoalNotFound` -> `goal-not-found`.
HTTP status codes exist in one table, `platform/http_problems.py`.
"""

import re
from typing import ClassVar

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class DomainError(Exception):
    """A refusal that the caller can understand: `detail` says what and the remedy, `fields` name the offending input.

    `fields` maps a JSON pointer-like path (`inputs.0.name`) to what is wrong with it.
    """

    title: ClassVar[str] = ""

    def __init__(
        self, detail: str, *, fields: dict[str, str] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields or {}
        self.retry_after_s = retry_after_s

    @classmethod
    def type_slug(cls) -> str:
        """The stable identifier of this error: its class name in kebab case."""
        return _WORD_START.sub("-", cls.__name__).lower()


class NotFound(DomainError):
    """The thing asked for does not exist, or not for this tenant."""


class Conflict(DomainError):
    """The request is fine, the state it meets is not."""


class Forbidden(DomainError):
    """The caller is known and may not do this."""


class Unauthenticated(Forbidden):
    """The caller is not known: no credential, or a bad one."""


class Invalid(DomainError):
    """The request itself is wrong; `fields` says where."""


class LimitExceeded(DomainError):
    """A quota, a rate or a budget is used up."""


class Unavailable(DomainError):
    """Something this needs does not answer right now. `passes`: it may by itself; else somebody must do something."""

    passes: ClassVar[bool] = True
