"""Defaults that are put in, whatever form a schema has."""

from cognitionos.kernel.json_schema import form_faults, with_defaults


def test_defaults_are_put_in_at_every_level_and_nothing_is_overwritten() -> None:
    schema = {
        "properties": {
            "a": {"default": 1},
            "b": {"properties": {"c": {"default": 2}}},
            "d": {"items": {"properties": {"e": {"default": 3}}}},
        }
    }

    assert with_defaults({"b": {}, "d": [{}, {"e": 4}]}, schema) == {"a": 1, "b": {"c": 2}, "d": [{"e": 3}, {"e": 4}]}


def test_a_schema_that_lets_anything_pass_has_no_defaults() -> None:
    schema = {"properties": {"a": True, "b": {"items": True}}}

    assert form_faults(schema) == {}
    assert with_defaults({"a": {"x": 1}, "b": [{"y": 2}]}, schema) == {"a": {"x": 1}, "b": [{"y": 2}]}
