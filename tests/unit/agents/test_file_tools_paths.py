"""Which paths a tool may name, decided before anything is opened."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.agents.infrastructure.file_tools import WorkspaceFiles, WorkspacePathRefused, _parts

NOWHERE = WorkspaceFiles(root=Path("/nonexistent"))


@pytest.mark.parametrize(
    "path",
    [
        "", "/", ".", "./", "a/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "//etc/passwd", "x\0y", "a\nb",
        "\ud800",         "a/" * 40 + "x", "x" * 256, "é" * 200, "d/" + "x" * 2000,
    ],
)  # fmt: skip
def test_a_path_that_could_leave_or_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(WorkspacePathRefused) as refusal:
        NOWHERE.read(path)

    assert "path" in refusal.value.fields


@pytest.mark.parametrize(
    ("path", "parts"), [("a", ["a"]), ("./a//b.txt", ["a", "b.txt"]), ("Größe/…/x", ["Größe", "…", "x"])]
)
def test_harmless_detours_are_straightened(path: str, parts: list[str]) -> None:
    assert _parts(path) == parts


@given(st.text(alphabet="ab./\\ \0é", max_size=40))
def test_whatever_is_accepted_has_only_plain_parts(path: str) -> None:
    try:
        parts = _parts(path)
    except WorkspacePathRefused:
        return

    assert parts
    assert not {"", ".", ".."} & set(parts)
    assert not any("/" in part or "\0" in part for part in parts)
