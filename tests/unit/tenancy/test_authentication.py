from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cognitionos.events.tenancy import ApiKeyRevoked
from cognitionos.kernel.principal import Permission
from cognitionos.tenancy.application.authentication import REMEMBER_S, Authentication
from cognitionos.tenancy.application.ports import KnownKey
from cognitionos.tenancy.domain.api_key import Digest, InvalidApiKey, KeyText

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEXT = KeyText.generate(lambda count: b"\x05" * count)
KNOWN = KnownKey(
    id=UUID(int=3),
    tenant_id=UUID(int=1),
    project_id=UUID(int=2),
    secret_hash=TEXT.whole.encode(),
    scopes=frozenset({Permission.GOALS_READ}),
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
)


class Keys:
    """A key store with one key, which counts what it is asked."""

    def __init__(self, key: KnownKey | None = KNOWN) -> None:
        self.key = key
        self.looks = 0
        self.uses = 0
        self.clock_s = 100.0

    async def find(self, prefix: str) -> KnownKey | None:
        self.looks += 1
        return self.key if prefix == TEXT.prefix else None

    async def note_use(self, key: KnownKey, secret_hash: bytes) -> None:
        self.uses += 1
        self.key = replace(key, last_used_at=NOON, secret_hash=secret_hash)

    def authentication(self, *, before: Digest | None = None) -> Authentication:
        return Authentication(
            find=self.find,
            note_use=self.note_use,
            digest=str.encode,
            digest_before=before,
            now=lambda: NOON,
            monotonic=lambda: self.clock_s,
        )


async def test_a_good_key_is_its_tenant_and_project() -> None:
    who = await Keys().authentication()(TEXT.whole)

    assert (who.tenant_id, who.project_id, who.api_key_id) == (UUID(int=1), UUID(int=2), UUID(int=3))
    assert who.permissions == {Permission.GOALS_READ}


async def test_a_key_of_the_secret_before_is_known_and_from_then_on_by_the_present_one() -> None:
    keys = Keys(replace(KNOWN, secret_hash=b"before " + TEXT.whole.encode(), last_used_at=NOON))

    await keys.authentication(before=lambda text: b"before " + text.encode())(TEXT.whole)

    assert (keys.uses, await keys.authentication()(TEXT.whole) is not None) == (1, True)
    keys.key = replace(KNOWN, secret_hash=b"of a third")
    with pytest.raises(InvalidApiKey):
        await keys.authentication(before=lambda text: b"before " + text.encode())(TEXT.whole)


async def test_a_key_is_looked_up_once_while_it_is_remembered() -> None:
    keys = Keys()
    authenticate = keys.authentication()

    for _ in range(5):
        await authenticate(TEXT.whole)

    assert (keys.looks, keys.uses) == (1, 1)


async def test_a_revocation_elsewhere_takes_effect_when_the_memory_ends() -> None:
    keys = Keys()
    authenticate = keys.authentication()
    await authenticate(TEXT.whole)
    keys.key = replace(KNOWN, revoked_at=NOON)

    keys.clock_s += REMEMBER_S + 0.1

    with pytest.raises(InvalidApiKey):
        await authenticate(TEXT.whole)


async def test_a_revocation_in_this_process_takes_effect_at_once() -> None:
    keys = Keys()
    authenticate = keys.authentication()
    await authenticate(TEXT.whole)
    keys.key = replace(KNOWN, revoked_at=NOON)

    await authenticate.forget(ApiKeyRevoked(tenant_id=KNOWN.tenant_id, at=NOON, api_key_id=KNOWN.id))

    with pytest.raises(InvalidApiKey):
        await authenticate(TEXT.whole)


async def test_a_remembered_key_still_ends_on_time() -> None:
    keys = Keys(replace(KNOWN, expires_at=NOON + timedelta(seconds=1)))
    authenticate = keys.authentication()
    await authenticate(TEXT.whole)

    authenticate.now = lambda: NOON + timedelta(seconds=1)

    with pytest.raises(InvalidApiKey):
        await authenticate(TEXT.whole)


@pytest.mark.parametrize("key", [None, replace(KNOWN, secret_hash=b"another secret"), replace(KNOWN, revoked_at=NOON)])
async def test_an_unknown_wrong_or_revoked_key_is_refused_in_the_same_words(key: KnownKey | None) -> None:
    with pytest.raises(InvalidApiKey, match="not known, was revoked or has expired"):
        await Keys(key).authentication()(TEXT.whole)


async def test_a_use_is_noted_once_a_minute() -> None:
    keys = Keys(replace(KNOWN, last_used_at=NOON - timedelta(seconds=59)))

    await keys.authentication()(TEXT.whole)

    assert keys.uses == 0
