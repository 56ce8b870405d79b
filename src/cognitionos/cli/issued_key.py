"""A key that was made reaches whoever asked for it: printed once, or in a file that its owner alone can read."""

import argparse
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict


class KeyFileExists(Conflict):
    """The file for the key holds something already."""


def add_key_file_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--key-file`."""
    parser.add_argument("--key-file", type=Path, metavar="PATH", help="write the key here (mode 0600), print nothing")


def check_key_file(args: argparse.Namespace) -> None:
    """Raise `KeyFileExists`: what the file holds may be a key."""
    path: Path | None = args.key_file
    if path is not None and path.exists() and path.stat().st_size > 0:
        raise KeyFileExists(f"{path} exists; name another file, or remove it to get a new key.")


def hand_out(args: argparse.Namespace, key: str, **ids: UUID) -> None:
    """Write or print the key and the ids that it goes with, as `--key-file` and `--json` say."""
    named: dict[str, Any] = {name: str(value) for name, value in ids.items()}
    if args.key_file is not None:
        _write_private(args.key_file, key)
        named["key_file"] = str(args.key_file)
    else:
        named["key"] = key
    if args.json:
        print(json.dumps(named))
    elif args.key_file is None:
        print(key)


def _write_private(path: Path, key: str) -> None:
    """Write the whole key or nothing, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
