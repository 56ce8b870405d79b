"""The workspace's files on a real file system, with links planted by somebody who wants out."""

import os
import threading
from pathlib import Path

import pytest

from cognitionos.agents.infrastructure.file_tools import (
    WorkspaceFileNotFound,
    WorkspaceFiles,
    WorkspaceFileTooLarge,
    WorkspaceFull,
    WorkspacePathRefused,
)
from cognitionos.agents.infrastructure.sandbox_workspace import SandboxFile

SECRET = b"not yours"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret.txt").write_bytes(SECRET)
    return place


@pytest.fixture
def files(tmp_path: Path) -> WorkspaceFiles:
    root = tmp_path / "workspace"
    root.mkdir()
    return WorkspaceFiles(root=root, max_file_bytes=1000, max_total_bytes=2500)


def test_what_is_written_is_listed_read_and_deleted(files: WorkspaceFiles) -> None:
    written = files.write("./reports//Q3/größe.md", "Größe".encode())

    assert written == SandboxFile("reports/Q3/größe.md", 7)
    assert files.list() == (written,)
    assert files.read("reports/Q3/größe.md").decode() == "Größe"
    files.delete("reports/Q3/größe.md")
    assert files.list() == ()


def test_writing_again_replaces_the_whole_file_and_leaves_no_draft(files: WorkspaceFiles) -> None:
    files.write("a.txt", b"a long first version")

    files.write("a.txt", b"short")

    assert files.read("a.txt") == b"short"
    assert [path.name for path in files.root.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("path", ["none.txt", "none/none.txt"])
def test_a_missing_file_is_not_found(files: WorkspaceFiles, path: str) -> None:
    with pytest.raises(WorkspaceFileNotFound):
        files.read(path)
    with pytest.raises(WorkspaceFileNotFound):
        files.delete(path)


def test_a_link_to_a_file_outside_is_neither_read_nor_written(files: WorkspaceFiles, outside: Path) -> None:
    (files.root / "link").symlink_to(outside / "secret.txt")

    with pytest.raises(WorkspacePathRefused):
        files.read("link")
    with pytest.raises(WorkspacePathRefused):
        files.write("link", b"x")
    assert (outside / "secret.txt").read_bytes() == SECRET
    assert files.list() == ()


def test_deleting_a_link_leaves_what_it_points_to(files: WorkspaceFiles, outside: Path) -> None:
    (files.root / "link").symlink_to(outside / "secret.txt")

    files.delete("link")

    assert (outside / "secret.txt").read_bytes() == SECRET


def test_a_link_to_a_directory_outside_is_no_way_out(files: WorkspaceFiles, outside: Path) -> None:
    (files.root / "dir").symlink_to(outside)

    for attempt in (
        lambda: files.read("dir/secret.txt"),
        lambda: files.write("dir/new.txt", b"x"),
        lambda: files.write("dir/deeper/new.txt", b"x"),
        lambda: files.delete("dir/secret.txt"),
    ):
        with pytest.raises(WorkspacePathRefused):
            attempt()
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]


def test_links_that_go_in_a_circle_or_stay_inside_are_refused_too(files: WorkspaceFiles) -> None:
    files.write("real.txt", b"x")
    (files.root / "inside").symlink_to("real.txt")
    (files.root / "circle").symlink_to("circle")

    for path in ("inside", "circle", "circle/x"):
        with pytest.raises(WorkspacePathRefused):
            files.read(path)


def test_things_that_are_no_files_are_refused_without_waiting(files: WorkspaceFiles) -> None:
    os.mkfifo(files.root / "pipe")
    (files.root / "dir").mkdir()
    files.write("file", b"x")

    for path in ("pipe", "dir", "file/x"):
        with pytest.raises(WorkspacePathRefused):
            files.read(path)
        with pytest.raises(WorkspacePathRefused):
            files.write(path, b"x")
    with pytest.raises(WorkspacePathRefused):
        files.delete("dir")


def test_a_file_over_the_limit_is_neither_read_nor_written(files: WorkspaceFiles) -> None:
    (files.root / "large").write_bytes(bytes(1001))

    with pytest.raises(WorkspaceFileTooLarge):
        files.read("large")
    with pytest.raises(WorkspaceFileTooLarge):
        files.write("mine", bytes(1001))
    assert [file.path for file in files.list()] == ["large"]


def test_the_workspace_takes_what_fits_and_counts_a_replacement_once(files: WorkspaceFiles) -> None:
    files.write("a", bytes(1000))
    files.write("b", bytes(1000))

    files.write("a", bytes(900))
    with pytest.raises(WorkspaceFull):
        files.write("c", bytes(700))

    assert [file.path for file in files.list()] == ["a", "b"]


def test_a_directory_swapped_for_a_link_at_the_same_time_leads_nowhere(files: WorkspaceFiles, outside: Path) -> None:
    real, link, swap = files.root / "real", files.root / "link", files.root / "place"
    real.mkdir()
    (real / "secret.txt").write_bytes(b"mine")
    link.symlink_to(outside)
    done = threading.Event()

    def swapping() -> None:
        while not done.is_set():
            for target in (real, link):
                target.rename(swap)
                swap.rename(target)

    swapper = threading.Thread(target=swapping)
    swapper.start()
    seen = set()
    for _ in range(2000):
        try:
            seen.add(files.read("place/secret.txt"))
        except (WorkspaceFileNotFound, WorkspacePathRefused):
            continue
    done.set()
    swapper.join()

    assert SECRET not in seen
