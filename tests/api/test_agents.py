"""Agents of a tenant's own, over HTTP with a worker and a scripted model: definitions, limits, prompts, hand-offs."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import a_stage, run_of, steps_of
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.platform.config import Settings

NO = {"accepted": False, "reasons": ["longer"]}
RULES: list[dict[str, Any]] = [
    {"system_contains": ["you write poems"], "contains": ["sea"], "say": "The sea is wide."},
    {"system_contains": ["you write verse"], "contains": ["sea"], "say": "O sea!"},
    {
        "system_contains": ["you sort mail"],
        "contains": ["sea"],
        "tool_results": 0,
        "call": [{"name": "hand_off", "arguments": {"agent": "poet", "reason": "A poem is wanted."}}],
    },
    {"system_contains": ["you never end"], "call": [{"name": "list_files", "arguments": {}}]},
    {"system_contains": ["critic 1 of 3"], "contains": ["<result>\ntoo-short"], "json": NO},
    {"system_contains": ["critic 2 of 3"], "contains": ["<result>\ntoo-short"], "json": NO},
    {"system_contains": ["critic 3 of 3"], "contains": ["good-enough"], "json": NO},
    {"system_contains": ["critic"], "json": {"accepted": True, "reasons": []}},
    {"system_contains": ["executor"], "contains": ["a critic sent", "longer"], "say": "A longer answer."},
    {"system_contains": ["executor"], "contains": ["judge me"], "say": "{{user:(too-short|good-enough)}}"},
    {"system_contains": ["you look twice"], "tool_results": 0, "call": [{"name": "list_files", "arguments": {}}] * 2},
    {"system_contains": ["you look twice"], "say": "Looked twice."},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def an_agent(client: httpx.AsyncClient, name: str, prompt: str, **given: Any) -> dict[str, Any]:
    wrote = await client.put(f"/v1/prompts/{name}", json={"text": prompt})
    assert wrote.status_code == 200, wrote.text
    made = await client.put(f"/v1/agents/{name}", json={"description": f"{name}.", **given})
    assert made.status_code == 200, made.text
    answer: dict[str, Any] = made.json()
    return answer


async def replayed(client: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"/v1/runs/{run['id']}/replay")
    assert answer.is_success, answer.text
    return {name: answer.json()[name] for name in ("model_calls", "divergence")}


async def test_an_own_agent_does_a_task_of_a_workflow(client: httpx.AsyncClient) -> None:
    made = await an_agent(client, "poet", "You write poems.", capabilities=["poetry"])

    run, tasks = await run_of(client, "poem", {"kind": "agent", "input": {"agent": "poet", "instructions": "The sea"}})

    assert (made["agent"]["version"], made["agent"]["prompt"]) == (1, "poet@own.1")
    assert run["status"] == "succeeded", str(tasks)
    assert tasks[0]["output"]["text"] == "The sea is wide."
    [step] = await steps_of(client, run)
    assert (step["role"], step["prompt"]) == ("poet", "poet@own.1")


async def test_a_new_prompt_counts_from_the_next_run_and_the_old_one_can_be_pinned(client: httpx.AsyncClient) -> None:
    await an_agent(client, "bard", "You write poems.")
    task = {"kind": "agent", "input": {"agent": "bard", "instructions": "The sea"}}
    first, _ = await run_of(client, "song", task)

    written = (await client.put("/v1/prompts/bard", json={"text": "You write verse."})).json()
    second, told = await run_of(client, "song", task)
    pinned = (await client.put("/v1/prompts/bard/pin", json={"version": "own.1"})).json()
    third, _ = await run_of(client, "song", task)

    prompts = [(await steps_of(client, run))[0]["prompt"] for run in (first, second, third)]
    assert prompts == ["bard@own.1", "bard@own.2", "bard@own.1"]
    assert told[0]["output"]["text"] == "O sea!"
    assert (written["active"], pinned["active"], pinned["pinned"]) == ("own.2", "own.1", "own.1")
    assert [each["version"] for each in pinned["versions"]] == ["own.2", "own.1"]
    assert (await client.put("/v1/prompts/bard/pin", json={"version": "own.9"})).status_code == 404
    assert (await client.delete("/v1/prompts/bard/pin")).status_code == 204
    assert (await client.get("/v1/prompts/bard")).json()["active"] == "own.2"


async def test_a_built_in_agent_works_with_the_tenant_s_prompt_and_goes_back(client: httpx.AsyncClient) -> None:
    await client.put("/v1/prompts/researcher", json={"text": "You write poems."})
    run, _ = await run_of(
        client, "found", {"kind": "agent", "input": {"agent": "researcher", "instructions": "The sea"}}
    )

    pinned = (await client.put("/v1/prompts/researcher/pin", json={"version": "1"})).json()

    assert (await steps_of(client, run))[0]["prompt"] == "researcher@own.1"
    assert pinned["active"] == "1"
    read = (await client.get("/v1/agents/researcher")).json()
    assert (read["agent"]["prompt"], read["agent"]["built_in"], read["versions"]) == ("researcher@1", True, [])


async def test_a_task_is_handed_to_another_agent_and_the_run_says_so(client: httpx.AsyncClient) -> None:
    await an_agent(client, "poet", "You write poems.")
    await an_agent(client, "clerk", "You sort mail.", hand_off_to=["poet"])

    run, tasks = await run_of(client, "mail", {"kind": "agent", "input": {"agent": "clerk", "instructions": "The sea"}})

    assert tasks[0]["output"]["text"] == "The sea is wide.", str(tasks)
    steps = await steps_of(client, run)
    assert [(step["role"], step["kind"]) for step in steps] == [
        ("clerk", "model"),
        ("clerk", "tool"),
        ("poet", "decision"),
        ("poet", "model"),
    ]
    assert steps[2]["text"] == "A poem is wanted."
    assert steps[3]["prompt"].startswith("poet@own.")
    events = (await client.get(f"/v1/runs/{run['id']}/events?limit=200")).json()["items"]
    [told] = [each["data"] for each in events if each["kind"] == "agent.handed_off"]
    assert (told["from"], told["to"], told["depth"]) == ("clerk", "poet", 1)
    assert await replayed(client, run) == {"model_calls": 0, "divergence": None}


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"tool_calls": 1}, "came to no result within its 1 tool calls"),
        ({"tokens": 60}, "of its 60 tokens left"),
        ({"seconds": 0.000001}, "did not end within 1e-06 s"),
    ],
)
async def test_a_limit_that_is_reached_is_named(client: httpx.AsyncClient, limits: dict[str, Any], named: str) -> None:
    name = "loop-" + next(iter(limits)).replace("_", "-")
    await an_agent(client, name, "You never end.", tools=["list_files"], limits=limits)

    run, tasks = await run_of(
        client, name, {"kind": "agent", "input": {"agent": name, "instructions": "Go"}, "retry": {"max_attempts": 1}}
    )

    assert run["status"] == "failed"
    assert named in str(tasks[0]["error"])


async def test_two_of_three_critics_carry_an_answer(client: httpx.AsyncClient) -> None:
    task = {"kind": "agent", "input": {"instructions": "judge me good-enough", "critics": 3}}

    run, tasks = await run_of(client, "carried", task)

    assert run["status"] == "succeeded", str(tasks)
    assert tasks[0]["output"]["text"] == "good-enough"
    steps = await steps_of(client, run)
    [agreed] = [step for step in steps if step["kind"] == "decision"]
    assert agreed["text"] in {f"2 of 3 critics accepted, {votes} answered in time." for votes in (2, 3)}
    assert await replayed(client, run) == {"model_calls": 0, "divergence": None}


async def test_an_answer_that_two_of_three_critics_reject_is_corrected(client: httpx.AsyncClient) -> None:
    task = {"kind": "agent", "input": {"instructions": "judge me too-short", "critics": 3}}

    run, tasks = await run_of(client, "corrected", task)

    assert run["status"] == "succeeded", str(tasks)
    assert tasks[0]["output"]["text"] == "A longer answer."
    agreed = [step["text"] for step in await steps_of(client, run) if step["kind"] == "decision"]
    assert [int(each[0]) >= 2 for each in agreed] == [False, True]  # once it is decided nobody is waited for


async def test_definitions_are_checked_and_deleted_ones_are_gone(client: httpx.AsyncClient) -> None:
    await an_agent(client, "guest", "You write poems.")
    good = {"description": "d", "prompt": "executor"}

    refused = {
        name: (await client.put(f"/v1/agents/{name}", json=body)).status_code
        for name, body in {
            "executor": good,
            "Bad-Name": good,
            "x1": {**good, "tools": ["fly"]},
            "x2": {**good, "tools": ["hand_off"]},
            "x3": {**good, "hand_off_to": ["nobody"]},
            "x4": {"description": "no prompt of its own"},
            "x5": {**good, "prompt_version": "9"},
        }.items()
    }
    gone = await client.delete("/v1/agents/guest")

    assert refused == {"executor": 409, "Bad-Name": 422, "x1": 422, "x2": 422, "x3": 422, "x4": 422, "x5": 422}
    assert gone.status_code == 204
    assert (await client.get("/v1/agents/guest")).status_code == 404
    assert (await client.delete("/v1/agents/planner")).status_code == 409
    again = await client.put("/v1/agents/guest", json=good)
    assert [each["version"] for each in again.json()["versions"]] == [2, 1]


async def test_what_began_with_an_agent_goes_on_with_it_after_it_was_deleted(client: httpx.AsyncClient) -> None:
    await an_agent(client, "leaver", "You write poems.")
    task = {"kind": "agent", "input": {"agent": "leaver", "instructions": "The sea"}}
    tasks = {
        "before": task,
        "gate": {"kind": "wait", "depends_on": ["before"], "input": {"signal": "go"}},
        "after": {**task, "depends_on": ["gate"]},
    }
    done, _ = await run_of(client, "left", task)
    assert (await client.post("/v1/workflows", json={"name": "leaving", "tasks": tasks})).status_code == 201
    under_way = (await client.post("/v1/runs", json={"workflow": "leaving", "input": {}})).json()
    talk = (await client.post("/v1/conversations", json={"agent": "leaver"})).json()
    message = f"/v1/conversations/{talk['id']}/messages"
    assert (await client.post(message, json={"content": "Tell of the sea"})).json()["answer"] == "The sea is wide."

    async def at_the_gate() -> bool:
        shown = (await client.get(f"/v1/runs/{under_way['id']}/tasks")).json()["items"]
        return any(each["key"] == "before" and each["status"] == "succeeded" for each in shown)

    await eventually(at_the_gate, timeout_s=30)
    assert (await client.delete("/v1/agents/leaver")).status_code == 204
    sent = await client.post(f"/v1/runs/{under_way['id']}/signals/go", json={"payload": 1})
    again = await client.post(message, json={"content": "And of the sea again"})

    async def ended() -> dict[str, Any]:
        shown: dict[str, Any] = (await client.get(f"/v1/runs/{under_way['id']}")).json()
        return shown if shown["finished_at"] else {}

    assert sent.is_success, sent.text
    assert (await eventually(ended, timeout_s=30))["status"] == "succeeded"
    assert (again.status_code, again.json()["answer"]) == (200, "The sea is wide.")
    assert await replayed(client, done) == {"model_calls": 0, "divergence": None}
    refused = await client.post("/v1/conversations", json={"agent": "leaver"})
    assert refused.status_code == 404


async def test_calls_of_one_answer_are_both_made(client: httpx.AsyncClient) -> None:
    await an_agent(client, "watch", "You look twice.", tools=["list_files"])

    run, tasks = await run_of(client, "watch", {"kind": "agent", "input": {"agent": "watch", "instructions": "Look"}})

    assert tasks[0]["output"]["text"] == "Looked twice."
    assert [step["kind"] for step in await steps_of(client, run)] == ["model", "tool", "tool", "model"]
