"""The times of a cron expression in a time zone, as `cronsim` tells them: Debian's cron, changes of the clock included.

What has a star for its minute or its hour (`*/15 * * * *`) goes by the time that passes: in an hour that the clock
repeats it comes again, in one that the clock skips not at all. What names its times of day (`30 2 * * *`) comes once a
day: in the repeated hour the first time round, from the skipped one right after it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

_LONGEST_CHANGE = timedelta(hours=3)
_MANY = 100
_FURTHEST = timedelta(days=50 * 366)
"""No time that `CronSim` gives lies further from the one before it."""


def cron_times(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Every time after `moment`, in order (UTC).

    Counted from before any change of the clock that `moment` may be in, so that nothing depends on who looks when.
    """
    for time in CronSim(cron, (moment - _LONGEST_CHANGE).astimezone(zone)):
        if time.astimezone(UTC) > moment:
            yield time.astimezone(UTC)


def cron_times_back(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Every time up to and with `moment`, the latest first (UTC), as `cron_times` gives them."""
    end, span = moment, timedelta(minutes=1)
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
