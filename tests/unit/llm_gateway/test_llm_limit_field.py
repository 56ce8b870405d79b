"""The name of the completion limit, by the host that takes it."""

import json
from pathlib import Path

import pytest

from cognitionos.llm_gateway.infrastructure.openai_provider import usual_limit_field
from cognitionos.llm_gateway.infrastructure.provider_file import read_providers


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://eu.api.openai.com/v1/",
        "https://API.OpenAI.com:443/v1",
        "https://acme.openai.azure.com/openai/v1",
    ],
)
def test_openais_hosts_take_the_newer_name(url: str) -> None:
    assert usual_limit_field(url) == "max_completion_tokens"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://notopenai.com/v1", "https://api.openai.com.example.com/v1", "", "x"]
)
def test_any_other_host_takes_the_older_one(url: str) -> None:
    assert usual_limit_field(url) == "max_tokens"


def test_the_operators_file_may_say_it_of_a_server_but_not_of_a_vendor(tmp_path: Path) -> None:
    file, said = tmp_path / "providers.json", {"limit_field": "max_completion_tokens"}
    file.write_text(json.dumps([{"name": "proxy", "base_url": "https://llm.example.com/v1"} | said]))
    (entry,) = read_providers(file)
    file.write_text(json.dumps([{"name": "other", "vendor": "gemini"} | said]))

    with pytest.raises(ValueError, match="limit_field"):
        read_providers(file)

    assert entry.limit_field == "max_completion_tokens"
