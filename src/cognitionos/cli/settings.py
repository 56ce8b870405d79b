"""The settings for a command, with every wrong variable named in one line."""

from typing import TYPE_CHECKING, Any

from cognitionos.kernel.errors import Invalid

if TYPE_CHECKING:
    from pydantic import ValidationError

    from cognitionos.platform.config import Settings

_PREFIX = "COGNITIONOS_"


class SettingRefused(Invalid):
    """A variable has a value that its setting cannot take; the detail has one line for each."""


def read_settings(*, to_serve: bool = False, **known: str) -> "Settings":
    """The environment's settings, with `known` ones before it; `to_serve`: production's secrets must be there too.

    Raises `SettingRefused`. Imports pydantic only when called, so that the terminal starts at once.
    """
    from pydantic import ValidationError

    from cognitionos.platform.config import Settings

    values: dict[str, Any] = {**known}
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingRefused("\n".join(_faults(error, Settings))) from None
    try:
        if to_serve:
            settings.require_production_secrets()
    except ValueError as error:
        raise SettingRefused(f"{error}; 'openssl rand -base64 32' makes a good one") from None
    return settings


def _faults(error: "ValidationError", settings: "type[Settings]") -> list[str]:
    """`VARIABLE is 'value'; it should be ... (what it is for)`, one for each; a secret's value is not shown."""
    lines = []
    for fault in error.errors():
        name = str(fault["loc"][0])
        field = settings.model_fields.get(name)
        variable = name if name.isupper() else f"{_PREFIX}{name.upper()}"
        value = "" if field is None or "Secret" in str(field.annotation) else f" is {str(fault['input'])!r};"
        expected = fault["msg"].partition(", unable to")[0].replace("Input should", "it should", 1)
        meaning = f" ({field.description})" if field is not None and field.description else ""
        lines.append(f"{variable}{value} {expected}{meaning}")
    return lines
