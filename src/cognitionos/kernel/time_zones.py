"""Time zones by their names in the IANA database."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FILES = frozenset({"Factory", "localtime", "posixrules"})
"""What lies beside the zones and is none."""
_COPIES = ("posix/", "right/")


def is_time_zone(name: str) -> bool:
    """Whether the database has a zone of this very name: `Europe/Berlin`, `UTC`, but not `berlin` or `UTC+3`."""
    if name in _FILES or name.startswith(_COPIES):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
