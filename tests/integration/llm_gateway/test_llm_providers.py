"""Which providers there are, and what the two that need no server of ours do."""

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders_llm_gateway import a_request
from tests.conftest import Run
from tests.fakes.llm_gateway_circuits import MemoryCircuitStore
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.kernel.clock import utc_now
from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.deployments import Deployments
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.chat import user
from cognitionos.llm_gateway.domain.errors import (
    AnswerLost,
    InvalidChatRequest,
    ModelMissing,
    ProviderFailure,
    ProviderUnavailable,
    RequestRefused,
    SimulatedModelRefused,
)
from cognitionos.llm_gateway.domain.route import Candidate, Route
from cognitionos.llm_gateway.infrastructure.litellm_provider import LiteLLMProvider
from cognitionos.llm_gateway.infrastructure.openai_provider import OpenAIProvider
from cognitionos.llm_gateway.infrastructure.providers import Providers
from cognitionos.llm_gateway.infrastructure.simulated_provider import SimulatedProvider
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider
from cognitionos.platform.config import Settings
from cognitionos.platform.http import HttpClient


@pytest.fixture(scope="module")
def http(run: Run) -> Iterator[HttpClient]:
    client = HttpClient()
    run(client.open())
    yield client
    run(client.close())


@pytest.fixture(scope="module")
def upstream(run: Run) -> Iterator[Upstream]:
    context = running_upstream(models=["nomic-embed-text", "llama3.2"], api_key=None)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


async def providers(http: HttpClient, local: dict[str, str] | None = None, **changes: Any) -> Providers:
    nothing: dict[str, Any] = {"openai_api_key": None, "openai_base_url": None, "anthropic_api_key": None}
    made = Providers(
        Settings(**(nothing | {"model": None, "port": 0} | changes)),
        http=http,
        simulated=SimulatedProvider(lambda: (), now=utc_now),
        environment={"SECOND_KEY": "k"},
        local_servers=local or {"ollama": "http://127.0.0.1:1/v1"},
    )
    await made.open()
    return made


async def test_with_nothing_configured_the_simulated_model_answers_and_says_how_to_connect(http: HttpClient) -> None:
    default = (await providers(http)).describe_default()

    assert (default.model, default.provider, default.simulated) == ("simulated/scenarios", "simulated", True)
    assert "OPENAI_API_KEY" in default.hint


async def test_a_local_server_is_found_and_its_first_chat_model_is_the_default(
    http: HttpClient, upstream: Upstream
) -> None:
    found = await providers(http, {"lmstudio": "http://127.0.0.1:1/v1", "ollama": upstream.base_url})

    default = found.describe_default()
    assert (default.model, default.simulated, default.hint) == ("ollama/llama3.2", False, "")
    price = found.price(found.resolve("ollama/llama3.2").candidates[0])
    assert price is not None
    assert price.is_free
    assert "ollama/llama3.2" in await found.models()


async def test_local_servers_are_not_looked_for_where_it_is_switched_off(http: HttpClient, upstream: Upstream) -> None:
    found = await providers(http, {"ollama": upstream.base_url}, detect_local_models=False)

    assert found.describe_default().simulated


async def test_a_base_url_alone_is_enough_and_its_first_chat_model_is_the_default(
    http: HttpClient, upstream: Upstream
) -> None:
    found = await providers(http, openai_base_url=upstream.base_url)

    assert found.describe_default().model == "openai/llama3.2"
    assert found.resolve("anything").candidates[0].name == "openai/anything"
    assert found.is_unmetered("openai")


@pytest.mark.parametrize(
    ("base_url", "free"),
    [
        ("http://mock/v1", True), ("http://127.0.0.1:1/v1", True), ("http://10.0.0.5:8000", True),
        ("http://[fd00::1]:8000/v1", True), ("http://models.svc.cluster.local", True), (None, False),
        ("https://api.openai.com/v1", False), ("https://models.example.com/v1", False), ("http://8.8.8.8/v1", False),
        ("http://134744072/v1", False), ("http:///v1", False),
    ],
)  # fmt: skip
async def test_a_server_with_a_key_is_free_unless_priced_only_where_its_address_is_not_public(
    http: HttpClient, base_url: str | None, *, free: bool
) -> None:
    found = await providers(http, openai_base_url=base_url, openai_api_key="k", model="b-own")

    assert found.is_unmetered("openai") is free


async def test_the_named_model_is_the_default_and_goes_to_the_default_provider_unchanged(http: HttpClient) -> None:
    found = await providers(http, openai_api_key="k", model="gpt-x")

    assert found.describe_default().model == "openai/gpt-x"


async def test_production_refuses_the_simulated_model_and_invents_nothing_without_a_provider(http: HttpClient) -> None:
    found = await providers(http, mode="production", secret_key="s")

    with pytest.raises(SimulatedModelRefused):
        found.resolve("simulated/scenarios")
    with pytest.raises(ProviderUnavailable):
        found.resolve(None)
    assert found.describe_default().provider == ""
    assert found.resolve_embedder(None).candidates[0].name == "local/wordllama"


async def test_the_operators_file_adds_providers_with_prices(http: HttpClient, tmp_path: Path) -> None:
    file = tmp_path / "providers.json"
    price = {"input_usd_per_million": "0.1", "output_usd_per_million": 2}
    entries = [
        {"name": "second", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "SECOND_KEY", "models": ["m"]},
        {"name": "gemini", "vendor": "gemini", "flags": []},
    ]
    file.write_text(json.dumps([entries[0] | {"price": price, "flags": ["recover_tool_calls"]}, entries[1]]))

    found = await providers(http, providers_file=file)

    assert found.describe_default().model == "second/m"
    stated = found.price(found.resolve(None).candidates[0])
    assert stated is not None
    assert stated.upper_bound(10, 1) == 3000
    assert found.resolve("gemini/pro").candidates[0].provider == "gemini"


@pytest.mark.parametrize("text", ["{}", "[{}]", '[{"name": "a/b", "base_url": "x"}]', '[{"name": "a"}]'])
async def test_a_broken_providers_file_is_an_error_that_names_it(http: HttpClient, tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)

    with pytest.raises(ValueError, match=r"broken\.json"):
        await providers(http, providers_file=file)


async def test_local_embeddings_have_length_one_and_put_like_beside_like() -> None:
    local = WordLlamaProvider()
    texts = ["The cat sat on the mat.", "A kitten is sitting on a rug.", "Quarterly revenue grew by nine percent.", ""]

    answer = await local.embed(texts, model="wordllama", extra={})

    cat, kitten, revenue, nothing = answer.vectors
    assert [len(vector) for vector in answer.vectors] == [256] * 4
    assert math.isclose(math.hypot(*cat), 1, rel_tol=1e-4)
    assert sum(a * b for a, b in zip(cat, kitten, strict=True)) > sum(a * b for a, b in zip(cat, revenue, strict=True))
    assert not any(nothing)
    assert answer.usage is not None
    assert answer.usage.prompt > 10


async def test_local_embeddings_are_those_of_the_wordllama_package() -> None:
    import numpy as np
    from tokenizers import Tokenizer
    from wordllama.inference import WordLlamaInference

    from cognitionos.llm_gateway.infrastructure import wordllama_provider

    folder = wordllama_provider._folder()
    table = np.asarray(wordllama_provider._read_table(folder / wordllama_provider._WEIGHTS))
    reference = WordLlamaInference(table, Tokenizer.from_file(str(folder / wordllama_provider._TOKENIZER)))
    texts = ["The cat sat on the mat.", "short", "Zürich, 42 °C — ok?"]

    ours = await WordLlamaProvider().embed(texts, model="wordllama", extra={})

    assert np.allclose(np.asarray(ours.vectors), reference.embed(texts, norm=True), atol=1e-5)


async def test_the_local_provider_has_one_model_and_does_not_chat() -> None:
    local = WordLlamaProvider()

    with pytest.raises(ModelMissing):
        await local.embed(["x"], model="other", extra={})
    with pytest.raises(ModelMissing):
        await local.chat(a_request(), model="wordllama")


@pytest.mark.parametrize("field", ["base_url", "api_base", "custom_llm_provider", "mock_response", "aws_region_name"])
async def test_litellm_s_own_arguments_are_not_the_caller_s_to_set(upstream: Upstream, field: str) -> None:
    vendor = LiteLLMProvider(name="vendor", vendor="openai", api_key="k", base_url=upstream.base_url)
    request = replace(a_request(), extra={field: "http://127.0.0.1:1", "seed": 7})

    with pytest.raises(InvalidChatRequest, match=field) as refused:
        await vendor.chat(request, model="gpt-4o-mini")

    assert list(refused.value.fields) == [field]


async def test_litellm_answers_streams_and_fails_like_any_provider(upstream: Upstream) -> None:
    vendor = LiteLLMProvider(name="vendor", vendor="openai", api_key="vendor-secret-1", base_url=upstream.base_url)
    upstream.reset()
    busy = Say(status=429, headers={"retry-after": "7"}, error={"message": "too many for vendor-secret-1"})
    upstream.then(Say(text="by litellm"), Say(text="one two"), busy, Say(status=401), Say(status=404), Say(status=400))
    request = replace(a_request(), messages=(user("Hi"),), max_tokens=9)

    answer = await vendor.chat(request, model="gpt-4o-mini")
    chunks = [chunk async for chunk in vendor.stream(request, model="gpt-4o-mini")]

    assert answer.wire["choices"][0]["message"]["content"] == "by litellm"
    assert answer.usage is not None
    assert upstream.calls[0]["max_tokens"] == 9
    assert "".join(chunk.text for chunk in chunks) == "one two"
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    for kind, again in (
        (ProviderFailure, True),
        (ProviderFailure, False),
        (ModelMissing, False),
        (RequestRefused, None),
    ):
        with pytest.raises(kind) as raised:
            await vendor.chat(request, model="gpt-4o-mini")
        assert getattr(raised.value, "again", None) is again
        if again:
            assert getattr(raised.value, "retry_after_s", None) == 7
            assert "secret" not in str(raised.value)


async def test_a_stream_of_litellm_that_falls_silent_is_lost_and_left(upstream: Upstream) -> None:
    vendor = LiteLLMProvider(
        name="vendor", vendor="openai", api_key="k", base_url=upstream.base_url, longest_silence_s=1.0
    )
    upstream.reset()
    upstream.then(Say(text="one two three", gates={2: asyncio.Event()}))
    heard: list[str] = []

    with pytest.raises(AnswerLost, match="it has said nothing for 1 s") as lost:
        async for chunk in vendor.stream(a_request("Count."), model="gpt-4o-mini"):
            heard.append(chunk.text)  # noqa: PERF401 - it raises in the end

    assert lost.value.why == "silent"
    assert "".join(heard).strip() == "one"
    await eventually(lambda: upstream.abandoned_streams == 1)


async def test_a_stream_of_litellm_may_think_before_its_first_words_and_is_left_with_its_caller(
    upstream: Upstream,
) -> None:
    vendor = LiteLLMProvider(
        name="vendor", vendor="openai", api_key="k", base_url=upstream.base_url, longest_silence_s=0.2
    )
    upstream.reset()
    thinks = asyncio.Event()
    upstream.then(Say(text="one two three", gates={1: thinks, 2: asyncio.Event()}))
    chunks = vendor.stream(a_request("Count.", deadline_s=60), model="gpt-4o-mini")

    role = await anext(chunks)
    asyncio.get_running_loop().call_later(0.5, thinks.set)
    word = await anext(chunks)
    await chunks.aclose()

    assert (role.text, word.text.strip()) == ("", "one")
    await eventually(lambda: upstream.abandoned_streams == 1)


async def test_a_stream_of_litellm_that_is_cut_is_a_failure_and_no_end(upstream: Upstream) -> None:
    vendor = LiteLLMProvider(name="vendor", vendor="openai", api_key="k", base_url=upstream.base_url)
    upstream.reset()
    upstream.then(Say(text="one two three", cut_after=2))

    with pytest.raises(ProviderFailure):
        [chunk async for chunk in vendor.stream(a_request("Count."), model="gpt-4o-mini")]


async def test_a_whole_answer_of_litellm_ends_with_its_attempt_and_the_next_one_answers(
    http: HttpClient, upstream: Upstream
) -> None:
    vendor = LiteLLMProvider(name="vendor", vendor="openai", api_key="k", base_url=upstream.base_url)
    own = OpenAIProvider(http, name="own", base_url=upstream.base_url, api_key=None)
    upstream.reset()
    upstream.then(Say(text="late", gates={0: asyncio.Event()}), Say(text="in time"))
    attempts = Attempts(
        providers={"vendor": vendor, "own": own},
        deployments=Deployments(circuits=MemoryCircuitStore()),
        backoff=Backoff(),
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        chance=lambda: 0.5,
        longest_s=1.0,
    )
    both = tuple(Candidate(provider=name, model="gpt-4o-mini") for name in ("vendor", "own"))

    done = await attempts.run(
        Route(asked="m", candidates=both, reason="route"),
        lambda provider, candidate: provider.chat(a_request(), model=candidate.model),
        deadline_s=60,
    )

    assert done.value.wire["choices"][0]["message"]["content"] == "in time"
    assert done.trail == ("vendor/gpt-4o-mini=timeout",)


async def test_neither_the_start_nor_a_call_imports_litellm(upstream: Upstream) -> None:
    upstream.reset()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START_AND_CALL, upstream.base_url, stdout=asyncio.subprocess.PIPE
    )

    printed, _ = await program.communicate()

    assert printed.decode().split() == ["m", "False"]
    assert len(upstream.calls) == 1


_START_AND_CALL = """
import asyncio, sys
from cognitionos.llm_gateway.domain.chat import ChatRequest, user
from cognitionos.llm_gateway.infrastructure.openai_provider import OpenAIProvider
from cognitionos.platform.config import Settings
from cognitionos.platform.http import HttpClient
from cognitionos.web import create_app

async def call():
    http = HttpClient()
    await http.open()
    provider = OpenAIProvider(http, name="o", base_url=sys.argv[1], api_key=None)
    answer = await provider.chat(ChatRequest(messages=(user("Hi"),)), model="m")
    await http.close()
    return answer.wire["model"]

create_app(Settings(detect_local_models=False))
print(asyncio.run(call()), "litellm" in sys.modules)
"""
