"""`cognitionos mcp`: an MCP server on standard input and output, for clients that start one."""

import argparse
import asyncio

from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.client import server_of


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "mcp",
        does="Serve goals, runs and memory over MCP on standard input and output, as the owner of a key.",
        examples="""
            cognitionos mcp                                           # the local stack
            COGNITIONOS_API_KEY=cog_... cognitionos mcp --url https://cognitionos.example.com
        """,
    )
    parser.add_argument("--url", help="the server; else COGNITIONOS_URL, else the local stack")
    parser.add_argument("--api-key", help="its key; better given as COGNITIONOS_API_KEY")
    add_data_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until the client leaves."""
    from cognitionos.agents.infrastructure.mcp_stdio import pass_on

    api = server_of(args)
    asyncio.run(pass_on(api.url, api.key))
    return 0
