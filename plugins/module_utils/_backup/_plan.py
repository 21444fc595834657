# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions without side effects: is a backup due, which copies does retention keep and why, is a size odd.

Calendar buckets are those of `restic forget`: the newest copy of each of the last N hours, days, … in which there is one.
"""

from __future__ import annotations

import statistics
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import Copy
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

# Name of the option, format of the calendar bucket in UTC, what it is called.
BUCKETS = (
    ("keep_hourly", "%Y-%m-%d %H", "hour"),
    ("keep_daily", "%Y-%m-%d", "day"),
    ("keep_weekly", "%G-W%V", "week"),
    ("keep_monthly", "%Y-%m", "month"),
    ("keep_yearly", "%Y", "year"),
)
# How many copies the size of the newest is compared with.
COMPARED = 7


class Policy(t.NamedTuple):
    """How many copies are kept by each rule, 0 by none; `keep_within` in seconds before the newest copy."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: float = 0.0
    minimum_verified: int = 1


class Decision(t.NamedTuple):
    """What happens to one copy, and why."""

    copy: Copy
    keep: bool
    reason: str


class Due(t.NamedTuple):
    """Whether a backup has to be made, and why; `newest` is the newest good copy, which may be too old."""

    due: bool
    reason: str
    newest: Copy | None


def due(copies: t.Sequence[Copy], interval: float | None, level: str, now: float) -> Due:
    """A copy proven at `level` that is younger than `interval` seconds means nothing to do. Copies of the future never count."""
    newest = max((copy for copy in copies if copy.good(level) and copy.created <= now), key=_created, default=None)
    if newest is None:
        return Due(True, f"there is no backup verified as {level}", None)
    age = now - newest.created
    if interval is None:
        return Due(True, "no interval is given, so every run makes one", newest)
    if age < interval:
        return Due(
            False, f"the last good one is {show_duration(age)} old, the interval is {show_duration(interval)}", newest
        )
    return Due(
        True, f"the last good one is {show_duration(age)} old, the interval is {show_duration(interval)}", newest
    )


def retention(copies: t.Sequence[Copy], policy: Policy, level: str, now: float) -> list[Decision]:
    """Decide for each copy, newest first.

    A copy is deleted only when no rule and no pin keeps it and a newer one, proven at `level`, stays. Copies that failed their
    verification take nobody's place in a bucket.
    """
    ordered = sorted(copies, key=_created, reverse=True)
    reasons = _reasons([copy for copy in ordered if copy.created <= now and not copy.failed], policy)
    proven = [copy for copy in ordered if copy.created <= now and copy.good(level)]
    for number, copy in enumerate(proven[: policy.minimum_verified], start=1):
        reasons.setdefault(copy.path, []).append(f"verified {number} of {policy.minimum_verified}")
    for copy in ordered:
        if copy.pinned:
            reasons.setdefault(copy.path, []).append("pinned")
    decisions: list[Decision] = []
    outlived = False
    for copy in ordered:
        if copy.created > now:
            decisions.append(Decision(copy, True, "time stamp in the future: counts for nothing, remove it by hand"))
        elif copy.path in reasons:
            decisions.append(Decision(copy, True, ", ".join(reasons[copy.path])))
            outlived = outlived or copy.good(level)
        elif not outlived:
            decisions.append(Decision(copy, True, f"no newer copy verified as {level} outlives it"))
            outlived = outlived or copy.good(level)
        else:
            decisions.append(Decision(copy, False, "failed its verification" if copy.failed else "no rule keeps it"))
    return decisions


def _reasons(ordered: t.Sequence[Copy], policy: Policy) -> dict[str, list[str]]:
    """The rules that keep each copy, by its path."""
    reasons: dict[str, list[str]] = {}
    for number, copy in enumerate(ordered[: policy.keep_last], start=1):
        reasons.setdefault(copy.path, []).append(f"last {number} of {policy.keep_last}")
    for option, form, word in BUCKETS:
        limit: int = getattr(policy, option)
        seen: list[str] = []
        for copy in ordered:
            bucket = time.strftime(form, time.gmtime(copy.created))
            if len(seen) < limit and bucket not in seen:
                seen.append(bucket)
                reasons.setdefault(copy.path, []).append(f"{word} {bucket}")
    for copy in ordered:
        if policy.keep_within and ordered[0].created - copy.created < policy.keep_within:
            reasons.setdefault(copy.path, []).append(f"within {show_duration(policy.keep_within)}")
    return reasons


def odd_size(
    size: int, earlier: t.Sequence[Copy], minimum_size: int | None, shrink_limit: float | None, now: float
) -> str | None:
    """Why a copy of `size` bytes is suspiciously small, or None. `shrink_limit` is in percent of the median of the last."""
    if minimum_size is not None and size < minimum_size:
        return f"{show_size(size)} is less than minimum_size, {show_size(minimum_size)}"
    known = sorted((copy for copy in earlier if not copy.failed and copy.created <= now), key=_created)[-COMPARED:]
    if shrink_limit is None or not known:
        return None
    median = statistics.median(copy.size_bytes for copy in known)
    shrunk = 100.0 * (1.0 - size / median) if median else 0.0
    if shrunk <= shrink_limit:
        return None
    return f"{show_size(size)} is {shrunk:.0f} % less than the last {len(known)} had ({show_size(median)}), shrink_limit is {shrink_limit:g} %"


def expected_size(source_bytes: int, copies: t.Sequence[Copy], now: float) -> int:
    """Bytes that a copy may need: half as much again as the last one did, where there is one, else as much as the source."""
    newest = max((copy for copy in copies if copy.created <= now), key=_created, default=None)
    return source_bytes if newest is None else min(source_bytes, newest.size_bytes * 3 // 2)


def _created(copy: Copy) -> float:
    return copy.created
