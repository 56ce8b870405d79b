"""Values that are made for every call: as frozen as any to whoever checks types, and made in half the time."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(made: type[T]) -> type[T]:
    """`dataclass(frozen=True, slots=True, kw_only=True)`, but that mypy alone refuses to change one.

    Refusing it at run time too makes the class set every field through `object.__setattr__`: a fourteenth of the CPU of
    a call to a model (`docs/performance.md`). Elsewhere the frozen dataclass is the better choice.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(made)
