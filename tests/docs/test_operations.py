"""docs/operations.md: its commands run, and its tables of settings and metrics are whole and right."""

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.docs.conftest import Observed
from tests.docs.documents import ROOT, reader
from tests.servers import scratch_dir
from tests.stacks import clean_environment, command

from cognitionos.llm_gateway.infrastructure.provider_file import read_providers
from cognitionos.platform.config import Settings

OPERATIONS = ROOT / "docs" / "operations.md"
GOAL = "Compare the three suppliers in docs/examples/suppliers.csv and write a one-page recommendation"
NOT_FOR_OPERATORS = {"COGNITIONOS_SUPERVISOR_FD", "COGNITIONOS_PUBLISH"}  # between our processes; compose's own


@pytest.fixture(scope="module")
def text() -> str:
    return OPERATIONS.read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below `heading`, without its head."""
    table = re.search(rf"^#+ {heading}$.*?\n\n(\|.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()[2:]]


def shown(value: object) -> str:
    """A setting's default as the table words it."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if value in (None, ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def variables_of(name: str) -> list[str]:
    """The environment variables that set one of the settings."""
    alias = Settings.model_fields[name].validation_alias
    return [str(each) for each in alias.choices] if hasattr(alias, "choices") else [f"COGNITIONOS_{name.upper()}"]


def test_the_page_works_as_printed() -> None:
    with scratch_dir() as folder, reader(folder) as somebody:
        somebody.read(OPERATIONS)

        assert (somebody.checkout / "backup.tar").stat().st_size > 1_000_000
        assert (somebody.checkout / "acme.key").read_text().startswith("cog_")


def test_the_settings_are_all_there_with_their_defaults(text: str) -> None:
    documented = {cells[0]: cells[1] for cells in rows(text, "Settings")}

    expected = {
        ", ".join(f"`{variable}`" for variable in variables_of(name)): shown(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert documented == expected, "the table of settings in docs/operations.md has one row per field of Settings"


def test_the_metrics_have_the_labels_that_the_table_says(text: str) -> None:
    pinned = (ROOT / "tests" / "architecture" / "public_names.txt").read_text(encoding="utf-8")

    told = {f"{cells[0].strip('`')}{{{cells[1]}}}" for cells in rows(text, "Metrics")}

    assert {line for line in pinned.splitlines() if line.startswith("cognitionos_")} == told


def test_every_variable_that_the_code_reads_is_documented(text: str) -> None:
    read = {
        name
        for path in (*(ROOT / "src").rglob("*.py"), ROOT / "compose.yaml", ROOT / "Dockerfile")
        for name in re.findall(r"\bCOGNITIONOS_[A-Z][A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }

    assert {name for name in read - NOT_FOR_OPERATORS if f"`{name}`" not in text} == set()


def test_the_providers_file_of_the_page_is_one(text: str, tmp_path: Path) -> None:
    example = re.search(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    file = tmp_path / "providers.json"
    file.write_text(example[1])

    assert [provider.name for provider in read_providers(file)] == ["lab", "vertex", "house"]


def scrape(url: str) -> tuple[set[str], set[str]]:
    """Of one process: the series it knows, and those that have counted something."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    known = {line.split()[2] for line in lines if line.startswith("# TYPE cognitionos_")}
    counted = {line.partition("{")[0].split()[0] for line in lines if line.startswith("cognitionos_")}
    return {name for name in known if not name.endswith("_created")}, {
        re.sub(r"_(bucket|sum|count|created)$", "", name) for name in counted
    }


def test_the_metrics_are_all_there_and_count(text: str, observed: Observed) -> None:
    documented = {cells[0].strip("`") for cells in rows(text, "Metrics")}
    server = ("--url", observed.stack.url, "--api-key", observed.stack.api_key)
    run = command("run", GOAL, *server, "--json")
    subprocess.run(run, cwd=ROOT, env=clean_environment(), stdout=subprocess.DEVNULL, timeout=60, check=True)

    known, counted = scrape(observed.stack.url)
    known_by_worker, counted_by_worker = scrape(observed.worker_url)

    assert known | known_by_worker == documented, "the table of metrics in docs/operations.md has one row per series"
    for name in ("http_requests_total", "http_request_seconds"):
        assert f"cognitionos_{name}" in counted
    for name in ("llm_calls_total", "llm_latency_seconds", "llm_tokens_total", "agent_steps_total", "tool_calls_total"):
        assert f"cognitionos_{name}" in counted_by_worker
    for name in ("tool_seconds", "agent_verdicts_total", "tasks_ended_total", "runs_finished_total"):
        assert f"cognitionos_{name}" in counted_by_worker
