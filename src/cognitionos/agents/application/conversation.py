"""What agents are shown: their prompt, then the task with everything it needs, in labelled parts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cognitionos.agents.application.assignment import Assignment, Question
from cognitionos.agents.domain.agent_run import Step
from cognitionos.agents.domain.notes import as_notes
from cognitionos.agents.domain.prompt import Prompt
from cognitionos.agents.domain.quoted import between, inert
from cognitionos.agents.domain.tool import clipped
from cognitionos.agents.domain.workspace import Artifact
from cognitionos.llm_gateway.facade import assistant, system, user

_MOST_INPUT_CHARACTERS = 16_000
_LEAST_INPUT_CHARACTERS = 500
_MOST_MEMORY_CHARACTERS = 3_000
_MOST_VARIABLE_CHARACTERS = 24_000
_MOST_EVIDENCE = 4
_MOST_EVIDENCE_CHARACTERS = 1_500
_MOST_FILES = 50
NOTHING = "(nothing)"
"""What an empty answer is shown as: some providers refuse a message without words."""

Messages = list[dict[str, Any]]


def opening_of(
    prompt: str, assignment: Assignment, files: Sequence[Artifact], *, characters: int | None = None
) -> Messages:
    """The first messages of an agent that does a task; `characters` is what a small model has room for."""
    most_input = _within(characters, _MOST_INPUT_CHARACTERS, share=2)
    most_memory = _within(characters, _MOST_MEMORY_CHARACTERS, share=20)
    parts = [
        ("Goal", assignment.goal),
        ("Your task", assignment.instructions),
        ("Expected result", assignment.expected_output or ""),
        ("Files in the workspace", _listed(files)),
        ("Known from memory", as_notes(assignment.memories, most=most_memory)),
        ("Results of earlier tasks", _results(assignment.inputs, most_input)),
    ]
    return [system(prompt), user(_labelled(parts))]


def asked(prompt: str, question: Question, *, characters: int | None = None) -> Messages:
    """The first messages of a structured question; `characters` is what a small model has room for."""
    most = _within(characters, _MOST_VARIABLE_CHARACTERS, share=3)
    parts = [(_title(name), clipped(text, most)) for name, text in question.variables.items()]
    return [system(prompt), user(_labelled(parts))]


def objections(question: Question) -> Messages:
    """What follows: the earlier answers, each with what was wrong with it."""
    return [said for answer, fault in question.previous for said in (assistant(answer or NOTHING), user(fault))]


def judged_by(
    prompt: Prompt,
    assignment: Assignment,
    *,
    draft: str,
    files: Sequence[Artifact],
    evidence: Sequence[Step],
    apart: str = "",
    doubts: str = "",
    characters: int | None = None,
) -> Messages:
    """What a critic sees of a draft: the task, the result, its files, and what tools answered on the way;
    `doubts`, claims that nothing supports.

    `apart` is what tells this critic from the others; `characters` is what a small model has room for.
    """
    most_evidence = _within(characters, _MOST_EVIDENCE_CHARACTERS, share=16)
    shown = "\n".join(
        f"{step.content['tool']}: {clipped(step.content['result'], most_evidence)}"
        for step in evidence[-_MOST_EVIDENCE:]
    )
    result = draft if characters is None else clipped(draft, characters // 2)
    parts = [
        ("Goal", assignment.goal),
        ("The task", assignment.instructions),
        ("Expected result", assignment.expected_output or ""),
        ("The result", between("result", result) if prompt.knows_marks else result),
        ("Files it wrote", _listed(files)),
        ("What its tools answered", shown),
        (
            "Claims of the result that are in nothing it was given (found by rules; some may still follow from it)",
            doubts,
        ),
    ]
    return [system(f"{prompt.text}\n\n{apart}" if apart else prompt.text), user(_labelled(parts))]


def _labelled(parts: Iterable[tuple[str, str]]) -> str:
    return "\n\n".join(f"## {title}\n{text.strip()}" for title, text in parts if text.strip())


def _title(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()


def _listed(files: Sequence[Artifact]) -> str:
    lines = [f"- {inert(file.name)} ({file.media_type}, {file.bytes} bytes)" for file in files[:_MOST_FILES]]
    if len(files) > _MOST_FILES:
        lines.append(f"- and {len(files) - _MOST_FILES} more; list_files shows them")
    return "\n".join(lines)


def _within(characters: int | None, usual: int, *, share: int) -> int:
    """How long a part may be: as usual, or one of so many shares of a small window. What is clipped says so."""
    return usual if characters is None else min(usual, characters // share)


def _results(inputs: Mapping[str, str], most: int) -> str:
    """Each result under its key, between marks; together no longer than the window bears, shortened ones say so."""
    share = max(_LEAST_INPUT_CHARACTERS, most // max(1, len(inputs)))
    return "\n\n".join(f"### {key}\n{between('result', clipped(text, share))}" for key, text in inputs.items())
