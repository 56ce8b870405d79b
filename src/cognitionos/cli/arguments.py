"""What the commands share when they declare their arguments."""

import argparse
import json
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse names it no other way
else:
    Commands = object


def add_command(commands: "Commands", name: str, *, does: str, examples: str) -> argparse.ArgumentParser:
    """A sub-command whose `--help` ends with examples."""
    return commands.add_parser(
        name,
        help=does,
        description=does,
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`, the same for every command that works on a local stack."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=default_data_dir(),
        help="directory of the local stack's data, key and logs (default: COGNITIONOS_DATA_DIR, else .data)",
    )


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Which server is asked, and how its answer is printed."""
    add_data_argument(parser)
    parser.add_argument("--url", help="a server elsewhere (or COGNITIONOS_URL)")
    parser.add_argument("--api-key", help="its key (or COGNITIONOS_API_KEY)")
    parser.add_argument("--json", action="store_true", help="machine-readable output: one JSON document")


def say(args: argparse.Namespace, document: Any, text: str) -> int:
    """Print `text`, or with `--json` the document; gives the status 0."""
    print(json.dumps(document, indent=2) if args.json else text)
    return 0


def default_data_dir() -> Path:
    """The directory that a command works on when nobody names one."""
    return Path(os.environ.get("COGNITIONOS_DATA_DIR") or ".data")


def default_port() -> str:
    """Where the API listens when nothing else is said (`COGNITIONOS_PORT`, 8080)."""
    return os.environ.get("COGNITIONOS_PORT", "8080")
