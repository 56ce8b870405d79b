"""The scenario files that ship with the product, or any others by path."""

from pathlib import Path

import msgspec

from cognitionos.llm_gateway.domain.scenario import Rule, ScenarioInvalid, rules_from

SHIPPED = Path(__file__).with_name("scenarios")


def load_rules(folder: Path = SHIPPED) -> tuple[Rule, ...]:
    """The rules of every `*.json` in `folder`, file by file in the order of their names."""
    return tuple(rule for path in sorted(folder.glob("*.json")) for rule in _rules(path))


def _rules(path: Path) -> tuple[Rule, ...]:
    try:
        value = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise ScenarioInvalid(f"{path.name}: {error}") from error
    return rules_from(value, where=path.name)
