"""What may be remembered."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cognitionos.memory.domain.item import (
    MAX_CONTENT_BYTES,
    MemoryInvalid,
    MemoryItem,
    MemoryKind,
    Source,
    check_confidence,
    check_content,
    check_source,
    check_tags,
    check_valid_until,
    hash_of,
    parse_kind,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def an_item(**changes: Any) -> MemoryItem:
    values: dict[str, Any] = {
        "id": uuid4(),
        "tenant_id": uuid4(),
        "project_id": uuid4(),
        "kind": MemoryKind.FACT,
        "content": "The sea is wide",
        "source": Source(),
        "confidence": 1.0,
        "created_at": NOON,
        "valid_from": NOON,
    }
    return MemoryItem(**{**values, **changes})


@pytest.mark.parametrize("content", ["", "  \n", "a\x00b", "half \ud800", "x" * (MAX_CONTENT_BYTES + 1), "é" * 32_769])
def test_content_that_cannot_be_kept_is_refused_by_name(content: str) -> None:
    with pytest.raises(MemoryInvalid) as refusal:
        check_content(content)

    assert list(refusal.value.fields) == ["content"]


def test_content_of_exactly_64_kib_is_kept() -> None:
    assert len(check_content("x" * MAX_CONTENT_BYTES)) == MAX_CONTENT_BYTES


def test_white_space_does_not_make_another_memory() -> None:
    assert hash_of("The sea\n is   wide ") == hash_of("The sea is wide")


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_confidence_outside_zero_to_one_is_refused(confidence: float) -> None:
    with pytest.raises(MemoryInvalid) as refusal:
        check_confidence(confidence)

    assert list(refusal.value.fields) == ["confidence"]


def test_tags_are_stripped_and_each_is_kept_once() -> None:
    assert check_tags((" a ", "b", "a")) == ("a", "b")


@pytest.mark.parametrize(
    ("tags", "field"), [(("",), "tags.0"), (("ok", "x" * 65), "tags.1"), (tuple(map(str, range(21))), "tags")]
)
def test_a_bad_tag_is_refused_by_its_position(tags: tuple[str, ...], field: str) -> None:
    with pytest.raises(MemoryInvalid) as refusal:
        check_tags(tags)

    assert list(refusal.value.fields) == [field]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "example.org", "https://e.org/" + "x" * 2048, "https://e\x00"])
def test_a_source_url_is_an_http_address(url: str) -> None:
    with pytest.raises(MemoryInvalid):
        check_source(Source(url=url))


@pytest.mark.parametrize("until", [NOON, NOON - timedelta(days=1), datetime(2031, 1, 1)])  # noqa: DTZ001
def test_an_end_lies_in_the_future_and_has_a_time_zone(until: datetime) -> None:
    with pytest.raises(MemoryInvalid):
        check_valid_until(until, now=NOON)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(MemoryInvalid, match="decision"):
        parse_kind("rumour")


def test_an_item_holds_from_its_begin_up_to_its_end() -> None:
    item = an_item(valid_until=NOON + timedelta(hours=1))

    assert [item.holds(NOON + timedelta(minutes=m)) for m in (-1, 0, 59, 60)] == [False, True, True, False]


def test_a_superseded_item_does_not_hold() -> None:
    assert not an_item(superseded_by=uuid4()).holds(NOON)


def test_a_renewed_item_holds_again() -> None:
    item = an_item(valid_until=NOON + timedelta(hours=1))
    later = NOON + timedelta(days=1)

    item.renew(at=later, valid_until=None)

    assert item.holds(later)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200))
def test_any_other_text_is_kept_as_it_is_but_for_the_space_around_it(text: str) -> None:
    assume(text.strip())

    assert check_content(text) == text.strip()
