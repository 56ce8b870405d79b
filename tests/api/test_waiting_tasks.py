"""What runs branch on and wait for, over HTTP: conditions, maps, approvals, signals, nested workflows."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_agents import said
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.fakes.planning_engine import a_principal
from tests.waiting import eventually

from cognitionos.agents.facade import Assignment, NeedsApproval, ToolApproval
from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def started(app: PlanningApp, tasks: dict[str, Any], *, name: str = "w", of: Any = None) -> str:
    declared = await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
    assert declared.status_code == 201, declared.text
    response = await app.client.post("/v1/runs", json={"workflow": name, "input": of})
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


async def shown(app: PlanningApp, href: str) -> dict[str, Any]:
    body: dict[str, Any] = (await app.client.get(href)).json()
    return body


async def reaches(app: PlanningApp, href: str, *statuses: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        run = await shown(app, href)
        return run if run["status"] in statuses else None

    return await eventually(there) or {}


async def ended(app: PlanningApp, tasks: dict[str, Any], *, name: str = "w", of: Any = None) -> dict[str, Any]:
    href = await started(app, tasks, name=name, of=of)
    return await reaches(app, href, "succeeded", "failed", "cancelled")


async def tasks_of(app: PlanningApp, run: dict[str, Any]) -> dict[str, Any]:
    page = (await app.client.get(run["tasks_href"], params={"limit": 200})).json()
    return {task["key"]: task for task in page["items"]}


async def pending_approval(app: PlanningApp, run: dict[str, Any]) -> dict[str, Any]:
    page = (await app.client.get("/v1/approvals", params={"status": "pending", "run_id": run["id"]})).json()
    found: dict[str, Any] = page["items"][0]
    return found


BRANCHES = {
    "is_large": {
        "kind": "condition",
        "input": {"left": ref("run.input.n"), "op": ">", "right": 10, "then": ["large"], "else": ["small"]},
    },
    "large": {"kind": "value", "depends_on": ["is_large"], "input": "large"},
    "small": {"kind": "agent", "depends_on": ["is_large"], "input": {"instructions": "Say small"}},
    "after_small": {"kind": "value", "depends_on": ["small"], "input": "never mind"},
    "end": {
        "kind": "value",
        "depends_on": ["large", "after_small"],
        "input": {"text": ref("tasks.large.output"), "small": ref("tasks.after_small.output")},
    },
}


async def test_a_condition_chooses_a_branch_and_the_other_is_skipped_to_where_they_join(app: PlanningApp) -> None:
    run = await ended(app, BRANCHES, of={"n": 11})

    tasks = await tasks_of(app, run)
    assert (run["status"], run["result_text"]) == ("succeeded", "large")
    assert {key: task["status"] for key, task in tasks.items()} == {
        "is_large": "succeeded",
        "large": "succeeded",
        "small": "skipped",
        "after_small": "skipped",
        "end": "succeeded",
    }
    assert (tasks["is_large"]["output"], tasks["end"]["output"]) == (True, {"text": "large", "small": None})
    assert run["tasks"]["skipped"] == 2


async def test_the_other_branch_runs_its_agent(app: PlanningApp) -> None:
    app.script([])

    run = await ended(app, BRANCHES, of={"n": 1})

    tasks = await tasks_of(app, run)
    assert run["status"] == "succeeded", run
    assert (tasks["small"]["status"], tasks["large"]["status"]) == ("succeeded", "skipped")
    assert tasks["end"]["output"] == {"text": None, "small": "never mind"}


async def test_a_run_whose_every_last_task_was_skipped_succeeds(app: PlanningApp) -> None:
    tasks = {
        "c": {"kind": "condition", "input": {"left": False, "then": ["a"]}},
        "a": {"kind": "agent", "depends_on": ["c"], "input": {"instructions": "No"}},
    }

    run = await ended(app, tasks)

    assert (run["status"], run["result_text"], run["tasks"]["skipped"]) == ("succeeded", None, 1)


async def test_a_condition_that_cannot_compare_fails_the_run_and_says_why(app: PlanningApp) -> None:
    run = await ended(app, BRANCHES, of={"n": "many"})

    assert (run["status"], run["error"]["type"]) == ("failed", "/problems/not-comparable")
    assert "a text with a number" in run["error"]["detail"]


async def test_faults_of_the_new_kinds_are_named_when_declared(app: PlanningApp) -> None:
    tasks = {
        "c": {"kind": "condition", "input": {"op": "like", "then": ["m"], "else": ["nobody"]}},
        "m": {"kind": "map", "input": {"over": 5, "task": {"kind": "map", "x": 1}, "max_items": 10_001}},
        "v": {"kind": "value", "input": ref("item.name")},
        "a": {"kind": "approval", "input": {"default": "maybe"}},
        "w": {"kind": "wait", "input": {"signal": "no spaces", "duration_s": 1}},
        "n": {"kind": "workflow", "input": {"workflow": "x@0"}},
        "i": {"kind": "map", "input": {"over": [], "task": {"kind": "http", "input": {"method": "LOOK"}}}},
    }
    refused = await app.client.post("/v1/workflows", json={"name": "faulty", "tasks": tasks})

    assert refused.status_code == 422
    assert {error["field"] for error in refused.json()["errors"]} == {
        "tasks.c.input.op",
        "tasks.c.input.then",
        "tasks.c.input.else",
        "tasks.m.input.over",
        "tasks.m.input.max_items",
        "tasks.m.input.task.x",
        "tasks.m.input.task.kind",
        "tasks.v.input",
        "tasks.a.input.default",
        "tasks.a.input.prompt",
        "tasks.w.input",
        "tasks.w.input.signal",
        "tasks.n.input.workflow",
        "tasks.i.input.task.input.method",
        "tasks.i.input.task.input.url",
    }


async def test_a_map_gives_the_outputs_of_its_items_in_order(app: PlanningApp) -> None:
    tasks = {
        "names": {"kind": "value", "input": [{"name": "Ada"}, {"name": "Grace"}, {"name": "Edsger"}]},
        "greet": {
            "kind": "map",
            "depends_on": ["names"],
            "input": {
                "over": ref("tasks.names.output"),
                "task": {
                    "kind": "value",
                    "input": {"hello": ref("item.name"), "n": ref("index"), "by": ref("run.input")},
                },
            },
        },
        "first": {"kind": "value", "depends_on": ["greet"], "input": ref("tasks.greet.output.0.hello")},
    }

    run = await ended(app, tasks, of="us")

    found = await tasks_of(app, run)
    assert (run["status"], run["result_text"]) == ("succeeded", "Ada")
    assert found["greet"]["output"] == [
        {"hello": "Ada", "n": 0, "by": "us"},
        {"hello": "Grace", "n": 1, "by": "us"},
        {"hello": "Edsger", "n": 2, "by": "us"},
    ]
    assert found["greet[2]"]["status"] == "succeeded"


async def test_a_map_over_nothing_gives_nothing_and_one_over_too_much_is_refused(app: PlanningApp) -> None:
    tasks = {"m": {"kind": "map", "input": {"over": ref("run.input"), "max_items": 2, "task": {"kind": "value"}}}}

    empty, large = await ended(app, tasks, of=[]), await ended(app, tasks, of=[1, 2, 3])

    assert (empty["status"], (await tasks_of(app, empty))["m"]["output"]) == ("succeeded", [])
    assert (large["status"], large["error"]["type"]) == ("failed", "/problems/invalid-task-input")


async def test_data_of_an_item_that_looks_like_a_reference_stays_data(app: PlanningApp) -> None:
    tasks = {"m": {"kind": "map", "input": {"over": ref("run.input"), "task": {"kind": "value", "input": ref("item")}}}}

    run = await ended(app, tasks, of=[{"$ref": "tasks.m.output"}])

    assert (await tasks_of(app, run))["m"]["output"] == [{"$ref": "tasks.m.output"}]


async def test_an_agent_for_each_item_of_which_no_more_than_two_work_at_once(app: PlanningApp) -> None:
    working, most = 0, 0
    two_at_once = asyncio.Event()

    async def slow(assignment: Assignment) -> str:
        nonlocal working, most
        working += 1
        most = max(most, working)
        if working == 2:
            two_at_once.set()
        await two_at_once.wait()
        await asyncio.sleep(0.01)
        working -= 1
        return await said(assignment)

    app.script([], do=slow)
    task = {"kind": "agent", "input": {"instructions": ref("item")}}
    tasks = {"m": {"kind": "map", "input": {"over": ref("run.input"), "concurrency": 2, "task": task}}}

    run = await ended(app, tasks, of=[f"Do {n}" for n in range(9)])

    assert run["status"] == "succeeded", run
    assert most == 2
    assert len((await tasks_of(app, run))["m"]["output"]) == 9


async def test_a_map_that_collects_gives_the_error_of_an_item_in_its_place(app: PlanningApp) -> None:
    task = {"kind": "approval", "input": {"prompt": "?", "deadline_s": 0.01, "default": ref("item")}}
    tasks = {
        "m": {"kind": "map", "input": {"over": ref("run.input"), "on_error": "collect", "task": task}},
        "end": {"kind": "value", "depends_on": ["m"], "input": "went on"},
    }

    run = await ended(app, tasks, of=["approve", "fail"])

    found = await tasks_of(app, run)
    assert run["status"] == "succeeded", run
    assert found["m"]["output"][0]["decision"] == "approved"
    assert found["m"]["output"][1]["error"]["type"] == "/problems/approval-expired"
    assert (found["m[1]"]["status"], run["result_text"]) == ("failed", "went on")


APPROVAL = {
    "ask": {
        "kind": "approval",
        "input": {"prompt": "Pay 5 dollars?", "details": ref("run.input"), "on_reject": "continue"},
    },
    "is_ok": {
        "kind": "condition",
        "depends_on": ["ask"],
        "input": {
            "left": ref("tasks.ask.output.decision"),
            "op": "==",
            "right": "approved",
            "then": ["pay"],
            "else": ["no"],
        },
    },
    "pay": {"kind": "value", "depends_on": ["is_ok"], "input": "paid"},
    "no": {"kind": "value", "depends_on": ["is_ok"], "input": "not paid"},
    "end": {"kind": "value", "depends_on": ["pay", "no"], "input": ref("tasks.ask.output")},
}


async def test_a_run_waits_for_a_person_and_goes_on_with_the_answer(app: PlanningApp) -> None:
    href = await started(app, APPROVAL, of={"to": "Ada"})
    run = await reaches(app, href, "waiting")
    listed = (await app.client.get("/v1/runs", params={"status": "waiting"})).json()["items"]
    approval = await pending_approval(app, run)

    answer = await app.client.post(f"{approval['href']}/approve", json={"comment": "fine"})
    again = await app.client.post(f"{approval['href']}/approve", json={})
    otherwise = await app.client.post(f"{approval['href']}/reject", json={})
    run = await reaches(app, href, "succeeded", "failed")

    found = await tasks_of(app, run)
    assert run["id"] in [each["id"] for each in listed]
    assert (approval["prompt"], approval["details"], approval["task"]) == ("Pay 5 dollars?", {"to": "Ada"}, "ask")
    assert (answer.status_code, answer.json()["status"], again.status_code, otherwise.status_code) == (
        200,
        "approved",
        200,
        409,
    )
    assert otherwise.json()["type"].endswith("/problems/approval-already-decided")
    assert (found["pay"]["status"], found["no"]["status"]) == ("succeeded", "skipped")
    assert found["end"]["output"] == found["ask"]["output"]
    assert found["ask"]["output"]["comment"] == "fine"


async def test_a_no_takes_the_other_branch_or_fails_the_run_as_the_task_says(app: PlanningApp) -> None:
    href = await started(app, APPROVAL)
    strict = await started(app, {"ask": {"kind": "approval", "input": {"prompt": "Really?"}}}, name="strict")
    for each in (href, strict):
        approval = await pending_approval(app, await reaches(app, each, "waiting"))
        assert (await app.client.post(f"{approval['href']}/reject", json={"comment": "no"})).status_code == 200

    run, failed = await reaches(app, href, "succeeded"), await reaches(app, strict, "failed")

    assert (await tasks_of(app, run))["no"]["status"] == "succeeded"
    assert failed["error"]["type"] == "/problems/approval-rejected"
    assert failed["error"]["detail"].endswith(": no")


@pytest.mark.parametrize(("default", "status"), [("approve", "succeeded"), ("reject", "failed"), ("fail", "failed")])
async def test_nobody_answers_and_the_default_counts(app: PlanningApp, default: str, status: str) -> None:
    given = {"prompt": "Anybody?", "deadline_s": 0.05, "default": default}

    run = await ended(app, {"ask": {"kind": "approval", "input": given}})

    page = (await app.client.get("/v1/approvals", params={"run_id": run["id"]})).json()
    assert run["status"] == status
    assert [each["status"] for each in page["items"]] == ["expired"]
    late = await app.client.post(f"{page['items'][0]['href']}/approve", json={})
    assert late.status_code == 409


async def test_only_those_who_are_named_may_decide_and_a_link_decides_once_for_one_of_them(app: PlanningApp) -> None:
    given = {"prompt": "Ada, may we?", "approvers": ["ada@example.com"]}
    href = await started(app, {"ask": {"kind": "approval", "input": given}})
    approval = await pending_approval(app, await reaches(app, href, "waiting"))

    stranger = await app.client.post(f"{approval['href']}/approve", json={})
    for_another = await app.client.post(f"{approval['href']}/link", json={"person": "eve@example.com"})
    first = (await app.client.post(f"{approval['href']}/link", json={"person": "ada@example.com"})).json()
    link = (await app.client.post(f"{approval['href']}/link", json={"person": "ada@example.com"})).json()
    void = await app.client.get(first["href"])
    seen = await app.client.get(link["href"])
    decided = await app.client.post(link["href"], json={"decision": "approve", "comment": "yes"})
    otherwise = await app.client.post(link["href"], json={"decision": "reject"})
    run = await reaches(app, href, "succeeded", "failed")

    assert (stranger.status_code, for_another.status_code, void.status_code) == (403, 403, 404)
    assert (seen.json()["prompt"], decided.status_code, otherwise.status_code) == ("Ada, may we?", 200, 409)
    assert (await tasks_of(app, run))["ask"]["output"]["by"] == "ada@example.com"
    assert (await app.client.get(f"/v1/approval-links/{'x' * 40}")).status_code == 404


async def test_a_key_that_may_decide_makes_no_link_for_an_approver(app: PlanningApp) -> None:
    given = {"prompt": "Boss, may we?", "approvers": ["boss@example.com"]}
    href = await started(app, {"ask": {"kind": "approval", "input": given}})
    approval = await pending_approval(app, await reaches(app, href, "waiting"))
    may = frozenset({Permission.RUNS_READ, Permission.APPROVALS_DECIDE})
    clerk = a_principal(tenant_id=app.who.tenant_id, project_id=app.who.project_id, permissions=may)

    async with app.as_somebody(clerk) as client:
        refused = await client.post(f"{approval['href']}/link", json={"person": "boss@example.com"})
    await app.client.post(f"{href}/cancel")

    assert refused.status_code == 403
    assert "'keys:admin'" in refused.json()["detail"]


async def test_other_tenants_see_and_decide_nothing(app: PlanningApp) -> None:
    href = await started(app, {"ask": {"kind": "approval", "input": {"prompt": "Ours?"}}})
    run = await reaches(app, href, "waiting")
    approval = await pending_approval(app, run)

    async with app.other_tenant() as stranger:
        answers = [
            await stranger.get(approval["href"]),
            await stranger.post(f"{approval['href']}/approve", json={}),
            await stranger.post(f"{approval['href']}/link", json={"person": "eve"}),
            await stranger.post(f"{href}/signals/go", json={}),
        ]
        listed = (await stranger.get("/v1/approvals")).json()["items"]

    assert ([each.status_code for each in answers], listed) == ([404] * 4, [])
    await app.client.post(f"{href}/cancel")
    assert (await shown(app, approval["href"]))["status"] == "cancelled"


def an_agent_that_pays(payments: list[Any], *, default: str = "reject", deadline_s: float = 60) -> Any:
    """An agent whose one tool call needs a person; it says what became of it."""

    async def pay(assignment: Assignment) -> str:
        call = ToolApproval(
            step_key="executor/0/0.0",
            tool="pay",
            arguments={"usd": 5},
            reason="It moves money.",
            deadline_s=deadline_s,
            default=default,  # type: ignore[arg-type]
        )
        decision = assignment.approvals.get(call.key)
        if decision is None:
            raise NeedsApproval([call])
        if decision.approved:
            payments.append(call.arguments)
        return f"paid: {decision.approved}, by {decision.by}"

    return pay


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_an_agent_s_tool_call_waits_for_a_person_who_sees_its_exact_arguments(
    app: PlanningApp, verdict: str
) -> None:
    payments: list[Any] = []
    app.script([], do=an_agent_that_pays(payments))
    href = await started(app, {"pay": {"kind": "agent", "input": {"instructions": "Pay"}}}, name="pay")
    approval = await pending_approval(app, await reaches(app, href, "waiting"))

    await app.client.post(f"{approval['href']}/{verdict}", json={})
    run = await reaches(app, href, "succeeded", "failed")

    assert approval["details"] == {"tool": "pay", "arguments": {"usd": 5}, "step": "executor/0/0.0"}
    assert approval["prompt"] == "May pay be used? It moves money."
    assert payments == ([{"usd": 5}] if verdict == "approve" else [])
    assert run["result_text"].startswith(f"paid: {verdict == 'approve'}")


@pytest.mark.parametrize(("default", "status", "paid"), [("approve", "succeeded", 1), ("fail", "failed", 0)])
async def test_nobody_decides_about_an_agent_s_call_and_its_default_counts(
    app: PlanningApp, default: str, status: str, paid: int
) -> None:
    payments: list[Any] = []
    app.script([], do=an_agent_that_pays(payments, default=default, deadline_s=0.05))

    run = await ended(app, {"pay": {"kind": "agent", "input": {"instructions": "Pay"}}}, name="pay")

    assert (run["status"], len(payments)) == (status, paid)


async def test_a_retry_of_a_rejected_run_asks_anew(app: PlanningApp) -> None:
    href = await started(app, {"ask": {"kind": "approval", "input": {"prompt": "Again?"}}}, name="again")
    first = await pending_approval(app, await reaches(app, href, "waiting"))
    await app.client.post(f"{first['href']}/reject", json={})
    await reaches(app, href, "failed")

    await app.client.post(f"{href}/retry")
    second = await pending_approval(app, await reaches(app, href, "waiting"))
    await app.client.post(f"{second['href']}/approve", json={})
    run = await reaches(app, href, "succeeded", "failed")

    assert run["status"] == "succeeded"
    assert second["id"] != first["id"]


async def test_a_paused_run_takes_the_answer_and_goes_on_when_it_is_resumed(app: PlanningApp) -> None:
    href = await started(app, {"ask": {"kind": "approval", "input": {"prompt": "Now?"}}}, name="paused")
    approval = await pending_approval(app, await reaches(app, href, "waiting"))

    await app.client.post(f"{href}/pause")
    await app.client.post(f"{approval['href']}/approve", json={})
    paused = await shown(app, href)
    await app.client.post(f"{href}/resume")
    run = await reaches(app, href, "succeeded", "failed")

    assert (paused["status"], run["status"]) == ("paused", "succeeded")


async def test_a_task_calls_a_tool_or_code_without_a_model(app: PlanningApp) -> None:
    tasks = {
        "look": {"kind": "tool", "input": {"tool": "read_file", "arguments": {"name": ref("run.input")}}},
        "count": {
            "kind": "python",
            "depends_on": ["look"],
            "input": {"code": "print(len(data))", "input": ref("tasks.look.output.tool")},
        },
    }

    run = await ended(app, tasks, name="tools", of="a.txt")

    found = await tasks_of(app, run)
    assert run["status"] == "succeeded", run
    assert found["look"]["output"] == {"tool": "read_file", "arguments": {"name": "a.txt"}}
    assert found["count"]["output"]["arguments"] == {"code": "print(len(data))", "input": "read_file"}


WAIT = {
    "go": {"kind": "wait", "input": {"signal": "go"}},
    "end": {"kind": "value", "depends_on": ["go"], "input": ref("tasks.go.output")},
}


async def test_a_signal_wakes_the_task_that_waits_for_it_and_is_its_output(app: PlanningApp) -> None:
    href = await started(app, WAIT)
    await reaches(app, href, "waiting")

    other = await app.client.post(f"{href}/signals/stop", json={})
    sent = await app.client.post(f"{href}/signals/go", json={"payload": {"text": "now", "$ref": "tasks.end.output"}})
    run = await reaches(app, href, "succeeded", "failed")
    late = await app.client.post(f"{href}/signals/go", json={})

    assert (other.json()["delivered"], sent.json()["delivered"], sent.json()["task"]) == (False, True, "go")
    assert (run["result_text"], late.status_code) == ("now", 409)


async def test_a_signal_that_comes_early_is_kept_and_each_wakes_one_task(app: PlanningApp) -> None:
    tasks = {
        "gate": {"kind": "wait", "input": {"signal": "open"}},
        "one": {"kind": "wait", "depends_on": ["gate"], "input": {"signal": "go"}},
        "two": {"kind": "wait", "depends_on": ["one"], "input": {"signal": "go"}},
    }
    href = await started(app, tasks)
    for payload in (1, 2):
        early = await app.client.post(f"{href}/signals/go", json={"payload": payload})
        assert (early.status_code, early.json()["delivered"]) == (202, False)

    await app.client.post(f"{href}/signals/open", json={})
    run = await reaches(app, href, "succeeded", "failed")

    found = await tasks_of(app, run)
    assert [found[key]["output"] for key in ("gate", "one", "two")] == [None, 1, 2]


async def test_a_signal_that_does_not_come_gives_the_default_or_fails(app: PlanningApp) -> None:
    with_default = {"w": {"kind": "wait", "input": {"signal": "go", "timeout_s": 0.05, "default": {"text": "never"}}}}
    without = {"w": {"kind": "wait", "input": {"signal": "go", "timeout_s": 0.05}}}

    calm, failed = await ended(app, with_default), await ended(app, without)

    assert (calm["status"], calm["result_text"]) == ("succeeded", "never")
    assert (failed["status"], failed["error"]["type"]) == ("failed", "/problems/signal-timed-out")


async def test_a_workflow_runs_within_another_and_its_output_is_the_task_s(app: PlanningApp) -> None:
    inner = {"double": {"kind": "value", "input": {"text": ref("run.input.word")}}}
    await app.client.post("/v1/workflows", json={"name": "inner", "tasks": inner})
    outer = {
        "nested": {"kind": "workflow", "input": {"workflow": "inner@1", "input": {"word": ref("run.input")}}},
        "end": {"kind": "value", "depends_on": ["nested"], "input": ref("tasks.nested.output.text")},
    }

    run = await ended(app, outer, name="outer", of="deep")

    found = await tasks_of(app, run)
    child = await shown(app, f"/v1/runs/{found['nested']['details']['run_id']}")
    assert (run["status"], run["result_text"]) == ("succeeded", "deep"), run
    assert (child["status"], child["parent_run_id"], child["workflow"]["name"]) == ("succeeded", run["id"], "inner")


async def test_a_nested_failure_is_the_task_s_and_a_workflow_within_itself_comes_to_an_end(app: PlanningApp) -> None:
    await app.client.post(
        "/v1/workflows",
        json={"name": "bad", "tasks": {"c": {"kind": "condition", "input": {"left": 1, "op": "<", "right": "2"}}}},
    )

    failed = await ended(app, {"n": {"kind": "workflow", "input": {"workflow": "bad"}}}, name="calls-bad")
    by_input = {"n": {"kind": "workflow", "input": {"workflow": ref("run.input"), "input": ref("run.input")}}}
    unknown = await ended(app, by_input, name="calls-its-input", of="nobody")
    endless = await ended(app, by_input, name="calls-its-input", of="calls-its-input")

    assert failed["error"]["type"] == "/problems/not-comparable"
    assert unknown["error"]["type"] == "/problems/workflow-not-found"
    assert (endless["status"], endless["error"]["type"]) == ("failed", "/problems/nested-too-deeply")
    assert "'calls-its-input' was not started" in endless["error"]["detail"]


async def test_cancelling_a_run_cancels_what_it_started(app: PlanningApp) -> None:
    await app.client.post("/v1/workflows", json={"name": "waits", "tasks": WAIT})
    tasks = {"n": {"kind": "workflow", "input": {"workflow": "waits"}}}
    await app.client.post("/v1/workflows", json={"name": "middle", "tasks": tasks})
    href = await started(app, {"m": {"kind": "workflow", "input": {"workflow": "middle"}}}, name="top")

    async def deepest() -> dict[str, Any] | None:
        waiting = (await app.client.get("/v1/runs", params={"status": "waiting"})).json()["items"]
        found = [run for each in waiting if (run := await shown(app, each["href"]))["workflow"]["name"] == "waits"]
        return found[0] if found else None

    child = await eventually(deepest) or {}
    await app.client.post(f"{href}/cancel")

    middle = await shown(app, f"/v1/runs/{child['parent_run_id']}")
    assert ((await shown(app, child["href"]))["status"], middle["status"]) == ("cancelled", "cancelled")


async def test_cancelling_a_run_stops_the_agent_of_a_nested_one_within_a_second(app: PlanningApp) -> None:
    working, stopped = asyncio.Event(), asyncio.Event()

    async def for_ever(_: Assignment) -> str:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    app.script([], do=for_ever)
    inner = {"a": {"kind": "agent", "input": {"instructions": "Think"}}}
    await app.client.post("/v1/workflows", json={"name": "thinks", "tasks": inner})
    href = await started(app, {"n": {"kind": "workflow", "input": {"workflow": "thinks"}}}, name="above")
    await working.wait()
    seen = await shown(app, href)

    await app.client.post(f"{href}/cancel")
    async with asyncio.timeout(1):
        await stopped.wait()

    assert seen["status"] == "running"
