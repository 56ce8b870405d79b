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
