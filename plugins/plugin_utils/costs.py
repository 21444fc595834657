# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a period cost (R3), where the site says what a month of a host and of a GiB costs. Pure functions."""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t
from collections.abc import Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Figure, Moment, Statuses
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import Period

MONTH = 365.25 / 12 * 86400
GIB = 2**30
_REMEDY = "Write it as {currency: EUR, host: 40, backup_gib: 0.02, database_gib: 0.10}: prices of a month."
SIZE = "size_bytes"
_SIZES = {
    "backup_gib": ("backup", ("*",)),
    "database_gib": ("health", ("postgresql:*", "mysql:*", "sqlite:*")),
}
"""Stage and subjects whose size is paid for."""

_TITLES = {"host": ("hosts", "host"), "backup_gib": ("backups", "GiB"), "database_gib": ("databases", "GiB")}
Document = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Prices:
    """What a month of each thing costs."""

    currency: str
    months: Mapping[str, float]


def read_costs(raw: t.Any, option: str = "costs") -> Prices | None:
    """Read the option `costs`; None where it is empty. Raises InputError."""
    if not raw:
        return None
    if not isinstance(raw, Mapping) or not isinstance(raw.get("currency"), str) or not raw["currency"]:
        raise InputError(f"{option}.currency", raw, "is no currency", _REMEDY)
    months = {}
    for key, value in raw.items():
        if key == "currency":
            continue
        if key not in _TITLES:
            raise InputError(option, key, "is nothing that has a price", _REMEDY)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise InputError(f"{option}.{key}", value, "is no price", _REMEDY)
        months[str(key)] = float(value)
    return Prices(raw["currency"], months)


class Quantities:
    """Takes the figures of both periods' runs, and keeps of each what is paid for: the newest sizes, the most hosts."""

    def __init__(self, now: Mapping[int, Moment]) -> None:
        """Take the runs of this period by number; all others are of the one before."""
        self._now = now
        self._sizes: dict[tuple[str, str, bool], dict[str, tuple[int, float]]] = {}
        self.hosts: dict[tuple[str, bool], int] = {}

    def add(self, each: Figure | Statuses) -> None:
        """Take one figure."""
        if isinstance(each, Statuses) or each.metric != SIZE:
            return
        for kind, (stage, globs) in _SIZES.items():
            if each.stage == stage and any(fnmatch.fnmatchcase(each.subject, glob) for glob in globs):
                found = self._sizes.setdefault((each.system, kind, each.run in self._now), {})
                if found.get(each.subject, (-1, 0.0))[0] < each.run:
                    found[each.subject] = (each.run, each.total)

    def of(self, system: str, kind: str, now: bool) -> float | None:
        """Return how much of `kind` there was; None where nobody looked."""
        if kind == "host":
            return float(self.hosts[system, now]) if (system, now) in self.hosts else None
        found = self._sizes.get((system, kind, now))
        return sum(size for _run, size in found.values()) / GIB if found else None


def costs(prices: Prices | None, quantities: Quantities, systems: Mapping[str, str], period: Period) -> Document | None:
    """Return what the period cost beside the one before; `systems` are names as shown by names in the history."""
    if prices is None:
        return None
    rows: list[Document] = []
    for system, shown in sorted(systems.items(), key=lambda pair: pair[1]):
        for kind, price in prices.months.items():
            quantity, before = quantities.of(system, kind, True), quantities.of(system, kind, False)
            if quantity is not None:
                rows.append(
                    {
                        "system": shown,
                        "what": _TITLES[kind][0],
                        "quantity": round(quantity, 3),
                        "unit": _TITLES[kind][1],
                        "price": price,
                        "amount": round(quantity * price * period.seconds / MONTH, 2),
                        "before": None if before is None else round(before * price * period.before.seconds / MONTH, 2),
                    }
                )
    known = [each["before"] for each in rows if each["before"] is not None]
    return {
        "currency": prices.currency,
        "days": round(period.seconds / 86400, 2),
        "rows": rows,
        "total": round(sum(each["amount"] for each in rows), 2),
        "before": round(sum(known), 2) if known else None,
    }
