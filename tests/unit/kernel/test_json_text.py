"""JSON that others wrote is read, or is a `ValueError`."""

import pytest

from cognitionos.kernel.json_text import MOST_DEPTH, read_json, read_json_at, reader, storable, within_depth


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text", ["{x", "", "NaN", "[-Infinity]", "1e999", nested(MOST_DEPTH + 1), '{"a":' * 100_000, nested(3_000)]
)
def test_what_is_no_json_or_too_deep_or_too_large_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)
    with pytest.raises(ValueError, match=r"."):
        reader()(text)


def test_what_is_json_is_read_as_deep_as_it_may_be() -> None:
    assert read_json(b'{"a": [1, 0.5, null]}') == {"a": [1, 0.5, None]}
    assert read_json(nested(MOST_DEPTH)) == within_depth(read_json(nested(MOST_DEPTH)))
    assert read_json_at("so: [1] and", 4) == ([1], 7)
    assert read_json("[" + "[]," * 500 + "1]")[-1] == 1


def test_what_postgresql_cannot_store_is_marked() -> None:
    assert storable({"a\x00": ("b\ud800", 1)}) == {"a\ufffd": ["b\ufffd", 1]}
