"""A tenant's tools over HTTP: what its agents may use, and by which rules."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.application.known_names import KnownNames, NoSuchToolName
from cognitionos.agents.application.tool_access import is_offered
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.approval import Default
from cognitionos.agents.domain.tool_rule import DEADLINE_S, Approval, Comparison, rule_for
from cognitionos.agents.infrastructure.http_tool_databases import DatabaseRoutes
from cognitionos.agents.infrastructure.http_tool_servers import ServerRoutes
from cognitionos.agents.infrastructure.tool_admin import ToolAdmin
from cognitionos.agents.infrastructure.tool_store import ReadCondition, ReadRule, RuleRow, ToolStore
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\Z")]
Role = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*\Z")]
_TOOL: msgspec.json.Decoder[str] = msgspec.json.Decoder(
    Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}(\.\*)?\Z")]
)


class ConditionsMissing(Invalid):
    """`approval` is `when`, and no condition says when; or conditions are given and it is not."""


class ConditionGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A test of an argument at a path (`items.0.price`)."""

    path: Text
    op: Comparison
    value: Any = None


class SetRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who may use a tool (no roles: whoever has it), and which calls wait for a person."""

    allowed: bool
    roles: Annotated[list[Role], msgspec.Meta(max_length=20)] = []
    approval: Approval = Approval.NEVER
    conditions: Annotated[list[ConditionGiven], msgspec.Meta(max_length=20)] = []
    deadline_s: Annotated[float, msgspec.Meta(ge=1, le=30 * 86_400)] = DEADLINE_S
    default: Default = "reject"


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule."""

    tool: str
    allowed: bool
    roles: list[str]
    approval: str
    conditions: list[dict[str, Any]]
    deadline_s: float
    default: str
    changed_at: datetime


class RuleList(msgspec.Struct, frozen=True):
    """The tenant's rules."""

    rules: list[RuleView]


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool. `usable`: the tenant's agents may use it now; `approval` says which calls wait."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: str
    access: str
    usable: bool
    approval: str
    unavailable: str | None


class OfferedTools(msgspec.Struct, frozen=True):
    """Every tool there is for this tenant."""

    tools: list[OfferedTool]


class ToolRoutes(Controller):
    """What agents may use."""

    path = "/v1/tools"
    tags = ("tools",)

    @get("", guards=[requires(Permission.AGENTS_READ)], summary="List the tools")
    async def list_tools(self, toolbox: NamedDependency[Toolbox], who: Who) -> OfferedTools:
        """Built-in ones and those of the tenant's servers and databases."""
        kit = await toolbox.kit_of(who.tenant_id)
        found = [*toolbox.tools.values(), *kit.tools.values()]
        views = []
        for each in found:
            rule = rule_for(kit.rules, each.spec.rule_name)
            views.append(
                OfferedTool(
                    name=each.spec.name,
                    description=each.spec.description,
                    parameters=dict(each.spec.parameters),
                    effect=each.spec.effect.value,
                    access=each.spec.access.value,
                    usable=is_offered(each, kit) and each.why_not() is None,
                    approval=Approval.NEVER.value if rule is None else rule.approval.value,
                    unavailable=each.why_not(),
                )
            )
        return OfferedTools(views)

    @get("/rules", guards=[requires(Permission.TOOLS_ADMIN)], summary="List tool rules")
    async def list_rules(self, tool_store: NamedDependency[ToolStore], who: Who) -> RuleList:
        """By tool."""
        return RuleList([_rule(each) for each in await tool_store.rules(who.tenant_id)])

    @put("/rules/{tool:str}", guards=[requires(Permission.TOOLS_ADMIN)], summary="Set a rule", responses=problems(422))
    async def set_rule(
        self,
        tool: FromPath[str],
        data: JSONBody[SetRule],
        tool_store: NamedDependency[ToolStore],
        tool_names: NamedDependency[KnownNames],
        who: Who,
    ) -> RuleView:
        """`tool` is a name, as people or as models know it, or `server.*`. It goes for the next call, of runs under way
        too.
        """
        if (data.approval is Approval.WHEN) is not bool(data.conditions):
            raise ConditionsMissing(
                "Give 'conditions' with approval 'when', and only then.", fields={"conditions": "with 'when' only"}
            )
        rule = ReadRule(
            tool=await tool_names.rule_name(who.tenant_id, _tool_name(tool)),
            allowed=data.allowed,
            roles=tuple(data.roles),
            approval=data.approval,
            conditions=tuple(ReadCondition(path=each.path, op=each.op, value=each.value) for each in data.conditions),
            deadline_s=data.deadline_s,
            default_decision=data.default,
        )
        return _rule(await tool_store.put_rule(who.tenant_id, rule))

    @delete(
        "/rules/{tool:str}", guards=[requires(Permission.TOOLS_ADMIN)], summary="Delete a rule", responses=problems(404)
    )
    async def delete_rule(
        self,
        tool: FromPath[str],
        tool_store: NamedDependency[ToolStore],
        tool_admin: NamedDependency[ToolAdmin],
        tool_names: NamedDependency[KnownNames],
        who: Who,
    ) -> None:
        """The tool is as open as it is by itself."""
        if tool not in {each.tool for each in await tool_store.rules(who.tenant_id)}:
            with suppress(NoSuchToolName):
                tool = await tool_names.rule_name(who.tenant_id, _tool_name(tool))
        await tool_admin.delete(who.tenant_id, "tool_rules", tool)


def routes(*, toolbox: Toolbox, store: ToolStore, admin: ToolAdmin, names: KnownNames) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[ToolRoutes, ServerRoutes, DatabaseRoutes],
        dependencies={
            "toolbox": instance(toolbox),
            "tool_store": instance(store),
            "tool_admin": instance(admin),
            "tool_names": instance(names),
        },
    )


def _tool_name(tool: str) -> str:
    try:
        return _TOOL.decode(msgspec.json.encode(tool))
    except msgspec.ValidationError:
        raise NoSuchToolName("Name a tool, 'server.tool' or 'server.*'.", fields={"tool": "no such name"}) from None


def _rule(row: RuleRow) -> RuleView:
    return RuleView(
        tool=row.tool,
        allowed=row.allowed,
        roles=row.roles,
        approval=row.approval,
        conditions=row.conditions,
        deadline_s=row.deadline_s,
        default=row.default_decision,
        changed_at=row.changed_at,
    )
