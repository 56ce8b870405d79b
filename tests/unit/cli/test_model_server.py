"""`doctor` asks the model server of OPENAI_BASE_URL, here a strict stand-in on loopback."""

import asyncio
import socket

import pytest
from pydantic import SecretStr
from tests.upstream import running_upstream

from cognitionos.cli import model_server
from cognitionos.cli.model_server import examine_model_server
from cognitionos.platform.config import Settings
from cognitionos.platform.diagnosis import Finding


async def examined(*models: str, default: str | None = None) -> Finding:
    async with running_upstream(models=list(models)) as upstream:
        settings = Settings(
            openai_base_url=upstream.base_url, openai_api_key=SecretStr(str(upstream.api_key)), model=default
        )
        return await asyncio.to_thread(examine_model_server, settings)


async def test_a_server_that_answers_names_the_default_model() -> None:
    found = await examined("nomic-embed-text", "qwen3:8b")

    assert found.ok
    assert "answers, default model qwen3:8b, free unless a price is set: cognitionos prices set" in found.detail


async def test_a_model_with_a_public_price_needs_no_word_about_it() -> None:
    found = await examined("gpt-4o-mini")

    assert found.detail.endswith("answers, default model gpt-4o-mini")


def test_a_model_at_a_public_address_that_nobody_knows_the_price_of_is_a_warning() -> None:
    found = model_server._priced("it answers", "b-own", "https://models.example.com/v1", key=True)

    assert (found.ok, found.required) == (False, False)
    assert found.remedy == "cognitionos prices set openai/b-own --input USD --output USD"


async def test_a_default_that_the_server_does_not_have_is_a_warning_with_what_it_has() -> None:
    found = await examined("qwen3:8b", default="llama9")

    assert not found.ok
    assert not found.required
    assert "does not list COGNITIONOS_MODEL=llama9; it lists qwen3:8b" in found.detail


async def test_a_server_without_models_is_told_to_load_one() -> None:
    found = await examined()

    assert not found.ok
    assert "COGNITIONOS_MODEL" in found.remedy


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_server_that_is_not_there_is_a_warning_with_the_remedy(path: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}{path}"

        found = examine_model_server(Settings(openai_base_url=url))

    assert not found.ok
    assert not found.required
    assert f"nothing answers at {url}" in found.detail
    assert found.remedy == "start that server"
