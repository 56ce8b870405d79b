"""From the text of a key to the principal it stands for."""

import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from cognitionos.events.tenancy import ApiKeyRevoked, ApiKeyRotated
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.platform.once import Once
from cognitionos.tenancy.application.ports import FindKey, KnownKey, NoteUse
from cognitionos.tenancy.domain.api_key import Digest, InvalidApiKey, KeyText

REMEMBER_S = 5.0
NOTE_USE_EVERY = timedelta(minutes=1)
_MOST_REMEMBERED = 10_000
_REFUSED = "This key is not known, was revoked or has expired."


@dataclass(slots=True)
class _Remembered:
    key: KnownKey | None
    until: float


@dataclass(kw_only=True)
class Authentication:
    """Looks a key up once in `REMEMBER_S` seconds, so a revocation in another process takes effect within that time.

    Remembers keyed hashes only, never a key's text. One that is known by `digest_before` only is known by `digest` from
    then on.
    """

    find: FindKey
    note_use: NoteUse
    digest: Digest
    now: Clock
    monotonic: Callable[[], float]
    digest_before: Digest | None = None
    _remembered: OrderedDict[bytes, _Remembered] = field(default_factory=OrderedDict, init=False)
    _look_ups: Once[bytes, _Remembered] = field(default_factory=Once, init=False)

    async def __call__(self, text: str) -> Principal:
        """Who presents `text`. Raises `InvalidApiKey`."""
        parsed = KeyText.parse(text)
        proof = self.digest(parsed.whole)
        remembered = self._remembered.get(proof)
        if remembered is None or remembered.until < self.monotonic():
            remembered = await self._look_ups(proof, lambda: self._look_up(parsed, proof))
        key, now = remembered.key, self.now()
        if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise InvalidApiKey(_REFUSED)
        return Principal(tenant_id=key.tenant_id, project_id=key.project_id, api_key_id=key.id, permissions=key.scopes)

    async def forget(self, event: ApiKeyRevoked | ApiKeyRotated) -> None:
        """Drop what is remembered of the event's key: this process just ended or shortened it."""
        for proof, each in list(self._remembered.items()):
            if each.key is not None and each.key.id == event.api_key_id:
                del self._remembered[proof]
        self._look_ups.forget()

    async def _look_up(self, text: KeyText, proof: bytes) -> _Remembered:
        key = await self.find(text.prefix)
        is_old = False
        if key is not None and not hmac.compare_digest(key.secret_hash, proof):
            is_old = self._is_of_before(key, text)
            key = key if is_old else None
        remembered = _Remembered(key, self.monotonic() + REMEMBER_S)
        self._remembered[proof] = remembered
        self._remembered.move_to_end(proof)
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        if key is not None and (is_old or key.last_used_at is None or key.last_used_at < self.now() - NOTE_USE_EVERY):
            await self.note_use(key, proof)
        return remembered

    def _is_of_before(self, key: KnownKey, text: KeyText) -> bool:
        before = self.digest_before
        return before is not None and hmac.compare_digest(key.secret_hash, before(text.whole))
