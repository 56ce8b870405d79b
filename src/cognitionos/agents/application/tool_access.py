"""Before a tool is run: may this agent use it, do the arguments fit, does the call wait for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.hand_off import hand_off_tool
from cognitionos.agents.application.ports import Kit, MustWait, Tool
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.tool import MAX_ARGUMENT_CHARACTERS, Access, Effect
from cognitionos.agents.domain.tool_rule import ToolRule, rule_for
from cognitionos.kernel.json_schema import faults_of, in_words, with_defaults
from cognitionos.llm_gateway.facade import ToolCall

ADDED_FOR = ("executor",)
"""Whose the tools of a tenant's servers and databases are, where its rule names no roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCall:
    """A call that may be made; `rule` is there where a person has to approve it first.

    `must_wait` says whether other arguments, that the call leads to, would have to be approved by themselves.
    """

    tool: Tool
    arguments: Mapping[str, Any]
    effect: Effect
    must_wait: MustWait
    rule: ToolRule | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that is not made, and why, in words for the model. `tool` is empty where there is none of its name."""

    reason: str
    tool: str = ""


def permitted_tools(tools: Mapping[str, Tool], kit: Kit, definition: AgentDefinition) -> dict[str, Tool]:
    """The tools that `definition` may use under the tenant's rules, by the name models know them by."""
    own = [tools[name] for name in definition.tools if name in tools]
    found = [each for each in own if _admits(kit, each, definition.role)]
    found += [each for each in kit.tools.values() if _admits_added(kit, each, definition)]
    if definition.hand_off_to:
        found.append(hand_off_tool(definition.hand_off_to))
    return {each.spec.wire_name: each for each in found}


def is_offered(tool: Tool, kit: Kit) -> bool:
    """Whether some agent of the tenant may use it."""
    if tool.spec.name not in kit.tools:
        rule = rule_for(kit.rules, tool.spec.rule_name)
        return rule.allowed if rule is not None else not kit.is_strict or tool.spec.access is not Access.CLOSED
    rule = rule_for(kit.rules, tool.spec.rule_name)
    return rule is not None and rule.allowed


def check(
    call: ToolCall, permitted: Mapping[str, Tool], kit: Kit, *, given: Mapping[str, Any] | None = None
) -> CheckedCall | Refusal:
    """The call, ready to be made, or why it is not. What it leaves out counts as its default to the rule.

    `given` are the arguments of a call that a task is: as large as what a task takes in.
    """
    chosen = permitted.get(call.name) or _of_full_name(call.name, permitted)
    if chosen is None:
        return Refusal(f"There is no tool {call.name[:100]!r}. There are: {', '.join(permitted) or 'none'}.")
    reason = chosen.why_not()
    if reason is not None:
        return Refusal(f"{call.name} cannot be used here: {reason}", chosen.spec.name)
    try:
        if given is None:
            return _checked(chosen, _arguments(call), chosen.spec.parameters, kit)
        return _checked(chosen, given, _of_tasks(chosen), kit)
    except ValueError as error:
        return Refusal(str(error), chosen.spec.name)


def _of_tasks(chosen: Tool) -> Mapping[str, Any]:
    schema = chosen.spec.parameters
    if not chosen.task_properties:
        return schema
    return {**schema, "properties": {**schema["properties"], **chosen.task_properties}}


def _checked(chosen: Tool, given: Mapping[str, Any], parameters: Mapping[str, Any], kit: Kit) -> CheckedCall:
    """Raises `ValueError` for arguments that do not fit."""
    faults = faults_of(given, parameters)
    if faults:
        raise ValueError(f"The arguments do not fit: {in_words(faults)}.")
    spec, arguments, effect = chosen.spec, given, chosen.effect(given)
    rule = rule_for(kit.rules, spec.rule_name)

    def must_wait(given: Mapping[str, Any]) -> bool:
        return rule is not None and rule.needs_approval(with_defaults(given, spec.parameters), chosen.spellings)

    waits = must_wait(arguments)
    led = _leads_anywhere if waits else must_wait
    return CheckedCall(tool=chosen, arguments=arguments, effect=effect, must_wait=led, rule=rule if waits else None)


def _leads_anywhere(_given: Mapping[str, Any]) -> bool:
    """Of a call that a person approved, with what it leads to."""
    return False


def _of_full_name(name: str, permitted: Mapping[str, Tool]) -> Tool | None:
    """What rules and people call `tickets.create`, and models know as `tickets__create`."""
    return next((tool for tool in permitted.values() if tool.spec.name == name), None)


def _admits(kit: Kit, tool: Tool, role: str) -> bool:
    rule = rule_for(kit.rules, tool.spec.rule_name)
    if rule is None:
        return not kit.is_strict or tool.spec.access is not Access.CLOSED
    return rule.admits(role)


def _admits_added(kit: Kit, tool: Tool, definition: AgentDefinition) -> bool:
    """A rule without roles means the executor, and the tenant's own agents that list the tool."""
    rule = rule_for(kit.rules, tool.spec.rule_name)
    if rule is None or not rule.allowed:
        return False
    return definition.role in (rule.roles or ADDED_FOR) or (not rule.roles and tool.spec.name in definition.tools)


def _arguments(call: ToolCall) -> dict[str, Any]:
    if len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
        raise ValueError(f"The arguments have more than {MAX_ARGUMENT_CHARACTERS} characters.")
    try:
        return call.parsed()
    except ValueError as error:
        raise ValueError(f"The arguments are not a JSON object: {error}.") from error
