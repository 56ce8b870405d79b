"""The program of a runner process: wait for one job on standard input, lock oneself for good, run it, report, leave.

Started by `sandbox_process.py` as its own interpreter (`-I -S`, empty environment). It imports as little as possible,
nothing third-party but the WebAssembly engine. One process runs one job: nothing survives into the next.

Arguments: kind (`process`, `wasm` or `unpack`), descriptor for the report, pid of the parent, directory of the engine.
Job: one line of JSON. Report: `locked`, then `{"error": str | null, "fuel": int | null}`; or `{"refused": reason}`.
"""

import json
import os
import platform
import sys
from typing import Any

from cognitionos.agents.infrastructure import sandbox_guest, sandbox_lock

_REPORT_BYTES = 32 * 1024  # always fits into an empty pipe, so the report never waits
_MIB = 2**20


def main() -> None:
    """Serve one job and leave without cleaning up: what is left of the process is not to be trusted."""
    kind, report_to, parent, engine_directory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    sandbox_lock.die_with_parent(parent)
    engine: Any = None if kind == "process" else _engine(engine_directory)
    if kind == "unpack":
        engine.Sandbox().execute("1")
        os._exit(0)
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    job = json.loads(line)
    try:
        _lock(job, kind, report_to, parent)
    except (OSError, ValueError, sandbox_lock.LockError) as error:
        _report(report_to, {"refused": f"{type(error).__name__}: {error}"})
        os._exit(0)
    os.write(report_to, b"locked\n")
    _report(report_to, _run_wasm(engine, job) if engine else _run_here(job))
    os._exit(0)


def _engine(directory: str) -> Any:
    sys.path.insert(0, directory)
    import eryx

    sys.path.remove(directory)
    return eryx


def _lock(job: dict[str, Any], kind: str, report_to: int, parent: int) -> None:
    os.chdir(job["workspace"])
    os.umask(0o077)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    sandbox_lock.close_all_but(0, 1, 2, report_to)
    sandbox_lock.drop_privileges(job["uid"])
    sandbox_lock.die_with_parent(parent)
    wasm = kind == "wasm"
    memory = int(job["memory_bytes"])
    sandbox_lock.engage(
        sandbox_lock.Lock(
            readable=((job["engine_cache"],) if wasm else _interpreter_files()) + tuple(job["packages"]),
            writable=(".",) if wasm else (".", "/dev/null"),
            cpu_s=int(job["cpu_s"]),
            file_bytes=int(job["file_bytes"]),
            address_space_bytes=None if wasm else memory,
            data_bytes=2 * memory + 256 * _MIB if wasm else None,
            engine=wasm,
        )
    )


def _interpreter_files() -> tuple[str, ...]:
    """The standard library without what is installed beside it, the system's shared libraries, time zones."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - no pathlib in the runner
    installed = {"site-packages", "dist-packages"}
    own = [entry.path for entry in os.scandir(library) if entry.name not in installed]
    machine = f"{platform.machine()}-linux-gnu"
    system = [f"/lib/{machine}", f"/usr/lib/{machine}", "/lib64", "/usr/lib64"]
    shared = [
        entry.path for place in (sys.base_prefix + "/lib", "/lib", "/usr/lib") for entry in _shared_objects(place)
    ]
    rest = ["/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/dev/zero"]
    return (*own, *system, *shared, *rest)


def _shared_objects(place: str) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(place) if ".so" in entry.name and entry.is_file()]
    except OSError:
        return []


def _run_here(job: dict[str, Any]) -> dict[str, Any]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cognitionos"]:
        del sys.modules[name]
    sys.argv = [sandbox_guest.NAME]
    place = os.getcwd()  # noqa: PTH109 - no pathlib in the runner
    error = sandbox_guest.run(job["code"], place, job["packages"], job["given"])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # the agent's code closed or replaced it
    return {"error": error, "fuel": None}


def _run_wasm(engine: Any, job: dict[str, Any]) -> dict[str, Any]:
    limits = engine.ResourceLimits(
        execution_timeout_ms=int(job["timeout_s"] * 1000) + 5000,  # the parent's own deadline comes first
        max_memory_bytes=int(job["memory_bytes"]),
        max_callback_invocations=0,
    )
    packages = {host: f"/packages/{number}" for number, host in enumerate(job["packages"])}
    around = (
        "\nimport os\nos.chdir('/workspace')\ngive_asyncio_a_loop()\n"
        f"result = run({job['code']!r}, '/workspace', {list(packages.values())!r}, {job['given']!r})\n"
    )
    try:
        sandbox = engine.Sandbox(
            resource_limits=limits,
            volumes=[(".", "/workspace", False), *((host, guest, True) for host, guest in packages.items())],
            on_stdout=lambda chunk: _write_all(1, chunk),
            on_stderr=lambda chunk: _write_all(2, chunk),
        )
        done = sandbox.execute(job["guest"] + around)
    except engine.EryxError as error:
        return {"error": _in_short(error), "fuel": None}
    return {"error": done.result if isinstance(done.result, str) else None, "fuel": done.fuel_consumed}


def _in_short(error: Exception) -> str:
    """The engine's message without the WebAssembly backtrace."""
    text = str(error)
    cause = text.partition("Caused by:\n")[2].strip() or text
    return f"{type(error).__name__}: {cause.splitlines()[0].strip()}"[:2000]


def _write_all(descriptor: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]


def _report(descriptor: int, report: dict[str, Any]) -> None:
    encoded = json.dumps(report).encode()
    os.write(descriptor, encoded if len(encoded) <= _REPORT_BYTES else b'{"error": "the report was too long"}')
