"""The official SDKs, every case directly against the strict stand-in and through us, over both transports of our own.

What is compared is the shape: classes, fields and types (`tests/shapes.py`). It is equal; over the transport of the
other vendor but for fields that only one of them has (`ONLY_OPENAI`, `ONLY_ANTHROPIC`).
What the words and numbers are is said in `test_openai_wire.py`, `test_anthropic_wire.py` and `test_responses_wire.py`.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from tests.anthropic_upstream import Tell
from tests.api.sdk_bench import CLAUDE, GPT, Bench, Case, Door, running_bench
from tests.conftest import Run
from tests.shapes import in_turn, shape
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings

ONLY_OPENAI = frozenset({"service_tier", "system_fingerprint", "audio_tokens", "completion_tokens_details"})
ONLY_ANTHROPIC = frozenset({"cache_creation_input_tokens", "cache_read_input_tokens"})
NEW_HERE = frozenset({"budget", "resets_at", "param", "code", "estimated"})
"""What our answers and errors say besides."""
PNG = "iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CITIES = ("Bern", "Rome")
CALLED = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'}}
    for city in CITIES
]
USED = [{"type": "tool_use", "id": f"toolu_{city}", "name": "weather", "input": {"city": city}} for city in CITIES]


@pytest.fixture(scope="module")
def bench(settings: Settings, run: Run) -> Iterator[Bench]:
    context = running_bench(settings)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


def chat(text: str, **fields: Any) -> Callable[[Door], Awaitable[Any]]:
    """Ask for a completion; of a stream every event."""

    async def use(door: Door) -> Any:
        asked: dict[str, Any] = {"model": door.model or GPT, "messages": [{"role": "user", "content": text}]}
        answer: Any = await door.openai.chat.completions.create(**asked | {"max_tokens": 50} | fields)
        return [event async for event in answer] if fields.get("stream") else answer

    return use


def message(text: str, **fields: Any) -> Callable[[Door], Awaitable[Any]]:
    """Ask for a message; of a stream every event."""

    async def use(door: Door) -> Any:
        asked: dict[str, Any] = {"model": door.model or CLAUDE, "messages": [{"role": "user", "content": text}]}
        answer: Any = await door.anthropic.messages.create(**asked | {"max_tokens": 50} | fields)
        return [event async for event in answer] if fields.get("stream") else answer

    return use


def embedding(given: Any, **fields: Any) -> Callable[[Door], Awaitable[Any]]:
    async def use(door: Door) -> Any:
        return await door.openai.embeddings.create(model="text-embedding-3-small", input=given, **fields)

    return use


async def counted(door: Door) -> Any:
    return await door.anthropic.messages.count_tokens(
        model=door.model or CLAUDE, messages=[{"role": "user", "content": "How many?"}]
    )


async def models_of_openai(door: Door) -> Any:
    return [await door.openai.models.list(), await door.openai.models.retrieve(door.model or GPT)]


async def models_of_anthropic(door: Door) -> Any:
    page = await door.anthropic.models.list(limit=1000)
    return [page, await door.anthropic.models.retrieve(door.model or CLAUDE)]


def _name(case: Any) -> str:
    return str(case.name)


FUNCTION = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
TOOL = {"name": "weather", "description": "d", "input_schema": SCHEMA}
IN_JSON = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
SEEN_BY_GPT = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
SEEN_BY_CLAUDE = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]
SPOKEN: Any = {"says": [Say(text="one two")], "tells": [Tell(text="one two")]}
ONE_CALL: Any = {"says": [Say(tool_calls=CALLED[:1])], "tells": [Tell(content=USED[:1])]}
TWO_CALLS: Any = {"says": [Say(tool_calls=CALLED)], "tells": [Tell(content=USED)]}
JSON: Any = {"says": [Say(text='{"city":"Bern"}')], "tells": [Tell(text='{"city":"Bern"}')]}
WITH_USAGE: Any = {"stream": True, "stream_options": {"include_usage": True}}

CHATS = [
    Case(name="plain", use=chat("plain"), **SPOKEN),
    Case(name="stream", use=chat("stream", stream=True), **SPOKEN),
    Case(name="usage in the last chunk", use=chat("usage", **WITH_USAGE), **SPOKEN),
    Case(name="tools", use=chat("tools", tools=[FUNCTION]), **ONE_CALL),
    Case(name="parallel tools", use=chat("parallel", tools=[FUNCTION]), **TWO_CALLS),
    Case(name="tool stream", use=chat("tool stream", tools=[FUNCTION], stream=True), **ONE_CALL),
    Case(name="parallel tool stream", use=chat("both streamed", tools=[FUNCTION], stream=True), **TWO_CALLS),
    Case(name="JSON schema", use=chat("json", response_format=IN_JSON), **JSON),
    Case(name="image", use=chat("", messages=[{"role": "user", "content": SEEN_BY_GPT}]), **SPOKEN),
]
MESSAGES = [
    Case(name="plain", use=message("plain"), **SPOKEN),
    Case(name="stream", use=message("stream", stream=True), **SPOKEN),
    Case(name="tools", use=message("tools", tools=[TOOL]), **ONE_CALL),
    Case(name="parallel tools", use=message("parallel", tools=[TOOL]), **TWO_CALLS),
    Case(name="tool stream", use=message("tool stream", tools=[TOOL], stream=True), **TWO_CALLS),
    Case(name="image", use=message("", messages=[{"role": "user", "content": SEEN_BY_CLAUDE}]), **SPOKEN),
    Case(name="count tokens", use=counted),
]
EMBEDDINGS = [
    Case(name="as the SDK asks", use=embedding(["a", "bcd"])),
    Case(name="one text", use=embedding("a")),
    Case(name="float", use=embedding(["a", "bcd"], encoding_format="float")),
    Case(name="base64", use=embedding(["a", "bcd"], encoding_format="base64")),
    Case(name="dimensions", use=embedding(["a"], dimensions=4)),
    Case(name="tokens", use=embedding([1, 2, 3], encoding_format="float")),
    Case(name="many texts as tokens", use=embedding([[1, 2, 3], [4]], encoding_format="float")),
]
WAYS = pytest.mark.parametrize("model", [f"openai/{GPT}", f"anthropic/{CLAUDE}"])


@WAYS
@pytest.mark.parametrize("case", CHATS, ids=_name)
async def test_a_chat_has_the_shape_it_has_at_openai(bench: Bench, case: Case, model: str) -> None:
    without = frozenset() if model.startswith("openai/") else ONLY_OPENAI

    direct, ours = await bench.used(case, bench.direct()), await bench.used(case, bench.ours(model))

    assert type(ours) is type(direct)
    assert shape(ours, without=without | ONLY_ANTHROPIC) == shape(direct, without=without)


@WAYS
@pytest.mark.parametrize("case", MESSAGES, ids=_name)
async def test_a_message_has_the_shape_it_has_at_anthropic(bench: Bench, case: Case, model: str) -> None:
    without = frozenset() if model.startswith("anthropic/") else ONLY_ANTHROPIC | NEW_HERE

    direct, ours = await bench.used(case, bench.direct()), await bench.used(case, bench.ours(model))

    assert type(ours) is type(direct)
    assert shape(ours, without=without) == shape(direct, without=without)


@pytest.mark.parametrize("case", EMBEDDINGS, ids=_name)
async def test_embeddings_have_the_shape_and_the_numbers_they_have_at_openai(bench: Bench, case: Case) -> None:
    direct, ours = await bench.used(case, bench.direct()), await bench.used(case, bench.ours("openai/any"))

    assert shape(ours) == shape(direct)
    assert [each.embedding for each in ours.data] == [each.embedding for each in direct.data]


@WAYS
@pytest.mark.parametrize("use", [models_of_openai, models_of_anthropic])
async def test_models_are_listed_in_the_format_of_the_sdk_that_asks(bench: Bench, use: Any, model: str) -> None:
    case = Case(name="models", use=use)

    (all_direct, one_direct), (listed, one) = (
        await bench.used(case, bench.direct()),
        await bench.used(case, bench.ours(model)),
    )

    unknown = frozenset({"max_input_tokens", "max_tokens"})  # of the models of other vendors nobody says
    assert type(one) is type(one_direct)
    assert shape(one) == shape(one_direct, without=unknown)
    assert shape(listed) == shape(all_direct, without=unknown)
    assert model in [each.id for each in listed.data]


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A use that is refused, with the error of either SDK."""

    name: str
    error: str
    fields: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    poor: bool = False
    unknown_model: bool = False
    scripted: int | None = None


WRONGS = [
    Wrong(name="401", error="AuthenticationError", key="cog_wrong"),
    Wrong(name="400", error="BadRequestError", fields={"messages": [{"role": "wizard", "content": "x"}]}),
    Wrong(name="404", error="NotFoundError", unknown_model=True),
    Wrong(name="429", error="RateLimitError", poor=True, scripted=429),
]


@WAYS
@pytest.mark.parametrize("wrong", WRONGS, ids=_name)
@pytest.mark.parametrize("kind", [{}, {"stream": True}], ids=["whole", "stream"])
@pytest.mark.parametrize("sdk", [openai, anthropic])
async def test_an_error_is_the_sdks_own_class_with_its_vendors_fields(
    bench: Bench, sdk: Any, kind: dict[str, Any], wrong: Wrong, model: str
) -> None:
    ask = chat if sdk is openai else message
    fields = wrong.fields | kind
    says, tells = ([Say(status=wrong.scripted)], [Tell(status=wrong.scripted)]) if wrong.scripted else ([], [])

    async def refused(door: Door, name: str) -> Any:
        named = {"model": name} if wrong.unknown_model else {}
        case = Case(name=wrong.name, use=ask(f"{wrong.name} {kind}", **fields | named), says=says, tells=tells)
        with pytest.raises(getattr(sdk, wrong.error)) as raised:
            await bench.used(case, _with_key(door, wrong.key))
        return raised.value

    direct = await refused(bench.direct(), "no-such-model")
    vendor = model.partition("/")[0]
    ours = await refused(bench.ours(model, who=bench.poor if wrong.poor else None), f"{vendor}/no-such-model")

    assert ours.status_code == direct.status_code
    assert shape(ours.body, without=NEW_HERE) == shape(direct.body, without=NEW_HERE)
    assert ours.request_id


def _with_key(door: Door, key: str | None) -> Door:
    if key is None:
        return door
    return Door(
        openai=door.openai.with_options(api_key=key),
        anthropic=door.anthropic.with_options(api_key=key),
        model=door.model,
    )


@WAYS
@pytest.mark.parametrize("sdk", [openai, anthropic])
async def test_a_client_that_goes_away_ends_the_providers_stream(bench: Bench, sdk: Any, model: str) -> None:
    async def leave(door: Door) -> None:
        asked: dict[str, Any] = {"max_tokens": 500, "messages": [{"role": "user", "content": "Long"}], "stream": True}
        if sdk is openai:
            stream: Any = await door.openai.chat.completions.create(model=door.model or GPT, **asked)
        else:
            stream = await door.anthropic.messages.create(model=door.model or CLAUDE, **asked)
        await anext(aiter(stream))
        await stream.close()

    async def abandoned(door: Door) -> int:
        await bench.used(case, door)
        return await eventually(lambda: bench.gpt.abandoned_streams + bench.claude.abandoned_streams) or 0

    words = "word " * 200
    case = Case(name="leave", use=leave, says=[Say(text=words, pause_s=0.05)], tells=[Tell(text=words, pause_s=0.05)])

    assert await abandoned(bench.direct()) == 1
    assert await abandoned(bench.ours(model)) == 1


@WAYS
async def test_a_response_is_what_the_sdks_types_demand(bench: Bench, model: str) -> None:
    async def use(door: Door) -> Any:
        whole = await door.openai.responses.create(model=door.model, input="plain")
        stream = await door.openai.responses.create(model=door.model, input="stream", stream=True)
        return [whole, [event async for event in stream]]

    case = Case(name="responses", use=use, says=[Say(text="one two")] * 2, tells=[Tell(text="one two")] * 2)

    whole, events = await bench.used(case, bench.ours(model))

    for told in (whole, *events):
        type(told).model_validate(told.model_dump(exclude_unset=True))  # a field too few or of another type raises
    assert whole.output_text == events[-1].response.output_text == "one two"
    assert shape(events[-1].response) == shape(whole)
    assert in_turn(event.type for event in events) == ["str"]
