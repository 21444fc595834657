# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says of recovery: for each database the newest good copy and the last measured restore, beside the targets."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Outcome, one_line

STAGES = ("verify", "backup", "backup_info")
"""Stages whose outcomes say it under C(details.recovery); where several speak of one database, the first of these counts."""

_TEXTS = ("created", "level", "proven", "measured")
_NUMBERS = ("target_time_seconds", "target_point_seconds")

Row = dict[str, t.Any]


def rows(hosts: Iterable[HostAnswer]) -> list[Row]:
    """Return one row for each database of `hosts`, the worst first. What a host says is taken as text and numbers alone."""
    found: dict[tuple[str, str], tuple[int, Row]] = {}
    for host in hosts:
        for each in host.outcomes:
            said = each["details"].get("recovery")
            if each["stage"] not in STAGES or not isinstance(said, Mapping):
                continue
            key, rank = (host.name, each["subject"]), STAGES.index(each["stage"])
            if key not in found or rank < found[key][0]:
                found[key] = rank, _row(host.name, each, said)
    return sorted(
        (row for _rank, row in found.values()),
        key=lambda row: (-STATUSES.index(row["status"]), row["host"], row["subject"]),
    )


def _row(host: str, outcome: Outcome, said: Mapping[str, t.Any]) -> Row:
    row: Row = {
        "host": host,
        "subject": outcome["subject"],
        "point_seconds": _number(outcome["metrics"].get("recovery_point_seconds")),
        "time_seconds": _number(outcome["metrics"].get("recovery_time_seconds")),
    }
    row.update({name: one_line(said[name]) if isinstance(said.get(name), str) else None for name in _TEXTS})
    row.update({name: _number(said.get(name)) for name in _NUMBERS})
    return {"status": _status(row), **row}


def _status(row: Row) -> str:
    """Critical without a good copy; a warning past a target, or with a promised time that no restore has shown."""
    if row["point_seconds"] is None:
        return "critical"
    for measured, target in (("time_seconds", "target_time_seconds"), ("point_seconds", "target_point_seconds")):
        if row[target] is not None and (row[measured] is None or row[measured] > row[target]):
            return "warning"
    return "ok"


def _number(value: t.Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
