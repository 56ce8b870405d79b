"""A refusal of the API in the terminal: each sentence once."""

import io
import json
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import pytest

from cognitionos.cli import client
from cognitionos.cli.arguments import default_data_dir


def refusal(**problem: object) -> str:
    """The terminal's text for a problem document."""
    body = io.BytesIO(json.dumps({"type": "invalid", **problem}).encode())
    return client._problem_text(HTTPError("http://127.0.0.1", 422, "Unprocessable", Message(), body))


def test_a_field_that_the_detail_tells_already_is_not_told_again() -> None:
    text = refusal(
        detail="'budget_usd' must be above 0.", errors=[{"field": "budget_usd", "message": "must be above 0"}]
    )

    assert text == "'budget_usd' must be above 0. (HTTP 422, invalid)"


def test_a_field_that_the_detail_leaves_out_is_told() -> None:
    text = refusal(detail="The body is wrong.", errors=[{"field": "inputs.0", "message": "is too long"}])

    assert text == "The body is wrong.\n  inputs.0: is too long (HTTP 422, invalid)"


def test_the_data_directory_of_the_environment_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNITIONOS_DATA_DIR", "elsewhere")
    assert default_data_dir() == Path("elsewhere")

    monkeypatch.delenv("COGNITIONOS_DATA_DIR")
    assert default_data_dir() == Path(".data")


def test_a_key_alone_is_for_the_server_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COGNITIONOS_URL", raising=False)
    monkeypatch.setenv("COGNITIONOS_PORT", "8123")

    assert client.find_server(url=None, key="cog_x", data_dir=tmp_path) == client.Api("http://127.0.0.1:8123", "cog_x")
