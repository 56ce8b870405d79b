"""Logs: one JSON line per outcome on stderr, with the request, trace and tenant it belongs to, secrets removed."""

import logging
import re
import sys
from typing import Any

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
_REDACTED = "[redacted]"


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module; its name goes into each line as `logger`."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def configure(settings: Settings) -> None:
    """Send our lines and those of the libraries to stderr as JSON. Called once by each entry point."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    structlog.configure(
        processors=[*_shared(), structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
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
        elif isinstance(value, str):
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
