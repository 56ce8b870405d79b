"""What a workflow's file may hold."""

from pathlib import Path

import pytest

from cognitionos.cli.workflow_file import UnreadableFile, read_workflow

LISTS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
MERGES = "\n".join(
    ["a0: &a0 {x: 1, y: 2}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12))]
)


@pytest.mark.parametrize("text", [LISTS, MERGES, "a: &a [*a]"], ids=["lists", "merges", "a circle"])
def test_aliases_that_say_more_than_fits_anywhere_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(f"{text}\ntasks: {{t: {{kind: value}}}}\n")

    with pytest.raises(UnreadableFile):
        read_workflow(file)


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("tasks:\n  a: &task {kind: value, input: 1}\n  b: {<<: *task, input: 2}\n")

    assert read_workflow(file)["tasks"]["b"] == {"kind": "value", "input": 2}


def test_only_what_json_has_is_more_than_a_text(tmp_path: Path) -> None:
    file = tmp_path / "core.yaml"
    texts = ["no", "yes", "on", "off", "12:30", "1_000", "2026-11-22", "0123", "0b11", "NULLS", "e5", "1.2.3"]
    others = {"true": True, "False": False, "~": None, "null": None, "7": 7, "-3": -3, "0x1f": 31, "0o17": 15}
    floats = {"1.5": 1.5, "-.5": -0.5, "2e3": 2000.0, "1.": 1.0, "6.02E+23": 6.02e23}
    read = ", ".join([*texts, *others, *floats])
    file.write_text(f"tasks: {{on: {{kind: value, no: [{read}], empty: }}}}\n")

    told = read_workflow(file)["tasks"]["on"]

    assert told["no"] == [*texts, *others.values(), *floats.values()]
    assert told["empty"] is None
