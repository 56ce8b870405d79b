"""What a request's headers wish of the caches: `cache-control`, and two of our own."""

import re
from collections.abc import Iterable
from dataclasses import replace

from cognitionos.llm_gateway.domain.cached import LONGEST_KEPT_S, CacheWish
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import InvalidChatRequest

CONTROL, TAGS, TTL = b"cache-control", b"x-cognitionos-cache-tags", b"x-cognitionos-cache-ttl"
WISHES = frozenset({CONTROL, TAGS, TTL})
MOST_TAGS = 16
_TAG = re.compile(r"[A-Za-z0-9._:/@=-]{1,100}\Z")
_SECONDS = re.compile(r"[0-9]{1,9}\Z")


def wished(request: ChatRequest, headers: Iterable[tuple[bytes, bytes]]) -> ChatRequest:
    """The request with what its headers wish. Raises `InvalidChatRequest` for tags or seconds that are none."""
    found = {name: value for name, value in headers if name in WISHES}
    return replace(request, cache_wish=_wish(found)) if found else request


def _wish(found: dict[bytes, bytes]) -> CacheWish:
    control = _directives(found.get(CONTROL, b"").decode("latin-1"))
    max_age = control.get("max-age", "")
    return CacheWish(
        look="no-cache" not in control and max_age != "0",
        keep="no-store" not in control,
        max_age_s=float(max_age) if _SECONDS.match(max_age) else None,
        ttl_s=_seconds(found[TTL].decode("latin-1")) if TTL in found else None,
        tags=_tags(found.get(TAGS, b"").decode("latin-1")),
    )


def _directives(text: str) -> dict[str, str]:
    """As RFC 9111 has them; those we do not know count for nothing."""
    pairs = (each.strip().partition("=") for each in text.split(","))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag for each in text.split(",") if (tag := each.strip())))
    if len(tags) > MOST_TAGS or not all(map(_TAG.match, tags)):
        name = TAGS.decode()
        message = f"at most {MOST_TAGS} words of letters, digits and ._:/@=-, with commas between"
        raise InvalidChatRequest(f"'{name}' takes {message}.", fields={name: message})
    return tags


def _seconds(text: str) -> float:
    if not _SECONDS.match(text.strip()) or not 0 < int(text) <= LONGEST_KEPT_S:
        name = TTL.decode()
        message = f"whole seconds, from 1 to {LONGEST_KEPT_S:.0f}"
        raise InvalidChatRequest(f"'{name}' takes {message}.", fields={name: message})
    return float(text)
