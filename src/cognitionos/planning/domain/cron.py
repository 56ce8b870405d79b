"""The times of a cron expression in a time zone, through the changes of its clock; as Debian's cron has them.

What has a star for its minute or its hour (`*/15 * * * *`) goes by the time that passes: in an hour that the clock
repeats it comes again, in one that the clock skips not at all. What names its times of day (`30 2 * * *`) comes once a
day: in the repeated hour the first time round, from the skipped one right after it.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_LONGEST_CHANGE = 3 * _HOUR
_MANY = 100
_FURTHEST = 50 * 366 * _DAY
"""No time that `CronSim` gives lies further from the one before it."""


def cron_times(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Every time after `moment`, in order (UTC)."""
    goes_on = any(field.startswith("*") for field in cron.split()[:2])
    last, again = moment, deque[datetime]()
    for shown in CronSim(cron, _shown_from(zone, moment)):
        early, late = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if early > late:  # the clock never shows it
            if goes_on:
                continue
            early = _after_the_change(zone, shown)
        while again and again[0] <= early:
            last = again.popleft()
            yield last
        if early > last:
            last = early
            yield last
        if late > early and goes_on and late > moment:
            again.append(late)
    yield from again


def cron_times_back(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Every time up to and with `moment`, the latest first (UTC), as `cron_times` gives them."""
    end, span = moment, _MINUTE
    while moment - end < _FURTHEST:
        found = []
        for time in cron_times(cron, zone, end - span):
            if time > end:
                break
            found.append(time)
        yield from reversed(found)
        end -= span
        if len(found) < _MANY:
            span *= 2


def _shown_from(zone: ZoneInfo, moment: datetime) -> datetime:
    """What the clock shows then, without its zone; if it is about to be put back, what it will show then."""
    ahead = (moment + _LONGEST_CHANGE).astimezone(zone) - _LONGEST_CHANGE
    return min(moment.astimezone(zone).replace(tzinfo=None), ahead.replace(tzinfo=None))


def _after_the_change(zone: ZoneInfo, shown: datetime) -> datetime:
    """The first minute after `shown` that the clock does show (UTC)."""
    early, late = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    while early > late:
        shown += _MINUTE
        early, late = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return early
