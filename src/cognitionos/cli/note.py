"""The note that a running stack leaves in its data directory, and the files beside it."""

import json
import os
from pathlib import Path
from typing import Any

RUNNING_FILE = "running.json"
KEY_FILE = "api_key"
SECRET_FILE = "secret_key"  # noqa: S105 - a file's name


def running_stack(data_dir: Path) -> dict[str, Any] | None:
    """`url`, `pid`, and `database_url` and `redis_url` of its own servers (null: given ones); None when none runs."""
    try:
        note: dict[str, Any] = json.loads((data_dir / RUNNING_FILE).read_text())
        os.kill(note["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return note
