"""The prompts that ship with the product."""

from pathlib import Path

from cognitionos.agents import application
from cognitionos.agents.domain.prompt import Prompt, prompt_of

SHIPPED = Path(application.__file__).with_name("prompts")


def load_prompts(folder: Path = SHIPPED) -> list[Prompt]:
    """Every prompt in `folder`. Raises `ValueError` for a file that is not named like one."""
    return [prompt_of(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))]
