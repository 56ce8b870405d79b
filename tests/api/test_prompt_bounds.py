"""A budget holds what a prompt can cost, also where its few bytes say nothing of it; else the call is refused."""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.api.spending import budget, state
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
MODEL = {CHAT: "openai/nobodys", MESSAGES: "anthropic/nobodys"}
SHEET = {"input_usd_per_million": "1", "output_usd_per_million": "1"}
WINDOW = 100_000
PDF = "A" * 4000
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    (MESSAGES, {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}),
    (MESSAGES, {"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    (MESSAGES, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}),
    (MESSAGES, {"type": "container_upload", "file_id": "file_1"}),
    (CHAT, {"type": "file", "file": {"file_id": "file-1"}}),
    (CHAT, {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
    (CHAT, {"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}),
]


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def client(client: httpx.AsyncClient, run: Run) -> httpx.AsyncClient:
    for model in MODEL.values():
        run(client.put(f"/v1/prices/{model}", json=SHEET)).raise_for_status()
    return client


def asking(path: str, part: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": MODEL[path], "max_tokens": 5, "messages": [{"role": "user", "content": [part]}]} | fields


@pytest.mark.parametrize(("path", "part"), DOCUMENTS)
async def test_under_a_budget_a_reference_that_nothing_bounds_is_refused_by_its_name_and_nothing_is_sent(
    client: httpx.AsyncClient,
    caller: Caller,
    claude: AnthropicUpstream,
    upstream: Upstream,
    path: str,
    part: dict[str, Any],
) -> None:
    await budget(client, caller, "100")

    refused = await client.post(path, json=asking(path, part))

    assert refused.status_code == 400
    error = refused.json()["error"]
    assert "messages" in error["message"]
    assert "max_input_tokens" in error["message"]
    assert (claude.calls, upstream.calls) == ([], [])
    assert await state(client) == (0, 0)


async def test_without_a_budget_it_goes_through(client: httpx.AsyncClient, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="Long.", usage={"input_tokens": 90_000, "output_tokens": 5}))

    answer = await client.post(MESSAGES, json=asking(MESSAGES, DOCUMENTS[0][1]))

    assert Decimal(answer.headers["x-cognitionos-cost-usd"]) == Decimal("0.090005")


async def test_twenty_documents_at_once_never_spend_more_than_their_budget(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    """The budget is worth two: they go through one after the other, for it has no room for two holds."""
    price = SHEET | {"max_input_tokens": WINDOW}
    (await client.put(f"/v1/prices/{MODEL[MESSAGES]}", json=price)).raise_for_status()
    await budget(client, caller, "0.2")
    claude.then(*(Tell(text="Long.", usage={"input_tokens": 90_000, "output_tokens": 5}) for _ in range(20)))

    async def one(number: int) -> int:
        document = {"type": "document", "source": {"type": "url", "url": f"https://x.example/{number}.pdf"}}
        return (await client.post(MESSAGES, json=asking(MESSAGES, document))).status_code

    statuses = Counter(await asyncio.gather(*(one(number) for number in range(20))))

    assert statuses == {200: 2, 429: 18}
    assert await state(client) == (Decimal("0.18001"), 0)


async def test_what_was_predicted_wrongly_is_within_the_budget(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await budget(client, caller, "0.02")
    usage = {"prompt_tokens": 10, "completion_tokens": 20_005, "total_tokens": 20_015}
    upstream.then(Say(text="x", usage=usage))
    said = {"type": "content", "content": "a " * 20_000}

    refused = await client.post(CHAT, json=asking(CHAT, {"type": "text", "text": "x"}, prediction=said))

    assert refused.status_code == 429
    assert await state(client) == (0, 0)


@pytest.mark.parametrize("field", ["n", "best_of", "max_tokens"])
async def test_a_number_in_quotes_bounds_nothing(client: httpx.AsyncClient, upstream: Upstream, field: str) -> None:
    answer = await client.post(CHAT, json=asking(CHAT, {"type": "text", "text": "x"}, **{field: "5"}))

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert upstream.calls == []
