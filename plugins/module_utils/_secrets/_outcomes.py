# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outcomes of a scan: what lies open, and who can read files with secrets (K4)."""

from __future__ import annotations

import collections
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, units
from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _tally
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import STAGE

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._engine import Engine
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import Scan

_MOST_UNSCANNED = 20
_EXPOSED = "Revoke or rotate each of them, then remove it from the file. What is none goes to the baseline (write_baseline) or to allow."
_OPEN = "Take the right to read from others (chmod 600), or name the group in groups when its members need it."


def of(scan: Scan, tally: _tally.Tally, show: int, engine: Engine | None, problem: str) -> list[dict[str, t.Any]]:
    """The outcomes; `problem` says why no engine could be used."""
    outcomes = [_secrets(scan, tally, show, engine, problem)]
    if scan.world_readable:
        outcomes.append(_secret_files(scan, tally, show))
    return outcomes


def _secrets(scan: Scan, tally: _tally.Tally, show: int, engine: Engine | None, problem: str) -> dict[str, t.Any]:
    found = tally.shown()
    severities = [_tally.severity(each.kind) for each in found]
    problems = [*([problem] if problem else []), *tally.problems]
    if tally.stopped:
        problems.append(f"not all files were reached: {tally.stopped}. Raise it, or exclude what need not be looked at")
    if tally.unscanned and not problem:
        problems.append(_unscanned(tally))
    status = outcome.worst(
        ["ok", *severities, *(["unknown"] if problems else []), *(["warning"] if tally.beyond else [])]
    )
    details: dict[str, t.Any] = {
        "findings": [
            {"file": text(each.path), "line": each.line, "kind": each.kind, "severity": _tally.severity(each.kind)}
            for each in found[:show]
        ]
    }
    if len(found) > show:
        details["not_shown"] = len(found) - show
    if found:
        details["remedy"] = _EXPOSED
    if engine is not None:
        details["engine"] = f"{engine.kind} {engine.version}"
    if tally.unscanned:
        details["not_scanned"] = [
            {"file": text(path), "reason": reason} for path, reason in sorted(tally.unscanned.items())[:_MOST_UNSCANNED]
        ]
    if tally.notes:
        details["notes"] = tally.notes
    return outcome.outcome(
        f"secrets:{scan.name}", STAGE, status, "; ".join([_told(tally, severities), *problems]), metrics=_metrics(tally, severities), details=details
    )  # fmt: skip


def _told(tally: _tally.Tally, severities: t.Sequence[str]) -> str:
    seen = f"{tally.scanned} files looked at ({units.show_size(tally.read_bytes)}), {tally.unchanged} as they were when they were clean"
    if not severities:
        return f"nothing found; {seen}"
    found = tally.shown()
    kinds = collections.Counter(each.kind for each in found).most_common(5)
    places = len({each.path for each in found})
    return f"{len(found)} credentials lie open in {places} files ({', '.join(f'{kind} {count}' for kind, count in kinds)}); {seen}"


def _unscanned(tally: _tally.Tally) -> str:
    path, reason = min(tally.unscanned.items())
    others = f" and {len(tally.unscanned) - 1} others" if len(tally.unscanned) > 1 else ""
    return f"not looked at: {text(path)} ({reason}){others}"


def _metrics(tally: _tally.Tally, severities: t.Sequence[str]) -> dict[str, float]:
    return {
        "findings": len(severities) + tally.beyond,
        "critical_findings": list(severities).count("critical"),
        "baseline_findings": tally.quiet,
        "allowed_findings": tally.allowed,
        "kept_findings": tally.kept,
        "files": tally.files,
        "scanned_files": tally.scanned,
        "unchanged_files": tally.unchanged,
        "binary_files": tally.binary,
        "unscanned_files": len(tally.unscanned),
        "read_bytes": tally.read_bytes,
        "duration_seconds": round(tally.seconds, 3),
    }


def _secret_files(scan: Scan, tally: _tally.Tally, show: int) -> dict[str, t.Any]:
    found = sorted(tally.readable.values(), key=_by_severity)
    status = outcome.worst(["ok", *(each.severity for each in found)])
    details: dict[str, t.Any] = {
        "files": [
            {"file": text(each.path), "mode": each.mode, "owner": each.owner, "group": each.group, "by": each.by, "severity": each.severity}
            for each in found[:show]
        ]
    }  # fmt: skip
    if len(found) > show:
        details["not_shown"] = len(found) - show
    if found:
        details["remedy"] = _OPEN
        first = found[0]
        summary = f"{len(found)} of {tally.guarded} files with secrets can be read by others, {text(first.path)} by {first.by}"
    else:
        summary = f"{tally.guarded} files with secrets, none readable by others"
    if tally.stopped or tally.problems or any(reason for reason in tally.unscanned.values() if "denied" in reason):
        status = outcome.worst([status, "unknown"])
        summary += "; not all files were reached"
    metrics = {
        "secret_files": tally.guarded,
        "world_readable": sum(each.severity == "critical" for each in found),
        "group_readable": sum(each.severity == "warning" for each in found),
    }
    return outcome.outcome(f"secret_files:{scan.name}", STAGE, status, summary, metrics=metrics, details=details)


def _by_severity(each: t.Any) -> tuple[str, str]:
    return each.severity, each.path


def text(path: str) -> str:
    """A path that JSON can hold."""
    return os.fsencode(path).decode("utf-8", "replace")
