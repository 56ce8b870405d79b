"""What stands around an agent's code inside the sandbox: run as a module in the runner, sent as text into WebAssembly.

It is inside the sandbox with the agent's code and guards nothing. It needs nothing but the standard library.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

NAME = "<code>"


def run(code: str, workspace: str, packages: Sequence[str] = (), given: str | None = None) -> str | None:
    """Run `code` as a program in `workspace`; what went wrong in one line, or None. Tracebacks go to stderr.

    `given` is JSON: the program finds it, read, as `data`.
    """
    import json
    import linecache
    import traceback

    sys.path.insert(0, workspace)
    sys.path.extend(packages)
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        if given is not None:
            names |= {"json": json, "data": json.loads(given)}
        program = compile(code, NAME, "exec")
        exec(program, names)  # noqa: S102 - it is the task
    except SystemExit as stop:
        return None if stop.code in (None, 0) else f"SystemExit: {stop.code}"
    except BaseException as error:  # noqa: BLE001 - whatever the agent's code raises is its outcome
        traceback.print_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        lines = traceback.format_exception_only(type(error), error)  # a syntax error shows its place first, indented
        return next((line for line in lines if not line.startswith(" ")), type(error).__name__).strip()[:2000]
    return None


def give_asyncio_a_loop() -> None:
    """Make `asyncio.run` work inside WebAssembly, where there is no selector and the engine's own loop is running."""
    import asyncio
    from asyncio import base_events, events

    class Sleep:
        """A selector of nothing: to select is to sleep."""

        def select(self, timeout: float | None) -> list[Any]:
            time.sleep(3600 if timeout is None else max(0.0, timeout))
            return []

    class Loop(base_events.BaseEventLoop):
        def __init__(self) -> None:
            super().__init__()
            self._selector = Sleep()

        def _process_events(self, event_list: list[Any]) -> None:
            """Nothing is ever reported."""

        def _write_to_self(self) -> None:
            """There is no second thread that could need to wake this one."""

    run_program = asyncio.run

    def run(main: Any, *, debug: bool | None = None, loop_factory: Any = None) -> Any:
        outer = events._get_running_loop()  # noqa: SLF001 - the engine's, which cannot run anything to its end
        events._set_running_loop(None)  # noqa: SLF001
        try:
            return run_program(main, debug=debug, loop_factory=loop_factory or Loop)  # type: ignore[call-arg,unused-ignore]
        finally:
            events._set_running_loop(outer)  # noqa: SLF001

    asyncio.run = run
    asyncio.new_event_loop = Loop
