"""Logs: one JSON line per outcome on stderr, with the request, trace and tenant it belongs to, secrets removed."""

import atexit
import contextlib
import io
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from cognitionos.platform.config import Settings

_SECRET_NAMES = frozenset(
    {"password", "secret", "secret_key", "api_key", "apikey", "key", "token", "access_token", "authorization"}
    | {"cookie", "x-api-key", "x_api_key"}
)
_SECRET_TEXT = re.compile(
    r"\b(cog_[0-9A-Za-z]+_|sk-|Bearer\s+)[0-9A-Za-z_\-.~+/=]{8,}|(?<=://)([^:/@\s]+):[^@/\s]+(?=@)"
)
_MAYBE_SECRET = re.compile("cog_|sk-|Bearer|://").search
"""Without one of these in it no text matches `_SECRET_TEXT`; to look for them costs a tenth of the pattern."""
_REDACTED = "[redacted]"
_GATHER_S = 0.05


class Lines(io.TextIOBase):
    """Writes lines from a thread of its own, several at once when they come fast: a write per line costs a request
    more CPU than the rest of its handling. What is waiting leaves within `_GATHER_S`, and at the end of the process.
    """

    def __init__(self, out: Callable[[], TextIO]) -> None:
        self._out = out
        self._waiting: deque[str] = deque()
        self._something = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take `text`; it is written soon."""
        self._waiting.append(text)
        if not self._something.is_set():
            self._start()
            self._something.set()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the thread writes what is waiting."""

    def drain(self) -> None:
        """Write everything that is waiting, now."""
        with self._writing:
            text = "".join(self._waiting.popleft() for _ in range(len(self._waiting)))
            if text:
                with contextlib.suppress(OSError, ValueError):  # nobody reads our stderr any more
                    self._out().write(text)
                    self._out().flush()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._something.wait():
            time.sleep(_GATHER_S)
            self._something.clear()
            self.drain()


_writer = Lines(lambda: sys.stderr)
_lines = cast("TextIO", _writer)
atexit.register(_writer.drain)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module; its name goes into each line as `module`."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


class FrequentLine:
    """The line of one event that is written for every request: the fields and the redaction of any other line, without
    the chain of processors, which costs ten times as much. Its caller hands over what the context would have added.
    """

    def __init__(self, module: str, event: str, *, level: int = logging.INFO) -> None:
        self._known = {"module": module, "event": event, "level": logging.getLevelName(level).lower()}
        self._level = level

    def write(self, fields: EventDict) -> None:
        """Write it, if lines of its level are wanted."""
        if self._level >= _threshold.level:
            now = datetime.now(UTC).replace(tzinfo=None)
            _writer.write(_json({**self._known, "timestamp": f"{now.isoformat()}Z", **redact(None, "", fields)}) + "\n")


class _Threshold:
    level = logging.INFO


_threshold = _Threshold()


def configure(settings: Settings) -> None:
    """Send our lines and those of the libraries to stderr as JSON. Called once by each entry point."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    _threshold.level = level
    structlog.configure(
        processors=[*_shared(), structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_lines),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(_json),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace values that are secrets by name, and parts of texts that look like one (keys, URLs with a password)."""
    for name, value in event.items():
        if name.lower() in _SECRET_NAMES:
            event[name] = _REDACTED
        elif isinstance(value, str) and _MAYBE_SECRET(value):
            event[name] = _SECRET_TEXT.sub(_hide, value)
    return event


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]


def _hide(match: re.Match[str]) -> str:
    return f"{match.group(2)}:{_REDACTED}" if match.group(2) else f"{match.group(1)}{_REDACTED}"


def _json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
