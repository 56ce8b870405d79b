"""API keys: `cog_<id part>_<secret>`. The secret is shown once; the database keeps a keyed hash of the whole text."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from cognitionos.events.tenancy import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated
from cognitionos.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from cognitionos.kernel.event import Event
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.kernel.value import value
from cognitionos.tenancy.domain.tenant import valid_name

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX_BYTES = 9
_SECRET_BYTES = 32
_TEXT = re.compile(r"(cog_[0-9A-Za-z]{13})_([0-9A-Za-z]{43})")
LONGEST_OVERLAP_S = 7 * 24 * 3600

Random = Callable[[int], bytes]
Digest = Callable[[str], bytes]


class ApiKeyNotFound(NotFound):
    """The tenant has no key with that id."""


class ApiKeyEnded(Conflict):
    """The key is revoked or has expired; make a new one instead."""


class InvalidApiKey(Unauthenticated):
    """The key is not one of ours, was revoked, or has expired."""


class ScopeNotHeld(Forbidden):
    """A key may only pass on scopes that it has itself."""


class ExpiryInvalid(Invalid):
    """A key must end in the future."""


class ScopesMissing(Invalid):
    """A key needs one scope at least."""


@dataclass(eq=False, kw_only=True)
class ApiKey:
    """One credential of a project. `prefix` finds it, `secret_hash` proves it; `replaces` is the key it succeeded."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    name: str
    prefix: str
    secret_hash: bytes
    scopes: frozenset[Permission]
    created_at: datetime
    created_by: UUID | None = None
    replaces: UUID | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = field(default=None)

    def is_usable(self, now: datetime) -> bool:
        """Whether the key still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def revoke(self, now: datetime) -> list[Event]:
        """End the key now; a key that was revoked before stays as it is."""
        if self.revoked_at is not None:
            return []
        self.revoked_at = now
        return [ApiKeyRevoked(tenant_id=self.tenant_id, at=now, api_key_id=self.id)]

    def hand_over(self, successor: UUID, *, overlap_s: int, now: datetime) -> list[Event]:
        """Let the key end `overlap_s` seconds from now, its successor being known. Raises `ApiKeyEnded`."""
        if not self.is_usable(now):
            raise ApiKeyEnded(f"The key {self.id} is revoked or has expired; make a new one instead.")
        end = now + timedelta(seconds=overlap_s)
        self.expires_at = end if self.expires_at is None else min(end, self.expires_at)
        ends_at = self.expires_at.isoformat()
        rotated = ApiKeyRotated(
            tenant_id=self.tenant_id, at=now, api_key_id=self.id, successor_id=successor, ends_at=ends_at
        )
        return [rotated]

    def principal(self) -> Principal:
        """Who presents this key."""
        return Principal(
            tenant_id=self.tenant_id, project_id=self.project_id, api_key_id=self.id, permissions=self.scopes
        )


@value
class KeyText:
    """A key as its holder has it. Never stored, never logged."""

    prefix: str
    whole: str = field(repr=False)

    @classmethod
    def generate(cls, random: Random) -> "KeyText":
        """A new key: 62 bits to find it by, 256 bits of secret."""
        prefix = "cog_" + _base62(random(_PREFIX_BYTES), 13)
        return cls(prefix=prefix, whole=f"{prefix}_{_base62(random(_SECRET_BYTES), 43)}")

    @classmethod
    def parse(cls, text: str) -> "KeyText":
        """The key in `text`. Raises `InvalidApiKey` if it cannot be one."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidApiKey("This is not a key of CognitionOS; keys look like 'cog_..._...'.")
        return cls(prefix=match.group(1), whole=text)


def issue(
    text: KeyText,
    *,
    key_id: UUID,
    tenant_id: UUID,
    project_id: UUID,
    name: str,
    scopes: frozenset[Permission],
    digest: Digest,
    now: datetime,
    created_by: UUID | None = None,
    replaces: UUID | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, list[Event]]:
    """The key behind `text`. Raises `NameInvalid`, `ScopesMissing`, `ExpiryInvalid`."""
    if not scopes:
        raise ScopesMissing("A key needs one scope at least.", fields={"scopes": "name at least one"})
    if expires_at is not None and expires_at <= now:
        raise ExpiryInvalid("A key must end in the future.", fields={"expires_at": "must be in the future"})
    key = ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        project_id=project_id,
        name=valid_name(name),
        prefix=text.prefix,
        secret_hash=digest(text.whole),
        scopes=scopes,
        created_at=now,
        created_by=created_by,
        replaces=replaces,
        expires_at=expires_at,
    )
    created = ApiKeyCreated(
        tenant_id=tenant_id, at=now, api_key_id=key_id, project_id=project_id, name=key.name, created_by=created_by
    )
    return key, [created]


def require_held(scopes: Iterable[Permission], by: Principal) -> None:
    """Raise `ScopeNotHeld` if `by` would pass on more than it has."""
    missing = sorted(scope.value for scope in scopes if not by.may(scope))
    if missing:
        text = ", ".join(missing)
        raise ScopeNotHeld(f"Your key does not have: {text}.", fields={"scopes": f"not held by your key: {text}"})


def _base62(data: bytes, length: int) -> str:
    number, digits = int.from_bytes(data, "big"), []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(digits)
