"""Goals from the terminal, as a process against a real stack."""

import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.servers import scratch_dir
from tests.stacks import RunningStack, clean_environment, command, running_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with scratch_dir() as folder, running_stack(folder / "data") as running:
        yield running


def test_run_attaches_what_the_statement_names_and_shows_plan_progress_and_result(
    stack: RunningStack, tmp_path: Path
) -> None:
    (tmp_path / "prices.csv").write_text("item,price\nkettle,20\n")

    done = stack.cognitionos("run", "Sum the prices in ./prices.csv.", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "model simulated/scenarios stands in: no model is connected" in done.stdout
    assert "attached prices.csv (text/csv)" in done.stdout
    assert "SIMULATED" in done.stdout
    for part in ("plan", "result", "cost $0 of $1"):
        assert part in done.stdout


def test_run_as_json_prints_the_finished_goal_and_nothing_else(stack: RunningStack) -> None:
    done = stack.cognitionos("run", "Name three colours", "--json", "--budget", "0.25")

    goal = json.loads(done.stdout)
    assert goal["status"] == "succeeded"
    assert goal["budget_usd"] == "0.25"
    assert goal["simulated"] is True


def test_a_finished_goal_can_be_listed_followed_and_inspected(stack: RunningStack) -> None:
    goal = json.loads(stack.cognitionos("run", "Name a river", "--json").stdout)

    listed = stack.cognitionos("runs", "--limit", "5")
    followed = stack.cognitionos("follow", goal["id"])
    inspected = json.loads(stack.cognitionos("inspect", goal["id"]).stdout)

    assert f"{goal['id']}  succeeded" in listed.stdout
    assert "Name a river" in listed.stdout
    assert "Make a plan" in followed.stdout
    assert [task["key"] for task in inspected["tasks"]] == ["plan", "t1"]
    assert {step["role"] for step in inspected["steps"]} >= {"planner", "executor"}


def test_a_reader_that_has_had_enough_ends_the_command_without_a_word(stack: RunningStack) -> None:
    run_id = json.loads(stack.cognitionos("run", "Name a bay", "--json").stdout)["run_id"]
    arguments = command("inspect", run_id, "--data", str(stack.data_dir))
    told = subprocess.Popen(
        arguments, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert told.stdout is not None

    told.stdout.close()
    _, errors = told.communicate(timeout=60)

    assert (told.returncode, errors) == (128 + signal.SIGPIPE, "")


def test_a_finished_goal_cannot_be_cancelled(stack: RunningStack) -> None:
    goal = json.loads(stack.cognitionos("run", "Name a lake", "--json").stdout)

    refused = stack.cognitionos("cancel", goal["id"])

    assert refused.returncode == 1
    assert "already" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "x", "--budget", "-1"], "budget_usd"),
        (["run", "x", "--attach", "no-such-file"], "there is no file no-such-file"),
        (["follow", "00000000-0000-7000-8000-000000000000"], "there is no goal and no run"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_and_where(stack: RunningStack, arguments: list[str], told: str) -> None:
    refused = stack.cognitionos(*arguments)

    assert refused.returncode == 1
    assert refused.stderr.count(told) == 1
    assert "Traceback" not in refused.stderr


def test_without_a_stack_the_remedy_is_named(tmp_path: Path) -> None:
    refused = subprocess.run(
        command("runs", "--data", str(tmp_path)), env=clean_environment(), capture_output=True, text=True, check=False
    )

    assert refused.returncode == 1
    assert "cognitionos up" in refused.stderr


def test_a_simulated_goal_says_what_a_real_model_would_have_cost(stack: RunningStack) -> None:
    goal = json.loads(stack.cognitionos("run", "Name a hill", "--json").stdout)

    assert goal["priced_as"]["model"] == "gpt-4o-mini"
    assert Decimal("0.00001") < Decimal(goal["priced_as"]["cost_usd"]) < Decimal("0.01")


def test_tenants_and_keys_find_the_servers_of_the_local_stack(stack: RunningStack) -> None:
    made = stack.cognitionos("tenants", "create", "acme")
    listed = stack.cognitionos("keys", "list", "--tenant", "local", "--json")
    key = stack.cognitionos("keys", "create", "ci", "--tenant", "acme", "--scope", "goals:read")

    assert made.returncode == 0, made.stderr
    assert [row["name"] for row in json.loads(listed.stdout)] == ["first key"]
    for each in (made, key):
        assert stack.cognitionos("runs", "--api-key", each.stdout.strip(), "--url", stack.url).returncode == 0


def test_the_note_for_them_is_private_and_holds_no_key(stack: RunningStack) -> None:
    note = stack.data_dir / "running.json"

    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert stack.api_key not in note.read_text()
    assert (stack.data_dir / "secret_key").read_text().strip() not in note.read_text()


def test_the_directory_can_be_named_by_the_environment(stack: RunningStack) -> None:
    for arguments in (["runs"], ["keys", "list", "--tenant", "local"]):
        done = subprocess.run(
            command(*arguments),
            env=clean_environment(COGNITIONOS_DATA_DIR=str(stack.data_dir)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["migrate"], ["tenants", "create", "acme"], ["keys", "list", "--tenant", "a"]])
def test_without_a_database_one_line_names_the_url_and_the_remedy(arguments: list[str], tmp_path: Path) -> None:
    nowhere = f"postgresql://cognitionos_app:hidden@/cognitionos?host={tmp_path}"

    refused = subprocess.run(
        command(*arguments),
        env=clean_environment(DATABASE_URL=nowhere),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert f"postgresql://cognitionos_app:***@/cognitionos?host={tmp_path}" in refused.stderr
    assert "DATABASE_URL" in refused.stderr
    assert "hidden" not in refused.stderr


def test_a_stack_of_our_own_leaves_the_files_behind_and_says_how_to_look(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "docs" / "examples" / "suppliers.csv"
    statement = "Compare the three suppliers in suppliers.csv and write a one-page recommendation"

    with scratch_dir() as folder:
        data = folder / "data"
        done = subprocess.run(
            command("run", statement, "--attach", str(example), "--data", str(data)),
            env=clean_environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

        (page,) = data.glob("results/*/recommendation.md")
        assert f"saved {page} (" in done.stdout
        assert f"-m cognitionos up --data {data}' running in another terminal" in done.stdout
        assert f"-m cognitionos inspect {page.parent.name} --data {data}" in done.stdout
        assert "Nordwind" in page.read_text()


def test_what_is_no_id_is_told_before_anything_is_asked(stack: RunningStack) -> None:
    for command_name in ("follow", "inspect", "cancel", "replay", "approve"):
        refused = stack.cognitionos(command_name, "not-an-id")

        assert refused.returncode == 2
        assert "'not-an-id' is not an id" in refused.stderr
