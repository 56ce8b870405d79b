"""Identifiers sort by creation time."""

from cognitionos.kernel.ids import new_id


def test_an_id_is_a_version_7_uuid() -> None:
    made = new_id()

    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_are_unique_and_ordered_by_millisecond() -> None:
    made = [new_id() for _ in range(2000)]

    assert len(set(made)) == 2000
    milliseconds = [one.int >> 80 for one in made]
    assert milliseconds == sorted(milliseconds)
