"""What `cognitionos crash-test` finds wrong, and how it measures a take-over."""

from typing import Any

from cognitionos.cli.crash_test.load import Result
from cognitionos.cli.crash_test.sink import Attempt, Effect, Sink
from cognitionos.cli.crash_test.verdict import Verdict, judge, take_overs

CALM = {"first": ("succeeded", 1), "last": ("succeeded", 2)}


def a_result(name: str = "run", **changes: Any) -> Result:
    given = {"name": name, "number": 0, "id": name, "status": "succeeded", "outputs": CALM}
    return Result(**{**given, **changes})


def a_sink(**effects: str) -> Sink:
    """Both runs had the effect `first`; `effects` are the keys of what else the killed one did."""
    sink = Sink(effects={Effect("calm", "first", None): {"key-0"}}, attempts={"key-0": [Attempt(0.0, 0.1)]})
    for task, keys in effects.items():
        sink.effects[Effect("run", task, None)] = set(keys.split())
        sink.attempts |= {key: [Attempt(1.0, 1.1)] for key in keys.split()}
    return sink


def verdict_on(result: Result, sink: Sink) -> Verdict:
    return judge([result], {0: a_result("calm")}, sink, deaths=(), up_s=lambda begin, end: end - begin)


def test_a_run_that_is_as_without_kills_is_right() -> None:
    verdict = verdict_on(a_result(), a_sink(first="key-1"))

    assert verdict.faults == []
    assert (verdict.runs_succeeded, verdict.tasks, verdict.effects) == (1, 2, 1)


def test_a_task_that_did_not_end_is_lost_and_so_is_one_that_is_not_there() -> None:
    verdict = verdict_on(a_result(status="unfinished", outputs={"first": ("running", None)}), a_sink(first="key-1"))

    assert (verdict.runs_succeeded, verdict.tasks_lost) == (0, 2)


def test_another_output_is_told() -> None:
    verdict = verdict_on(a_result(outputs=CALM | {"last": ("succeeded", 3)}), a_sink(first="key-1"))

    assert verdict.outputs_differing == 1
    assert "without kills ('succeeded', 2)" in verdict.faults[0]


def test_an_effect_is_doubled_when_it_comes_under_two_keys_or_under_none() -> None:
    assert verdict_on(a_result(), a_sink(first="key-1 key-2")).effects_doubled == 1

    sink = a_sink()
    sink.effects[Effect("run", "first", None)] = {""}
    assert verdict_on(a_result(), sink).effects_doubled == 1


def test_a_key_of_two_effects_is_told() -> None:
    [fault, _] = verdict_on(a_result(), a_sink(first="key-1", second="key-1")).faults[::-1]

    assert fault.startswith("key used twice")


def test_an_effect_that_is_missing_is_lost_and_one_too_many_is_told() -> None:
    verdict = verdict_on(a_result(), a_sink(second="key-1"))

    assert verdict.effects_lost == 1
    assert len(verdict.faults) == 2


def test_a_take_over_is_counted_from_the_moment_at_which_the_request_broke_off() -> None:
    broken, again = Attempt(10.0, 10.1, broke_off=True), Attempt(12.0, 12.2)

    assert list(take_overs([broken, again], deaths=[10.1, 11.0])) == [(10.1, 12.0)]


def test_after_an_answer_it_is_counted_from_the_next_death() -> None:
    answered, again = Attempt(10.0, 10.1), Attempt(12.0, 12.2)

    assert list(take_overs([answered, again], deaths=[9.0, 10.5, 11.0])) == [(10.5, 12.0)]


def test_two_requests_at_once_are_no_take_over() -> None:
    late, again = Attempt(10.0, 13.0), Attempt(12.0, 12.2)

    assert list(take_overs([late, again], deaths=[])) == []


def test_take_overs_of_a_task_that_a_worker_took_unseen_are_not_measured() -> None:
    sink = a_sink(first="key-1")
    sink.attempts["key-1"] = [Attempt(1.0, 1.1, broke_off=True), Attempt(3.0, 3.1)]

    seen, unseen = (verdict_on(a_result(attempts={"first": taken}), sink) for taken in (2, 3))

    assert (list(seen.take_overs_s), seen.take_overs_unmeasured) == ([1.9], 0)
    assert (list(unseen.take_overs_s), unseen.take_overs_unmeasured) == ([], 1)
