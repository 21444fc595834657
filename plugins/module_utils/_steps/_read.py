# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a step said, by what is expected of it: the status of a Nagios plugin, a JSON document, or its success alone."""

from __future__ import annotations

import json
import math
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, plugin
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

# A shorter value, such as `1`, is no secret; blotting it would take the figures out of every sentence.
SHORTEST_SECRET = 4
SUMMARY_LENGTH = 500
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


class Ended(t.NamedTuple):
    """A program that ended by itself: exit status, the first part of its outputs, and the values that are not to be told."""

    name: str
    rc: int
    stdout: str
    stderr: str
    secrets: t.Collection[str]


def said(ended: Ended, expect: str) -> plugin.Said:
    """Read what it said; no value of `secrets` is in what comes back."""
    secrets = sorted((each for each in ended.secrets if len(each) >= SHORTEST_SECRET), key=len, reverse=True)
    hidden = ended._replace(stdout=plugin.hidden(ended.stdout, secrets), stderr=plugin.hidden(ended.stderr, secrets))
    if expect == "json":
        told = _document(ended, hidden)
    elif expect == "success":
        told = _success(hidden)
    else:
        told = plugin.said(hidden.name, hidden.rc, hidden.stdout, hidden.stderr)
        if not hidden.stdout.strip() and _last(hidden.stderr):
            # A traceback has at its end what happened.
            told = told._replace(summary=_last(hidden.stderr))
    details = dict(told.details)
    if told.status != "ok" and hidden.stderr.strip():
        details["error_output"] = hidden.stderr.strip()[-plugin.LONG_TEXT :]
    # A JSON may have written a secret in another way.
    figures = {plugin.hidden(name, secrets): value for name, value in told.figures.items()}
    return plugin.Said(told.status, plugin.hidden(told.summary, secrets)[:SUMMARY_LENGTH], figures, details)


def _success(ended: Ended) -> plugin.Said:
    """Anything but 0 is a failure, as with a program that knows nothing of us."""
    text = _last(ended.stdout) or _last(ended.stderr)
    details: dict[str, t.Any] = {"exit_code": ended.rc}
    if ended.stdout.strip():
        details["output"] = ended.stdout.strip()[-plugin.LONG_TEXT :]
    if ended.rc == 0:
        return plugin.Said("ok", text or "done", {}, details)
    text = _last(ended.stderr) or text or "no output"
    return plugin.Said("critical", f"{ended.name} {_how(ended.rc)}: {text}", {}, details)


def _document(ended: Ended, hidden: Ended) -> plugin.Said:
    """The whole output is a JSON, or else its last line; the exit status can only make it worse."""
    try:
        document = _parse(ended.stdout)
    except RunbookError as error:
        # What stands there may hold secrets, so it is told from the text that has none.
        text = _last(hidden.stderr) or _last(hidden.stdout) or "no output"
        how = f"{_how(ended.rc)}; " if ended.rc else ""
        return plugin.Said("critical", f"{ended.name} {how}{error}: {text}", {}, {"exit_code": ended.rc})
    status, summary, figures = document
    by_exit = plugin.STATUSES.get(ended.rc, "unknown")
    details: dict[str, t.Any] = {"exit_code": ended.rc}
    if outcome.worst([status, by_exit]) != status:
        status, summary = by_exit, f"{ended.name} {_how(ended.rc)}, its document says {status}: {summary}"
    return plugin.Said(status, summary, figures, details)


def _parse(text: str) -> tuple[str, str, dict[str, float]]:
    lines = text.strip().splitlines()
    document = None
    for candidate in (text, lines[-1] if lines else ""):
        try:
            document = json.loads(candidate)
            break
        except (ValueError, RecursionError):
            continue
    if not isinstance(document, dict):
        raise RunbookError("wrote no JSON object")
    status = str(document.get("status", "")).lower()
    if status not in outcome.STATUSES:
        raise RunbookError(f"wrote a JSON whose status is none of {', '.join(outcome.STATUSES)}")
    summary = document.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        raise RunbookError("wrote a JSON without a text as its summary")
    return status, summary, _figures(document.get("metrics") or {})


def _figures(metrics: t.Any) -> dict[str, float]:
    if not isinstance(metrics, dict) or len(metrics) > plugin.METRIC_LIMIT:
        raise RunbookError(f"wrote a JSON whose metrics are no object of at most {plugin.METRIC_LIMIT} numbers")
    for name, value in metrics.items():
        usable = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not _METRIC.fullmatch(name) or not usable or abs(value) > 1e300 or not math.isfinite(value):
            raise RunbookError("wrote a JSON in whose metrics not all are a name and a finite number")
    return dict(metrics)


def _how(rc: int) -> str:
    return f"was ended by signal {-rc}" if rc < 0 else f"ended with status {rc}"


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
