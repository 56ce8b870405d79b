import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.events.tenancy import ApiKeyRevoked
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.tenancy.domain.api_key import (
    ApiKey,
    ApiKeyEnded,
    ExpiryInvalid,
    InvalidApiKey,
    KeyText,
    ScopeNotHeld,
    ScopesMissing,
    issue,
    require_held,
)
from cognitionos.tenancy.domain.tenant import NameInvalid, valid_name

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
READ = frozenset({Permission.GOALS_READ})


def a_key(*, scopes: frozenset[Permission] = READ, expires_at: datetime | None = None, name: str = "ci") -> ApiKey:
    text = KeyText.generate(lambda count: bytes(range(count)))
    key, _ = issue(
        text,
        key_id=new_id(),
        tenant_id=UUID(int=1),
        project_id=UUID(int=2),
        name=name,
        scopes=scopes,
        digest=str.encode,
        now=NOON,
        expires_at=expires_at,
    )
    return key


@given(st.binary(min_size=41, max_size=41))
def test_a_generated_key_is_parsed_to_the_same_prefix_and_text(chance: bytes) -> None:
    parts = iter((chance[:9], chance[9:]))

    made = KeyText.generate(lambda _: next(parts))

    assert KeyText.parse(made.whole) == made
    assert re.fullmatch(r"cog_[0-9A-Za-z]{13}", made.prefix)


def test_two_secrets_that_differ_in_one_bit_give_different_keys() -> None:
    one = KeyText.generate(lambda count: b"\x00" * count)
    other = KeyText.generate(lambda count: b"\x00" * (count - 1) + b"\x01")

    assert one.whole != other.whole


def test_the_text_of_a_key_is_not_in_its_representation() -> None:
    text = KeyText.generate(lambda count: b"\x07" * count)

    assert text.whole not in repr(text)


@pytest.mark.parametrize("text", ["", "cog_", "sk-123", "cog_a_b", "cog_" + "a" * 13 + "_" + "b" * 42, "cog_\n" * 9])
def test_what_cannot_be_a_key_is_refused_before_any_look_up(text: str) -> None:
    with pytest.raises(InvalidApiKey):
        KeyText.parse(text)


def test_a_key_stops_at_its_end() -> None:
    key = a_key(expires_at=NOON + timedelta(hours=1))

    assert key.is_usable(NOON)
    assert not key.is_usable(NOON + timedelta(hours=1))


def test_a_revoked_key_is_not_usable_and_says_so_once() -> None:
    key = a_key()

    first, second = key.revoke(NOON), key.revoke(NOON + timedelta(days=1))

    assert not key.is_usable(NOON)
    assert [type(event) for event in first] == [ApiKeyRevoked]
    assert second == []
    assert key.revoked_at == NOON


def test_a_rotated_key_ends_after_the_overlap() -> None:
    key = a_key()

    key.hand_over(new_id(), overlap_s=60, now=NOON)

    assert key.expires_at == NOON + timedelta(seconds=60)


def test_rotation_never_lengthens_a_key_s_life() -> None:
    key = a_key(expires_at=NOON + timedelta(seconds=10))

    key.hand_over(new_id(), overlap_s=3600, now=NOON)

    assert key.expires_at == NOON + timedelta(seconds=10)


def test_a_key_that_has_ended_cannot_be_rotated() -> None:
    key = a_key()
    key.revoke(NOON)

    with pytest.raises(ApiKeyEnded):
        key.hand_over(new_id(), overlap_s=60, now=NOON)


def test_a_key_cannot_pass_on_scopes_that_it_does_not_have() -> None:
    reader = Principal(tenant_id=UUID(int=1), project_id=UUID(int=2), api_key_id=None, permissions=READ)

    require_held(READ, by=reader)
    with pytest.raises(ScopeNotHeld, match="goals:write"):
        require_held({Permission.GOALS_READ, Permission.GOALS_WRITE}, by=reader)


def test_a_key_needs_a_scope_and_an_end_in_the_future() -> None:
    with pytest.raises(ScopesMissing):
        a_key(scopes=frozenset())
    with pytest.raises(ExpiryInvalid):
        a_key(expires_at=NOON)


@pytest.mark.parametrize("name", ["", " padded", "line\nbreak", "nul\x00", "x" * 201])
def test_a_name_that_nobody_could_read_in_a_list_is_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        valid_name(name)
