# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All audits of a host, one after the other, as outcomes: one that cannot look keeps no other from it."""

from __future__ import annotations

import fnmatch
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import Context, Finding, Looked
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome, worst

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._audit._settings import Accepted, Audit
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host

STAGE = "security_audit"
# What a person reads, and what stays in the history; metrics have the numbers of all.
SHOWN = 5
KEPT = 50


def run(audits: t.Sequence[Audit], host: Host, state_dir: str) -> dict[str, t.Any]:
    """Return the envelope; nothing is ever changed."""
    return envelope([each for audit in audits for each in _outcomes(audit, host, state_dir)])


def _outcomes(audit: Audit, host: Host, state_dir: str) -> list[dict[str, t.Any]]:
    about = {"audit": audit.name, "type": audit.type}
    try:
        seen: t.Sequence[Looked] = audit.kind.look(audit.options, Context(host, state_dir, audit.timeout))
    except InputError:
        raise
    except (RunbookError, OSError) as error:
        status = "critical" if isinstance(error, TargetDown) else "unknown"
        return [outcome(audit.subject(), STAGE, status, f"could not be looked at: {_told(error)}", details=about)]
    return [judge(audit, each, host.now) for each in seen]


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the host'}: {error.strerror or error}"
    return str(error)


def judge(audit: Audit, seen: Looked, now: float) -> dict[str, t.Any]:
    """One outcome of what was found about one thing; what is accepted is told, and does not count."""
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    loud: list[Finding] = []
    accepted: list[dict[str, str]] = []
    for finding in seen.findings:
        by = _by(finding, audit.accepted, today)
        if by is None:
            loud.append(finding)
        else:
            accepted.append({"id": finding.id, "reason": by.reason})
    loud.sort(key=_worst_first)
    status = worst(["ok", *(["unknown"] if seen.unknown else []), *(each.status for each in loud)])
    texts = [each.text for each in loud[:SHOWN]]
    if len(loud) > SHOWN:
        texts.append(f"and {len(loud) - SHOWN} more")
    parts = [*texts, *([seen.unknown] if seen.unknown else []), seen.summary]
    if accepted:
        parts.append(f"{len(accepted)} accepted")
    details: dict[str, t.Any] = {"audit": audit.name, "type": audit.type, **seen.details}
    if loud:
        details["findings"] = [each._asdict() for each in loud[:KEPT]]
    if accepted:
        details["accepted"] = accepted[:KEPT]
    metrics = {"findings": len(loud), "accepted": len(accepted), **seen.metrics}
    return outcome(
        audit.subject(seen.target),
        STAGE,
        status,
        "; ".join(part for part in parts if part),
        metrics=metrics,
        details=details,
    )


def _by(finding: Finding, accepted: t.Sequence[Accepted], today: str) -> Accepted | None:
    for each in accepted:
        if fnmatch.fnmatchcase(finding.id, each.id) and (not each.until or today <= each.until):
            return each
    return None


def _worst_first(finding: Finding) -> tuple[bool, str]:
    return finding.status != "critical", finding.id
