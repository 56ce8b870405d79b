"""`cognitionos doctor`: every missing or broken piece, and how to get it."""

import argparse
import json
from dataclasses import asdict

from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.settings import read_settings


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        does="Name every missing or broken piece and how to get it; status 1 when something required is missing.",
        examples="""
            cognitionos doctor
            cognitionos doctor --json
            DATABASE_URL=postgresql://... REDIS_URL=redis://... cognitionos doctor
        """,
    )
    add_data_argument(parser)
    parser.add_argument("--json", action="store_true", help='print {"ok", "findings": [{"name", "ok", "detail", ...}]}')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything; gives 1 when something required is missing."""
    from cognitionos.cli.examination import examine

    findings = list(examine(read_settings(), args.data))
    is_well = all(finding.ok or not finding.required for finding in findings)
    if args.json:
        print(json.dumps({"ok": is_well, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 0 if is_well else 1
    for finding in findings:
        mark = "ok     " if finding.ok else "MISSING" if finding.required else "note   "
        print(f"{mark} {finding.name}: {finding.detail}")
        if finding.remedy:
            print(f"        -> {finding.remedy}")
    print("everything required is there" if is_well else "something required is missing")
    return 0 if is_well else 1
