"""A tenant's kit: the tools of its servers and databases, and its rules, as they are now."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.application.ports import Kit
from cognitionos.agents.infrastructure.mcp_servers import McpServers, mcp_tools
from cognitionos.agents.infrastructure.sql_tool import SqlDatabases
from cognitionos.agents.infrastructure.tool_store import ToolStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Kits:
    """Reads kits: one statement each, so that a rule taken back is gone at the next call."""

    store: ToolStore
    servers: McpServers
    databases: SqlDatabases

    async def of(self, tenant_id: UUID) -> Kit:
        """The tenant's."""
        read = await self.store.read(tenant_id)
        tools = [tool for each in read.servers for tool in mcp_tools(self.servers, each)]
        tools += [tool for each in read.databases for tool in self.databases.tools(each)]
        return Kit(
            tools={each.spec.name: each for each in tools}, rules={each.tool: each.rule() for each in read.rules}
        )
