"""What the documents say is true: their commands run, their links lead somewhere, they name no machine."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest
from tests.docs.documents import ROOT, documents, reader, stand_in_for_curl
from tests.servers import scratch_dir
from tests.stacks import RunningStack

COMMAND = re.compile(
    r"(?:^|[`\s/(\[\"'=])cognitionos ((?!cognitionos)(?:[a-z][a-z-]*|--[a-z-]+)(?: [a-z]+)?)", re.MULTILINE
)


def test_the_api_by_example_works_as_printed(stack: RunningStack, tmp_path: Path) -> None:
    settings = {"COGNITIONOS_URL": stack.url, "COGNITIONOS_API_KEY": stack.api_key}

    with reader(tmp_path, settings) as somebody:
        printed = somebody.read(ROOT / "docs" / "api.md")

    for shown in ("2 256\n", "event: end", "idempotent-replayed: true", "missing-permission", "Alba,20", '"cancelled"'):
        assert shown in printed


def test_our_stand_in_for_curl_does_what_the_documents_use(stack: RunningStack, tmp_path: Path) -> None:
    curl = stand_in_for_curl(tmp_path)
    header = ("-H", f"Authorization: Bearer {stack.api_key}")

    found = subprocess.run(
        [curl, "-sS", "-i", *header, f"{stack.url}/v1/me"], capture_output=True, text=True, timeout=60, check=False
    )
    refused = subprocess.run(
        [curl, "-sS", "--fail-with-body", "-w", "\\n", *header, f"{stack.url}/v1/goals", "-d", "{}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert found.stdout.startswith("HTTP/1.1 200 OK\n")
    assert '"tenant":"local"' in found.stdout
    assert refused.returncode == 22
    assert refused.stdout.endswith("}\n")


def test_the_quick_start_works_as_printed() -> None:
    with scratch_dir() as folder, reader(folder) as somebody:
        printed = somebody.read(ROOT / "docs" / "quick-start.md")

        assert "recommendation.md" in printed
        assert "Nordwind Components" in printed.partition("negotiation points")[2]
        assert not (somebody.checkout / ".data" / "running.json").exists()


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", prose(document)):
        there = (document.parent / target).resolve() if target else document
        assert there.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(there), f"{target}#{anchor} leads nowhere"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|deploy|migrations|requirements|shared)/[\w./*-]+)`", prose(document))

    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_command_that_a_document_names_exists() -> None:
    named = {(document.name, words) for document in documents() for words in COMMAND.findall(text_of(document))}

    commands = known_commands()
    assert {(name, words) for name, words in named if not is_known(words, commands)} == set()


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_machine_or_a_package_index(document: Path) -> None:
    text = text_of(document)

    assert re.findall(r"(?<![\w.~])/(?:work|root|home|tmp)/[\w.-]+", text) == []
    assert re.findall(r"\b[\w.-]*(?:pypi|pythonhosted|npmjs|docker\.io|ghcr|crates)\b[\w.-]*", text) == []


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def prose(document: Path) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(document), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as repository hosts make them."""
    titles = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def known_commands() -> dict[str, set[str]]:
    """Each command of the terminal with its actions, as its own help tells."""
    from cognitionos.cli import _parser

    def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
        actions = (each.choices for each in parser._actions if isinstance(each.choices, dict))
        return next(actions, {})

    return {name: set(choices(parser)) for name, parser in choices(_parser()).items()}


def is_known(words: str, commands: dict[str, set[str]]) -> bool:
    command, _, action = words.partition(" ")
    if command.startswith("--"):
        return command in {"--version", "--help"}
    return command in commands and (not action or not commands[command] or action in commands[command])
