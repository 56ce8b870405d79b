"""What an id on the command line names: a goal or a run, whichever it is."""

import argparse
from dataclasses import dataclass
from uuid import UUID

from cognitionos.cli.client import Api, RequestRefused
from cognitionos.kernel.errors import NotFound


class NoSuchSubject(NotFound):
    """Neither a goal nor a run has that id."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A run; `goal_id` unless it is a workflow's."""

    run_id: str
    goal_id: str | None


def an_id(text: str) -> str:
    """An id as an argument; argparse tells of anything else."""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an id; one looks like 0193a1f2-7c3e-7abc-8def-0123456789ab"
        ) from error


def subject_of(api: Api, some_id: str) -> Subject:
    """The goal, else the run, of this id. Raises `NoSuchSubject`."""
    goal = _found(api, f"/v1/goals/{some_id}")
    if goal is not None:
        return Subject(run_id=goal["run_id"], goal_id=goal["id"])
    run = _found(api, f"/v1/runs/{some_id}")
    if run is None:
        raise NoSuchSubject(f"there is no goal and no run {some_id}; 'cognitionos runs' lists them")
    return Subject(run_id=run["id"], goal_id=run["goal_id"])


def _found(api: Api, path: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = api.get(path)
    except RequestRefused as refused:
        if refused.status == 404:
            return None
        raise
    return found
