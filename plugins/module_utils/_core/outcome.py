# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The envelope: what every module returns.

Shape and order of the statuses come from docs/architecture.md, "The envelope".
"""

from __future__ import annotations

import typing as t

STATUSES = ("ok", "skipped", "unknown", "warning", "critical")


def worst(statuses: t.Iterable[str]) -> str:
    """Return the worst of `statuses`; nothing looked at is `skipped`, not `ok`."""
    ranks = [STATUSES.index(status) for status in statuses]
    return STATUSES[max(ranks)] if ranks else "skipped"


def outcome(
    subject: str,
    stage: str,
    status: str,
    summary: str,
    *,
    metrics: t.Mapping[str, float] | None = None,
    details: t.Mapping[str, t.Any] | None = None,
    pending: bool = False,
) -> dict[str, t.Any]:
    """Build one outcome.

    `summary` is one line for a person, `metrics` are numbers in Prometheus base units, `details` is small JSON without
    secrets. `pending` says that a bound with `for` is passed, but not yet for long enough.
    """
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
    result: dict[str, t.Any] = {
        "subject": subject,
        "stage": stage,
        "status": status,
        "summary": " ".join(summary.split()),
        "metrics": {name: value for name, value in (metrics or {}).items() if value is not None},
        "details": dict(details or {}),
    }
    if pending:
        result["pending"] = True
    return result


def envelope(outcomes: t.Sequence[t.Mapping[str, t.Any]], changed: bool = False, **extra: t.Any) -> dict[str, t.Any]:
    """Wrap `outcomes` as a module's result: `changed`, `status` (the worst), `outcomes`, and what `extra` adds."""
    return {
        "changed": changed,
        "status": worst(each["status"] for each in outcomes),
        "outcomes": list(outcomes),
        **extra,
    }
