# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The span of time that a report is about, and the one before it: from the start of its run back, UTC, without zones."""

from __future__ import annotations

import calendar
import dataclasses
import datetime

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

NAMES = ("daily", "weekly", "monthly", "quarterly")
_DAYS = {"daily": 1, "weekly": 7}
_MONTHS = {"monthly": 1, "quarterly": 3}


@dataclasses.dataclass(frozen=True)
class Period:
    """What lies after `since` and not after `until` (UTC); `before` is what lay before that, by the same rule."""

    name: str
    since: datetime.datetime
    until: datetime.datetime

    @property
    def before(self) -> Period:
        return ending(self.name, self.since)

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


def ending(name: str, until: datetime.datetime) -> Period:
    """Return the period `name` that ends at `until`.

    A month goes back to the same day of the month before, or to that month's last day: what runs on each first Friday
    then tells of all days since the last one or a few more, whatever the months' lengths. Raises InputError.
    """
    if name in _DAYS:
        return Period(name, until - datetime.timedelta(days=_DAYS[name]), until)
    if name in _MONTHS:
        return Period(name, _months_before(until, _MONTHS[name]), until)
    raise InputError("period", name, "is no period", f"Use one of {', '.join(NAMES)}, or none.")


def _months_before(moment: datetime.datetime, months: int) -> datetime.datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def parse(text: str) -> datetime.datetime:
    """Return the time that the history wrote as C(2026-11-21T09:00:00Z)."""
    found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def show(moment: datetime.datetime) -> str:
    """Return `moment` as the history writes it, to the second, so that texts compare as times do."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
