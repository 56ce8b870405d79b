"""Workflows, approvals and signals from the terminal, as a process against a real stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import scratch_dir
from tests.stacks import RunningStack, running_stack
from tests.waiting import eventually_sync

from cognitionos.cli.workflow_file import UnreadableFile, read_workflow

SHIP = """
name: ship
tasks:
  ask:
    kind: approval
    input: {prompt: "Ship it on 2026-11-21?", details: {day: 2026-11-21}}
  parcel:
    kind: wait
    depends_on: [ask]
    input: {signal: parcel}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with scratch_dir() as folder, running_stack(folder / "data") as running:
        yield running


def test_a_workflow_is_put_started_approved_and_signalled(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "ship.yaml").write_text(SHIP)

    put = stack.cognitionos("workflow", "put", str(tmp_path / "ship.yaml"))
    run = stack.as_json("workflow", "start", "ship", '{"by": "test"}')
    [approval] = eventually_sync(lambda: stack.as_json("approvals", "--run", run["id"])["items"])
    early = stack.cognitionos("signal", run["id"], "parcel", '{"number": 7}')
    yes = stack.cognitionos("approve", approval["id"], "--comment", "go")
    no = stack.cognitionos("reject", approval["id"])
    listed = stack.cognitionos("approvals", "--run", run["id"], "--all")

    assert put.stdout == "ship version 1, 2 tasks\n"
    assert approval["details"] == {"day": "2026-11-21"}
    assert early.stdout == "no task waits for it yet; it is kept\n"
    assert (yes.stdout, no.returncode) == (f"{approval['id']} is approved\n", 1)
    assert "approval-already-decided" in no.stderr
    assert "approved   until" in listed.stdout


def test_a_workflow_that_names_nobody_is_refused_by_the_task_s_field(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "lost.yaml").write_text("tasks: {a: {kind: agent, input: {agent: nobody, instructions: Write.}}}\n")

    plain = stack.cognitionos("workflow", "put", str(tmp_path / "lost.yaml"))
    as_json = stack.cognitionos("workflow", "put", str(tmp_path / "lost.yaml"), "--json")

    for refused in (plain, as_json):
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "tasks.a.input.agent: there is no agent 'nobody'; make it by PUT /v1/agents/{name}" in refused.stderr


def test_a_file_that_says_no_workflow_is_named(tmp_path: Path) -> None:
    task = "tasks: {a: {kind: value, input: %s}}"
    texts = {"list.yaml": "- 1", "broken.yaml": "a: [", "empty.yaml": "", "twice.yaml": "tasks: {a: {}, a: {}}"}
    texts |= {
        "bytes.yaml": task % "!!binary aGk=",
        "endless.yaml": task % ".inf",
        "itself.yaml": f"x: &x {{x: *x}}\n{task % 1}",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableFile, match=name):
            read_workflow(tmp_path / name)
    with pytest.raises(UnreadableFile, match=r"missing\.yaml"):
        read_workflow(tmp_path / "missing.yaml")


def test_a_file_without_a_name_gives_the_workflow_its_own(tmp_path: Path) -> None:
    (tmp_path / "nightly.yml").write_text("tasks: {a: {kind: value}}")

    assert read_workflow(tmp_path / "nightly.yml") == {"name": "nightly", "tasks": {"a": {"kind": "value"}}}


def test_a_workflow_s_run_is_followed_inspected_listed_and_cancelled_like_a_goal(
    stack: RunningStack, tmp_path: Path
) -> None:
    keep = "{kind: tool, input: {tool: write_file, arguments: {name: sea.md, text: Sea.}}}"
    say = "{kind: value, depends_on: [keep], input: {text: short and sweet}}"
    (tmp_path / "short.yaml").write_text(f"tasks: {{keep: {keep}, say: {say}}}\n")
    (tmp_path / "long.yaml").write_text("tasks: {wait: {kind: wait, input: {signal: never}}}\n")
    for name in ("short", "long"):
        stack.as_json("workflow", "put", str(tmp_path / f"{name}.yaml"))
    run = stack.as_json("workflow", "start", "short")
    endless = stack.as_json("workflow", "start", "long")

    followed = stack.cognitionos("follow", run["id"])
    listed = stack.cognitionos("runs", "--all")
    inspected = stack.as_json("inspect", run["id"])
    cancelled = stack.cognitionos("cancel", endless["id"])
    ended = stack.cognitionos("follow", endless["id"])

    assert followed.returncode == 0, followed.stderr
    assert "short and sweet" in followed.stdout
    assert f"{run['id']}  succeeded" in listed.stdout
    assert (inspected["goal"], [task["key"] for task in inspected["tasks"]]) == (None, ["keep", "say"])
    assert [(file["name"], file["task"]) for file in inspected["files"]] == [("sea.md", "keep")]
    assert cancelled.stdout == f"run {endless['id']} is cancelled\n"
    assert (ended.returncode, "cancelled" in ended.stdout) == (1, True)
