"""The list of models as Anthropic shows it. Source: Anthropic's API reference, "Models"."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from cognitionos.llm_gateway.domain.errors import InvalidChatRequest

VERSION_HEADER = "anthropic-version"
"""Whoever sends it is a client of Anthropic's."""
UNKNOWN_DATE = datetime(1970, 1, 1, tzinfo=UTC)
"""What Anthropic shows where it does not know when a model came out."""


class AnthropicModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One model that may be named in a call."""

    id: str
    display_name: str
    created_at: datetime = UNKNOWN_DATE
    lifecycle: str = "active"
    type: str = "model"


class AnthropicModelsView(msgspec.Struct, frozen=True, kw_only=True):
    """Some models in order; `after_id=last_id` or `before_id=first_id` leads on."""

    data: list[AnthropicModelView]
    has_more: bool
    first_id: str | None
    last_id: str | None


class _Wish(msgspec.Struct, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    after_id: str | None = None
    before_id: str | None = None


def anthropic_model(name: str) -> AnthropicModelView:
    """One model; its name is all that its provider says of it."""
    return AnthropicModelView(id=name, display_name=name)


def anthropic_models(names: Sequence[str], query: Mapping[str, str]) -> AnthropicModelsView:
    """The page that `limit`, `after_id` and `before_id` of `query` ask for. Raises `InvalidChatRequest`."""
    try:
        wish = msgspec.convert(dict(query), _Wish, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidChatRequest(f"limit: must be from 1 to 1000 ({error})", fields={"limit": "1 to 1000"}) from None
    if wish.before_id is not None:
        end = _place(names, wish.before_id, "before_id")
        start = max(end - wish.limit, 0)
        has_more = start > 0
    else:
        start = 0 if wish.after_id is None else _place(names, wish.after_id, "after_id") + 1
        end = start + wish.limit
        has_more = end < len(names)
    shown = [anthropic_model(name) for name in names[start:end]]
    return AnthropicModelsView(
        data=shown,
        has_more=has_more,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )


def _place(names: Sequence[str], name: str, field: str) -> int:
    if name not in names:
        raise InvalidChatRequest(f"{field}: there is no such model", fields={field: "a model of this list"})
    return names.index(name)
