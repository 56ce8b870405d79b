"""Who may use a tool, and which calls wait for a person."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from tests.fakes.agents_bench import Bench, Recorder, a_tool, an_assignment
from tests.fakes.agents_gateway import calls, says

from cognitionos.agents.application.ports import Kit, Tool
from cognitionos.agents.domain.approval import ToolDecision
from cognitionos.agents.domain.tool import Effect, ToolSpec
from cognitionos.agents.domain.tool_rule import Approval, Comparison, Condition, ToolRule, rule_for
from cognitionos.agents.facade import NeedsApproval

ORDERS = "shop.order"


def a_bench(*lines: Any, recorder: Recorder, rules: Mapping[str, ToolRule], **changes: Any) -> Bench:
    """A bench whose tenant added the tool `shop.order` and has these rules."""

    async def kit_of(_tenant_id: UUID) -> Kit:
        return Kit(tools={ORDERS: a_tool(recorder.run, name=ORDERS, effect=Effect.UNSAFE)}, rules=rules)

    return Bench.of(*lines, recorder=recorder, kit_of=kit_of, **changes)


def a_rule(**changes: Any) -> dict[str, ToolRule]:
    return {ORDERS: ToolRule(tool=ORDERS, **changes)}


def order(n: int) -> Any:
    return calls(("shop__order", {"n": n}))


def last_result(bench: Bench) -> str:
    text: str = bench.gateway.requests[-1].messages[-1]["content"]
    return text


async def test_a_tool_that_the_tenant_added_is_closed_until_a_rule_opens_it() -> None:
    recorder = Recorder()

    bench = a_bench(order(1), says("no"), recorder=recorder, rules={})
    await bench.agents.perform(an_assignment())

    assert recorder.calls == []
    assert "shop__order" not in bench.gateway.requests[0].offered_tools
    assert "There is no tool" in last_result(bench)


@pytest.mark.parametrize("name", ["shop__order", "shop.order"])
async def test_a_model_may_call_a_tool_by_the_name_that_rules_have_for_it(name: str) -> None:
    opened, closed = Recorder(), Recorder()
    line = calls((name, {"n": 1}))

    await a_bench(line, says("ok"), recorder=opened, rules=a_rule()).agents.perform(an_assignment())
    await a_bench(line, says("no"), recorder=closed, rules={}).agents.perform(an_assignment())

    assert (len(opened.calls), closed.calls) == (1, [])


async def test_a_rule_opens_a_tool_to_the_roles_it_names() -> None:
    recorder = Recorder()

    opened = a_bench(order(1), says("ok"), recorder=recorder, rules=a_rule(roles=("executor",)))
    await opened.agents.perform(an_assignment())
    closed = a_bench(order(1), says("no"), recorder=recorder, rules=a_rule(roles=("researcher",)))
    await closed.agents.perform(an_assignment())

    assert [arguments for _, arguments in recorder.calls] == [{"n": 1}]


async def test_a_rule_may_take_a_built_in_tool_away() -> None:
    recorder = Recorder()

    rules = {"double": ToolRule(tool="double", allowed=False)}
    bench = a_bench(calls(("double", {"n": 1})), says("no"), recorder=recorder, rules=rules)
    await bench.agents.perform(an_assignment())

    assert recorder.calls == []


async def test_a_risky_call_waits_for_a_person_and_is_made_once_when_approved() -> None:
    recorder, task = Recorder(), an_assignment()
    first = a_bench(order(7), recorder=recorder, rules=a_rule(approval=Approval.ALWAYS))
    with pytest.raises(NeedsApproval) as waiting:
        await first.agents.perform(task)
    (wanted,) = waiting.value.requests
    assert (wanted.tool, wanted.arguments, recorder.calls) == (ORDERS, {"n": 7}, [])

    approved = an_assignment_like(task, approvals={wanted.key: ToolDecision(approved=True, by="ann")})
    second = a_bench(
        says("done"),
        recorder=recorder,
        rules=a_rule(approval=Approval.ALWAYS),
        journal=first.journal,
        files=first.files,
    )
    await second.agents.perform(approved)

    assert [arguments for _, arguments in recorder.calls] == [{"n": 7}]


async def test_a_rejection_is_the_tool_s_result() -> None:
    recorder, task = Recorder(), an_assignment()
    first = a_bench(order(7), recorder=recorder, rules=a_rule(approval=Approval.ALWAYS))
    with pytest.raises(NeedsApproval) as waiting:
        await first.agents.perform(task)

    decision = ToolDecision(approved=False, by="ann", comment="too dear")
    rejected = an_assignment_like(task, approvals={waiting.value.requests[0].key: decision})
    second = a_bench(
        says("then not"),
        recorder=recorder,
        rules=a_rule(approval=Approval.ALWAYS),
        journal=first.journal,
        files=first.files,
    )
    await second.agents.perform(rejected)

    assert recorder.calls == []
    assert "rejected by ann" in last_result(second)
    assert "too dear" in last_result(second)


async def test_an_approval_of_other_arguments_opens_nothing() -> None:
    recorder, task = Recorder(), an_assignment()
    first = a_bench(order(7), recorder=recorder, rules=a_rule(approval=Approval.ALWAYS))
    with pytest.raises(NeedsApproval) as waiting:
        await first.agents.perform(task)

    approvals = {waiting.value.requests[0].key: ToolDecision(approved=True, by="ann")}
    other = a_bench(order(8), recorder=recorder, rules=a_rule(approval=Approval.ALWAYS))
    with pytest.raises(NeedsApproval):
        await other.agents.perform(an_assignment_like(task, approvals=approvals))

    assert recorder.calls == []


async def test_calls_beside_a_waiting_one_are_made_and_not_repeated() -> None:
    recorder, task = Recorder(), an_assignment()
    both = calls(("shop__order", {"n": 7}), ("double", {"n": 2}))
    first = a_bench(both, recorder=recorder, rules=a_rule(approval=Approval.ALWAYS))
    with pytest.raises(NeedsApproval) as waiting:
        await first.agents.perform(task)
    assert [arguments for _, arguments in recorder.calls] == [{"n": 2}]

    approvals = {waiting.value.requests[0].key: ToolDecision(approved=True)}
    second = a_bench(
        says("done"),
        recorder=recorder,
        rules=a_rule(approval=Approval.ALWAYS),
        journal=first.journal,
        files=first.files,
    )
    await second.agents.perform(an_assignment_like(task, approvals=approvals))

    assert [arguments for _, arguments in recorder.calls] == [{"n": 2}, {"n": 7}]


@pytest.mark.parametrize(
    ("condition", "arguments", "waits"),
    [
        (Condition(path="amount", op=Comparison.MORE, value=100), {"amount": 101}, True),
        (Condition(path="amount", op=Comparison.MORE, value=100), {"amount": 100}, False),
        (Condition(path="amount", op=Comparison.MORE, value=100), {"amount": "101"}, True),
        (Condition(path="amount", op=Comparison.MORE, value=100), {}, False),
        (Condition(path="to.0.name", op=Comparison.EQUALS, value="ann"), {"to": [{"name": "ann"}]}, True),
        (Condition(path="method", op=Comparison.IN, value=["PUT", "DELETE"]), {"method": "GET"}, False),
        (Condition(path="url", op=Comparison.STARTS_WITH, value="https://pay."), {"url": "https://pay.x"}, True),
        (Condition(path="text", op=Comparison.CONTAINS, value="!"), {"text": "hey!"}, True),
        (Condition(path="cc", op=Comparison.EXISTS), {"cc": None}, True),
        (Condition(path="cc", op=Comparison.EXISTS, value=False), {}, True),
        (Condition(path="method", op=Comparison.DIFFERS, value="GET"), {}, True),
    ],
)
def test_conditions_say_which_calls_wait(condition: Condition, arguments: dict[str, Any], *, waits: bool) -> None:
    rule = ToolRule(tool="t", approval=Approval.WHEN, conditions=(condition,))

    assert rule.needs_approval(arguments) is waits


async def test_what_a_call_leaves_out_counts_as_its_default() -> None:
    recorder = Recorder()
    parameters = {"type": "object", "properties": {"n": {"type": "integer", "default": 500}}}
    spec = ToolSpec(name=ORDERS, description="Orders.", parameters=parameters, effect=Effect.UNSAFE)
    large = Condition(path="n", op=Comparison.MORE, value=100)

    async def kit_of(_tenant_id: UUID) -> Kit:
        return Kit(
            tools={ORDERS: Tool(spec=spec, run=recorder.run)},
            rules=a_rule(approval=Approval.WHEN, conditions=(large,)),
        )

    bench = Bench.of(calls(("shop__order", {})), recorder=recorder, kit_of=kit_of)
    with pytest.raises(NeedsApproval) as waiting:
        await bench.agents.perform(an_assignment())

    assert (waiting.value.requests[0].arguments, recorder.calls) == ({}, [])


def test_a_tool_s_own_rule_goes_before_its_family_s() -> None:
    family, own = ToolRule(tool="shop.*"), ToolRule(tool=ORDERS, allowed=False)

    assert rule_for({"shop.*": family, ORDERS: own}, ORDERS) is own
    assert rule_for({"shop.*": family}, ORDERS) is family
    assert rule_for({"shop.*": family}, "shop") is None


def test_models_are_told_names_that_they_accept() -> None:
    def wire_name(name: str) -> str:
        return ToolSpec(name=name, description="", parameters={}).wire_name

    assert wire_name("shop.order") == "shop__order"
    assert len(wire_name("shop." + "x" * 100)) == 64
    assert wire_name("shop." + "x" * 100) != wire_name("shop." + "x" * 101)


def an_assignment_like(task: Any, **changes: Any) -> Any:
    given = {name: getattr(task, name) for name in ("tenant_id", "project_id", "goal_id", "run_id", "task_id")}
    return an_assignment(**{**given, "fence": 2, **changes})
