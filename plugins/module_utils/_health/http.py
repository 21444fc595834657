# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP end points: status, body, JSON expectations, figures out of the JSON."""

from __future__ import annotations

import json
import math
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("response_seconds", "status_code")
EXPECT = {
    "status": {"type": "list", "elements": "int"},
    "json": {"type": "dict"},
    "contains": {"type": "str"},
    "matches": {"type": "str"},
}
OPTIONS: dict[str, t.Any] = {
    **web.OPTIONS,
    "method": {"type": "str", "default": "GET"},
    "body": {"type": "raw", "no_log": True},
    "expect": {"type": "dict", "options": EXPECT},
    "values": {"type": "dict", "default": {}},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# A health document is small; more than this is not read (64 MiB is the bound on a module's memory, B9).
BODY_LIMIT = 4 * 2**20
# No other check goes on while an expression is searched for.
MATCH_SECONDS = 0.5


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """What makes no request at all."""
    web.refuse(options)
    if not re.fullmatch(web.WORD, options["method"]):
        raise InputError("method", options["method"], "is no method of HTTP", "Write one word, such as GET.")
    expect = options["expect"] or {}
    if expect.get("matches"):
        pattern.compiled(expect["matches"], "expect.matches")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Make one request. `response_seconds` runs from the first byte sent to the last byte of the body."""
    expect = options["expect"] or {}
    started = time.monotonic()
    status, body = _fetch(options, started + options["timeout"])
    metrics: dict[str, float] = {"response_seconds": round(time.monotonic() - started, 6), "status_code": status}
    unmet = _unmet(expect, status, body, host)
    if options["values"] or expect.get("json"):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            unmet.append("the body is no JSON")
        else:
            metrics.update(_values(options["values"], document))
            unmet.extend(_unlike(expect.get("json") or {}, document))
    if unmet:
        return [Observation(metrics, f"{web.shown(options['url'])}: {'; '.join(unmet)}", "critical")]
    summary = f"{options['method']} answered {status} in {show_duration(metrics['response_seconds'])}"
    return [Observation(metrics, summary)]


def _fetch(options: t.Mapping[str, t.Any], deadline: float) -> tuple[int, bytes]:
    """Return status and body; `TargetDown` when there is no whole answer before `deadline`.

    A health check asks the service itself, not a proxy.
    """
    given, headers = options["body"], {}
    if isinstance(given, (dict, list)):
        given = json.dumps(given)
        headers["Content-Type"] = "application/json"
    elif given is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    data = None if given is None else str(given).encode()
    wanted = (options["expect"] or {}).get("status") or ()
    with web.ask(options, deadline, method=options["method"], body=data, headers=headers, stop=wanted) as answer:
        return answer.status, answer.body(BODY_LIMIT, f"the body is larger than {show_size(BODY_LIMIT)}")


def _values(paths: t.Mapping[str, t.Any], document: t.Any) -> dict[str, float]:
    """The figures that stand at `paths`; one that is missing or no number is left out."""
    found = {name: _number(web.find(document, str(path))) for name, path in paths.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: t.Any) -> float | None:
    """Numbers, booleans as 0 and 1, and texts that are a number. NaN is none: it would be past no bound, ever."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _unmet(expect: t.Mapping[str, t.Any], status: int, body: bytes, host: Host) -> list[str]:
    """What status and text should have been and were not."""
    wanted = expect.get("status") or [200]
    unmet = []
    if status not in wanted:
        unmet.append(f"status is {status}, expected {' or '.join(map(str, wanted))}")
    text = body.decode("utf-8", "replace") if expect.get("contains") or expect.get("matches") else ""
    if expect.get("contains") and expect["contains"] not in text:
        unmet.append(f"the body does not contain {expect['contains']!r}")
    if expect.get("matches") and not host.aside(lambda: _search(expect["matches"], text)):
        unmet.append(f"the body does not match {expect['matches']!r}")
    return unmet


def _search(expression: str, text: str) -> bool:
    """Whether the user's expression is in `text`; `TooSlow` when it would take for ever."""
    return bool(pattern.search(pattern.compiled(expression, "expect.matches"), text, "expect.matches", MATCH_SECONDS))


def _unlike(wanted: t.Mapping[str, t.Any], document: t.Any) -> list[str]:
    """What the JSON should have held and did not."""
    unlike = []
    for path, value in wanted.items():
        actual = web.find(document, str(path))
        if actual != value or isinstance(actual, bool) != isinstance(value, bool):
            unlike.append(f"{path} is {json.dumps(actual)[:80]}, expected {json.dumps(value)}")
    return unlike
