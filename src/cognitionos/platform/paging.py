"""Lists over HTTP: a page, and an opaque cursor to the next one."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter

Item = TypeVar("Item")
Keys = TypeVar("Keys")

DEFAULT_LIMIT = 50
MOST = 200

Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description=f"how many items at most, 1 to {MOST}")]
Cursor = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the page before; leave it out for the first page")
]


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Some items, and where to go on; `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None = None


def page(rows: Sequence[Item], limit: int, key: Callable[[Item], tuple[Any, ...]]) -> Page[Item]:
    """The page of `rows`, of which the query fetched `limit + 1`; `key` is what the list is sorted by."""
    shown = list(rows[:limit])
    more = len(rows) > limit
    return Page(items=shown, next_cursor=encode_cursor(*key(shown[-1])) if more else None)


def encode_cursor(*keys: Any) -> str:
    """The sort keys of the last item shown, as text without meaning to the caller."""
    return base64.urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


def decode_cursor(cursor: str | None, keys: type[Keys]) -> Keys | None:
    """The sort keys in `cursor` as `keys` (a tuple type); None without one.

    Raises Litestar's `ValidationException` (400 naming the field) for anything that we did not make.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=keys)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        message = "is not a cursor of this list; pass 'next_cursor' of the page before unchanged"
        raise ValidationException(extra=[{"key": "cursor", "message": message}]) from error
