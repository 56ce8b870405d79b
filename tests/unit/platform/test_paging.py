from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ValidationException

from cognitionos.platform.paging import decode_cursor, encode_cursor, page


class After(NamedTuple):
    created_at: datetime
    id: UUID


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_gives_back_the_keys_it_was_made_of(created_at: datetime, row_id: UUID) -> None:
    assert decode_cursor(encode_cursor(created_at, row_id), After) == After(created_at, row_id)


@given(st.text())
def test_a_cursor_that_we_did_not_make_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValidationException) as refused:
        decode_cursor(text, After)

    assert isinstance(refused.value.extra, list)
    assert refused.value.extra[0]["key"] == "cursor"


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(ValidationException):
        decode_cursor(encode_cursor(1, 2, 3), After)


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None, After) is None


def test_a_page_shows_limit_rows_and_points_to_the_rest() -> None:
    first = page([3, 2, 1], 2, lambda row: (row,))

    assert first.items == [3, 2]
    assert decode_cursor(first.next_cursor, tuple[int]) == (2,)


def test_the_last_page_points_nowhere() -> None:
    assert page([2, 1], 2, lambda row: (row,)).next_cursor is None
