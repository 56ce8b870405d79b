"""What `doctor` looks at."""

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox
from cognitionos.cli.client import Api
from cognitionos.cli.listening import PortTaken, free_port
from cognitionos.cli.model_server import examine_model_server, examine_running
from cognitionos.cli.note import KEY_FILE, running_stack
from cognitionos.cli.stack import LOCK_FILE
from cognitionos.composition.sealed_secrets import examine_secrets
from cognitionos.kernel.errors import DomainError
from cognitionos.platform.config import Settings
from cognitionos.platform.diagnosis import Finding, examine_database, examine_redis
from cognitionos.platform.embedded.account import Account, can_reach, server_account
from cognitionos.platform.embedded.binaries import SHARED_HOME, find_postgres, find_valkey
from cognitionos.platform.embedded.locks import DirectoryLock

_OLDEST_PYTHON = (3, 11)
_LOCAL_MODEL_SERVERS = {"Ollama": 11434, "LM Studio": 1234, "llama.cpp": 8080}


def examine(settings: Settings, data_dir: Path) -> Iterator[Finding]:
    """Everything, in the order in which the product needs it. Changes nothing."""
    given = settings.model_fields_set
    supervisor = DirectoryLock.holder(data_dir / LOCK_FILE)
    yield _python()
    if "database_url" in given:
        owner = settings.migration_database_url or settings.database_url
        found = examine_database(settings.database_url.get_secret_value(), owner.get_secret_value())
        yield from found
        if all(finding.ok for finding in found):
            yield examine_secrets(settings)
    else:
        yield _binary("embedded PostgreSQL", lambda: find_postgres().postgres, remedy_variable="DATABASE_URL")
    if "redis_url" in given:
        yield examine_redis(settings.redis_url.get_secret_value())
    else:
        yield _binary("embedded Valkey", find_valkey, remedy_variable="REDIS_URL")
    if not {"database_url", "redis_url"} <= given:
        yield _place_for_servers(data_dir)
    yield _port(settings, supervisor)
    yield _secret(settings)
    yield _sandbox(settings)
    running, key = running_stack(data_dir), data_dir / KEY_FILE
    if running and key.is_file() and os.access(key, os.R_OK):
        yield examine_running(Api(running["url"], key.read_text().strip()))
    else:
        yield _providers(settings, our_port=settings.port if supervisor else None)


def _python() -> Finding:
    ok = sys.version_info >= _OLDEST_PYTHON
    return Finding(
        name="python",
        ok=ok,
        detail=f"{platform.python_version()} at {sys.executable}",
        remedy="" if ok else "install Python 3.11 or newer, then `make setup`",
    )


def _binary(name: str, find: Callable[[], Path], *, remedy_variable: str) -> Finding:
    try:
        answer = subprocess.run([find(), "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (DomainError, OSError, subprocess.SubprocessError) as error:
        remedy = f"`make setup` installs it; or set {remedy_variable} to use a server of your own"
        return Finding(name=name, ok=False, detail=str(error), remedy=remedy)
    return Finding(name=name, ok=True, detail=answer.stdout.strip())


def _place_for_servers(data_dir: Path) -> Finding:
    existing = next(place for place in (data_dir.absolute(), *data_dir.absolute().parents) if place.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            name="data directory", ok=False, detail=f"{existing} is not writable", remedy="choose another with --data"
        )
    account: Account | None = server_account()
    if account is None:
        return Finding(name="data directory", ok=True, detail=f"{data_dir}, servers run as this user")
    where = data_dir if can_reach(account, existing) else f"{SHARED_HOME} ({account.name} cannot enter {existing})"
    return Finding(name="data directory", ok=True, detail=f"servers run as {account.name}, their data in {where}")


def _port(settings: Settings, supervisor: int | None) -> Finding:
    if supervisor is not None:
        return Finding(name="port", ok=True, detail=f"a stack runs here, process {supervisor}")
    try:
        free_port(settings.host, settings.port)
    except PortTaken as error:
        return Finding(
            name="port", ok=False, detail=error.detail, remedy="set COGNITIONOS_PORT or --port", required=False
        )
    return Finding(name="port", ok=True, detail=f"{settings.port} on {settings.host} is free")


def _secret(settings: Settings) -> Finding:
    try:
        settings.require_production_secrets()
    except ValueError as error:
        return Finding(
            name="secret key", ok=False, detail=str(error), remedy="openssl rand -base64 32 makes a good one"
        )
    return Finding(name="secret key", ok=True, detail=f"fit for {settings.mode}")


def _sandbox(settings: Settings) -> Finding:
    found = PythonSandbox(backend=settings.sandbox).describe()
    if found.kind == "none":
        remedy = "agents' Python is refused here; everything else works (docs/operations.md)"
        return Finding(name="python sandbox", ok=False, detail=found.detail, remedy=remedy, required=False)
    return Finding(name="python sandbox", ok=True, detail=f"{found.kind}: {found.detail}")


def _providers(settings: Settings, *, our_port: int | None) -> Finding:
    if settings.openai_base_url:
        return examine_model_server(settings)
    configured = [
        f"{name}: {settings.model or usual}"
        for name, value, usual in (
            ("OPENAI_API_KEY", settings.openai_api_key, "gpt-4o-mini"),
            ("ANTHROPIC_API_KEY", settings.anthropic_api_key, "claude-haiku-4-5"),
            ("COGNITIONOS_PROVIDERS_FILE", settings.providers_file, "its first model"),
        )
        if value
    ]
    local = [
        f"{name} on port {port}"
        for name, port in _LOCAL_MODEL_SERVERS.items()
        if settings.detect_local_models and port != our_port and _listens(port)
    ]
    if configured or local:
        return Finding(
            name="model providers", ok=True, detail=", ".join([*configured, *(f"maybe {name}" for name in local)])
        )
    return Finding(
        name="model providers",
        ok=False,
        detail="none configured" + ("" if settings.is_production else ": the simulated model answers, and says so"),
        remedy="set OPENAI_API_KEY, ANTHROPIC_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server",
        required=settings.is_production,
    )


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
