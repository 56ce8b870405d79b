"""A throw-away stack: servers, schema, key and API of our own, in a directory that is removed when all went well."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cognitionos.cli.crash_test.processes import START_WITHIN_S, Processes, clean_environment
from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.cli.note import KEY_FILE
from cognitionos.cli.program import ProgramFailed
from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.embedded.placement import make_data_directory

_HOST = "127.0.0.1"
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStack:
    """Its API runs; workers are started from `processes`."""

    url: str
    api_key: str
    processes: Processes


@asynccontextmanager
async def own_stack(*, settings: Mapping[str, str], say: Callable[[str], None]) -> AsyncIterator[OwnStack]:
    """The stack for the length of a block; what this process was set up with does not count. Main thread only.

    When the block raises, its directory stays, with every process's log, and its place is told.
    """
    place = _scratch()
    data_dir = make_data_directory(place / "data")
    servers = EmbeddedServers(data_dir)
    went_well = False
    try:
        stack = await _started(servers, data_dir, settings)
        try:
            yield stack
            went_well = True
        finally:
            await stack.processes.kill_all()
    finally:
        servers.stop()
        shutil.rmtree(servers.placement.home, ignore_errors=True)
        if went_well:
            shutil.rmtree(place, ignore_errors=True)
        else:
            say(f"every process's log is in {data_dir / 'logs'}")


def _scratch() -> Path:
    place = Path(tempfile.mkdtemp(prefix="cos-"))
    place.chmod(0o711)  # as root, the servers run under another account, which must pass through
    return place


async def _started(servers: EmbeddedServers, data_dir: Path, settings: Mapping[str, str]) -> OwnStack:
    urls = servers.start()
    environment = clean_environment(
        COGNITIONOS_DATA_DIR=str(data_dir),
        DATABASE_URL=urls.app or "",
        MIGRATION_DATABASE_URL=urls.owner or "",
        REDIS_URL=urls.redis or "",
        **settings,
    )
    processes = Processes(environment=environment, logs=data_dir / "logs")
    try:
        key_file = data_dir / KEY_FILE
        await processes.ends_well("prepare", "prepare", "--key-file", str(key_file))
        url = await api_on(processes, free_port(_HOST, 0))
    except BaseException:
        await processes.kill_all()
        raise
    return OwnStack(url=url, api_key=key_file.read_text().strip(), processes=processes)


async def api_on(processes: Processes, port: int, *, crash_point: str | None = None) -> str:
    """Start the API on `port` and return its URL once it is ready. Raises `ProgramFailed`."""
    url = f"http://{_HOST}:{port}"
    process = await processes.api(port, crash_point=crash_point)
    try:
        async with asyncio.timeout(START_WITHIN_S):
            while not await asyncio.to_thread(answers_ready, url):
                if process.returncode is not None:
                    raise TimeoutError
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise ProgramFailed(f"the API is not ready; its log is {processes.logs / 'api.log'}") from None
    return url
