# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times as databases and services write them, and as people read them."""

from __future__ import annotations

import calendar
import re
import time
import typing as t

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?")


def seconds(text: t.Any) -> float | None:
    """Seconds since 1970 of an ISO 8601 time or a number; times without a zone are UTC. None for what is no time."""
    if text is None or text == "":
        return None
    match = _TIME.fullmatch(str(text))
    if match is None:
        try:
            return float(text)
        except (TypeError, ValueError):
            return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    moment = calendar.timegm((year, month, day, hour, minute, second)) + float(match[7] or 0)
    zone = (match[8] or "Z").replace(":", "")
    if zone == "Z":
        return moment
    offset = int(zone[1:3]) * 3600 + int(zone[3:5] or 0) * 60
    return moment - offset if zone[0] == "+" else moment + offset


def show(moment: float | None) -> str | None:
    """`2026-11-21T10:00:00Z`."""
    return None if moment is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
