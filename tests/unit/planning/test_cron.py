"""Cron through the changes of clocks: each time fires once, however seldom or often somebody looks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitionos.planning.domain.schedule import CatchUp, Timing, due

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Africa/Casablanca",  # back for Ramadan
    "America/Havana",  # at midnight
    "America/Santiago",  # at midnight
    "Europe/Dublin",
)
MINUTES = {
    "*": range(60),
    "*/15": range(0, 60, 15),
    "*/7": range(0, 60, 7),
    "0": [0],
    "30": [30],
    "45": [45],
    "5,35": [5, 35],
}
HOURS = {"*": range(24), "*/2": range(0, 24, 2), "0": [0], "2": [2], "1-3": [1, 2, 3], "0,1,23": [0, 1, 23]}


@cache
def changes(zone: str) -> list[datetime]:
    """The hours of 2026 in which the zone's clock is changed (UTC)."""
    there = ZoneInfo(zone)
    hours = [NEW_YEAR + n * HOUR for n in range(365 * 24)]
    return [hour for hour in hours if hour.astimezone(there).utcoffset() != (hour + HOUR).astimezone(there).utcoffset()]


def enumerated(minutes: str, hours: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The times after `start` up to `end`, found minute by minute of the time that passes."""
    goes_on = "*" in (minutes[0], hours[0])
    there, found, reached = ZoneInfo(zone), [], None
    moment = (start - DAY).replace(second=0, microsecond=0)
    while moment <= end:
        shown = moment.astimezone(there).replace(tzinfo=None)
        newly = [shown] if goes_on else _newly_shown(reached, shown)
        if any(each.minute in MINUTES[minutes] and each.hour in HOURS[hours] for each in newly):
            found.append(moment)
        reached = shown if reached is None else max(reached, shown)
        moment += MINUTE
    return [each for each in found if each > start]


def _newly_shown(reached: datetime | None, shown: datetime) -> list[datetime]:
    """The minutes of the clock that have passed for the first time, those that it skipped among them."""
    first = shown if reached is None else reached + MINUTE
    return [first + n * MINUTE for n in range(int((shown - first) / MINUTE) + 1)]


def fired(timing: Timing, start: datetime, end: datetime, looks: Iterator[timedelta]) -> list[datetime]:
    """What a scheduler fires that looks in these intervals."""
    found: list[datetime] = []
    next_at, now = timing.after(start), start
    while now < end and next_at is not None:
        now = min(end, now + next(looks))
        if next_at <= now:
            look = due(timing, next_at=next_at, now=now, catch_up=CatchUp.ALL, most=1_000)
            found += look.fire
            next_at = look.next_at
    return found


def spaced(seed: int, longest_s: int) -> Iterator[timedelta]:
    random = Random(seed)
    while True:
        yield timedelta(seconds=random.uniform(0.5, longest_s))


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(sorted(MINUTES)),
    st.sampled_from(sorted(HOURS)),
    st.integers(0, 2**30),
    st.sampled_from([4_000, 20_000, 50_000]),  # minutes of the longest are fewer than are counted at once
)
def test_each_time_around_a_change_of_the_clock_fires_once_however_it_is_looked_at(
    zone: str, minutes: str, hours: str, seed: int, longest_s: int
) -> None:
    timing = Timing(cron=f"{minutes} {hours} * * *", time_zone=zone)
    for change in changes(zone):
        start, end = change - DAY + timedelta(seconds=seed % 7_200), change + DAY

        expected = enumerated(minutes, hours, zone, start, end)

        assert fired(timing, start, end, spaced(seed, longest_s)) == expected
        assert list(islice(timing.times_until(end), len(expected))) == expected[::-1]


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_has_each_of_its_hours_once_and_each_day_its_time(zone: str) -> None:
    end = NEW_YEAR + 365 * DAY

    hourly = fired(Timing(cron="0 * * * *", time_zone=zone), NEW_YEAR, end, spaced(1, 900_000))
    daily = fired(Timing(cron="30 1 * * *", time_zone=zone), NEW_YEAR, end, spaced(2, 900_000))

    assert len(set(hourly)) == len(hourly) == 365 * 24
    assert len(set(daily)) == len(daily) == 365


def test_the_quarters_of_the_hour_that_autumn_repeats_all_fire() -> None:
    timing = Timing(cron="*/15 * * * *", time_zone="Europe/Berlin")
    start = datetime(2026, 10, 24, 23, 50, tzinfo=UTC)

    found = fired(timing, start, start + 2 * HOUR, spaced(3, 60))

    assert [f"{each:%H:%M}" for each in found] == [
        "00:00",
        "00:15",
        "00:30",
        "00:45",
        "01:00",
        "01:15",
        "01:30",
        "01:45",
    ]
