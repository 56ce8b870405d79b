"""When a schedule's times come, and what becomes of them."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.schedule import (
    CatchUp,
    Fire,
    InvalidSchedule,
    Outcome,
    Overlap,
    Schedule,
    Target,
    Timing,
    due,
    next_step,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def berlin(cron: str) -> Timing:
    return Timing(cron=cron, time_zone="Europe/Berlin")


def a_schedule(timing: Timing, **more: object) -> Schedule:
    rest = {"catch_up": CatchUp.LATEST, "most_caught_up": 10, "overlap": Overlap.SKIP, "next_at": NOON} | more
    return Schedule(
        id=new_id(),
        tenant_id=new_id(),
        project_id=new_id(),
        api_key_id=None,
        user=None,
        name="nightly",
        timing=timing,
        target=Target(workflow="greet"),
        paused=False,
        created_at=NOON,
        **rest,  # type: ignore[arg-type]
    )


def times(timing: Timing, after: datetime, number: int) -> list[str]:
    return [each.strftime("%m-%d %H:%M") for each in islice(timing.times_after(after), number)]


def test_a_time_of_day_is_a_time_of_day_in_its_zone_in_summer_and_in_winter() -> None:
    assert times(berlin("0 9 * * *"), datetime(2026, 10, 23, 12, tzinfo=UTC), 3) == [
        "10-24 07:00",
        "10-25 08:00",
        "10-26 08:00",
    ]


def test_a_time_that_the_change_to_summer_skips_fires_right_after_it() -> None:
    assert times(berlin("30 2 * * *"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["03-29 01:00", "03-30 00:30"]


def test_a_time_that_the_change_to_winter_repeats_fires_once() -> None:
    assert times(berlin("30 2 * * *"), datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["10-25 00:30", "10-26 01:30"]


def test_what_runs_each_half_hour_runs_on_through_the_repeated_hour() -> None:
    assert times(berlin("*/30 * * * *"), datetime(2026, 10, 24, 23, 40, tzinfo=UTC), 5) == [
        "10-25 00:00",
        "10-25 00:30",
        "10-25 01:00",
        "10-25 01:30",
        "10-25 02:00",
    ]


@given(
    every_s=st.floats(1, 100_000),
    ago_s=st.integers(0, 10_000_000),
    catch_up=st.sampled_from(list(CatchUp)),
    most=st.integers(1, 100),
)
def test_what_is_due_lies_between_the_next_time_and_now_in_order(
    every_s: float, ago_s: int, catch_up: CatchUp, most: int
) -> None:
    timing = Timing(every_s=every_s)
    next_at = timing.after(NOON - timedelta(seconds=ago_s))
    assert next_at is not None

    found = due(timing, next_at=next_at, now=NOON, catch_up=catch_up, most=most)

    assert list(found.fire) == sorted(set(found.fire))
    assert all(next_at <= time <= NOON for time in found.fire)
    assert len(found.fire) <= (most if catch_up is CatchUp.ALL else 1)
    assert found.next_at is not None
    assert found.next_at > NOON
    if next_at <= NOON and catch_up is not CatchUp.SKIP:
        assert found.fire
        assert NOON - found.fire[-1] < timedelta(seconds=every_s)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_looking_back_finds_what_looking_ahead_said(minute: int, hour: int, zone: str) -> None:
    timing = Timing(cron=f"{minute} {hour} * * *", time_zone=zone)
    ahead = list(islice(timing.times_after(NOON - timedelta(days=400)), 370))

    back = list(islice(timing.times_until(ahead[-1]), 370))

    assert back == ahead[::-1]


@pytest.mark.parametrize(
    ("catch_up", "fired", "missed"), [(CatchUp.SKIP, 0, 3), (CatchUp.LATEST, 1, 2), (CatchUp.ALL, 2, 1)]
)
def test_times_that_passed_unseen_are_caught_up_as_asked(catch_up: CatchUp, fired: int, missed: int) -> None:
    found = due(
        Timing(cron="0 * * * *"),
        next_at=NOON - timedelta(hours=2),
        now=NOON + timedelta(minutes=10),
        catch_up=catch_up,
        most=2,
    )

    assert (len(found.fire), found.missed, found.next_at) == (fired, missed, NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("overlap", "outcome"),
    [
        (Overlap.ALLOW, Outcome.STARTED),
        (Overlap.SKIP, Outcome.SKIPPED),
        (Overlap.QUEUE, Outcome.QUEUED),
        (Overlap.CANCEL, Outcome.STARTED),
    ],
)
def test_a_time_that_comes_while_the_run_before_goes_on(overlap: Overlap, outcome: Outcome) -> None:
    schedule = a_schedule(Timing(cron="0 * * * *"), overlap=overlap)

    step = next_step(schedule, NOON, previous_goes_on=True)

    assert step is not None
    assert step.fire.outcome is outcome


def test_one_time_waits_in_the_queue_and_goes_first_when_the_run_before_has_ended() -> None:
    schedule = a_schedule(Timing(cron="0 * * * *"), overlap=Overlap.QUEUE)
    schedule.record(Fire(scheduled_at=NOON, outcome=Outcome.QUEUED))
    schedule.next_at = NOON + timedelta(hours=1)
    later = NOON + timedelta(hours=1, minutes=1)

    waiting = next_step(schedule, later, previous_goes_on=True)
    then = next_step(schedule, later, previous_goes_on=False)

    assert waiting is not None
    assert waiting.fire.outcome is Outcome.SKIPPED
    assert then is not None
    assert (then.fire.scheduled_at, then.fire.outcome, then.next_at) == (NOON, Outcome.STARTED, schedule.next_at)


def test_what_passed_in_a_pause_is_not_caught_up() -> None:
    schedule = a_schedule(Timing(cron="0 * * * *"))
    schedule.pause()
    assert next_step(schedule, NOON + timedelta(days=1), previous_goes_on=False) is None

    schedule.resume(NOON + timedelta(days=1, minutes=5))

    assert schedule.next_at == NOON + timedelta(days=1, hours=1)


@pytest.mark.parametrize(
    ("given_timing", "field"),
    [
        ({}, "cron"),
        ({"cron": "0 9 * * *", "every_s": 60}, "cron"),
        ({"cron": "0 9 * *"}, "cron"),
        ({"cron": "0 25 * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "0 9 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"cron": "0 9 * * *", "time_zone": "../etc/passwd"}, "time_zone"),
        ({"every_s": 0.5}, "every_s"),
        ({"every_s": float("nan")}, "every_s"),
    ],
)
def test_a_timing_that_cannot_be_is_refused_by_its_field(given_timing: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        Timing(**given_timing)  # type: ignore[arg-type]

    assert list(refused.value.fields) == [field]
