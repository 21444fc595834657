# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Silences of Alertmanager (API v2) for exactly as long as a lease lasts.

A silence of ours is found again by `createdBy`, which names host and lease, and by its matchers. It ends by itself with the lease.
"""

from __future__ import annotations

import calendar
import contextlib
import email.utils
import json
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    **web.OPTIONS,
    "matchers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "str", "required": True},
            "regex": {"type": "bool", "default": False},
            "equal": {"type": "bool", "default": True},
        },
    },
    "timeout": {"type": "str", "default": "10s"},
}
BODY_BYTES = 16 << 20
CLOSE_SECONDS = 5.0

Options = t.Mapping[str, t.Any]


class Made(t.NamedTuple):
    """What became of it: whether anything was, or would be, changed, and one line."""

    changed: bool
    text: str


def check(options: dict[str, t.Any], where: str) -> None:
    """An address, and matchers of which one at least says what is meant."""
    try:
        web.refuse(options)
    except InputError as error:
        raise RunbookError(f"{where}.{error}") from error
    if not any(each["value"] and each["equal"] for each in options["matchers"]):
        raise InputError(
            f"{where}.matchers", options["matchers"], "would silence everything", "Name the host or the system."
        )
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")


def ensure(options: Options, mark: str, seconds: float, comment: str, dry: bool) -> Made:
    """One silence, and it ends in `seconds`; RunbookError when Alertmanager does not take it."""
    found, now = _mine(options, mark)
    ends = now + seconds
    kept = next((each for each in found if abs(_moment(each["endsAt"]) - ends) <= CLOSE_SECONDS), None)
    spare = [each for each in found if each is not (kept or found[0])]
    if kept and not spare:
        return Made(False, f"silence {kept['id']} until {kept['endsAt']}")
    if dry:
        return Made(True, "would silence alerts" if not found else "would extend the silence of alerts")
    for each in spare:
        _delete(options, each["id"])
    if kept:
        return Made(True, f"silence {kept['id']} until {kept['endsAt']}, {len(spare)} of ours more removed")
    body: dict[str, t.Any] = {
        "matchers": _matchers(options), "startsAt": found[0]["startsAt"] if found else _show(now), "endsAt": _show(ends),
        "createdBy": mark, "comment": comment,
    }  # fmt: skip
    if found:
        body["id"] = found[0]["id"]
    answer = json.loads(_asked(options, "POST", "/api/v2/silences", body)[0])
    return Made(True, f"silence {answer.get('silenceID', '')} until {_show(ends)}")


def expire(options: Options, mark: str, dry: bool) -> Made:
    """No silence of ours is left."""
    found, _now = _mine(options, mark)
    for each in found:
        if not dry:
            _delete(options, each["id"])
    return Made(bool(found), f"{len(found)} {'would be' if dry else 'was'} ended" if found else "none is there")


def _mine(options: Options, mark: str) -> tuple[list[dict[str, t.Any]], float]:
    """Those that are not over, the one that ends last first, and what time it is for Alertmanager: its clock counts."""
    text, date = _asked(options, "GET", "/api/v2/silences", None)
    parsed = email.utils.parsedate(date)
    wanted = _same(_matchers(options))
    found = [
        each
        for each in json.loads(text)
        if each.get("createdBy") == mark
        and each.get("status", {}).get("state") in ("active", "pending")
        and _same(each.get("matchers", [])) == wanted
    ]
    return sorted(found, key=_ends, reverse=True), float(calendar.timegm(parsed)) if parsed else time.time()


def _ends(silence: t.Mapping[str, t.Any]) -> float:
    return _moment(silence["endsAt"])


def _matchers(options: Options) -> list[dict[str, t.Any]]:
    return [
        {"name": each["name"], "value": each["value"], "isRegex": each["regex"], "isEqual": each["equal"]}
        for each in options["matchers"]
    ]


def _same(matchers: t.Iterable[t.Mapping[str, t.Any]]) -> list[tuple[str, str, bool, bool]]:
    return sorted((each["name"], each["value"], each["isRegex"], each.get("isEqual", True)) for each in matchers)


def _delete(options: Options, silence: str) -> None:
    _asked(options, "DELETE", f"/api/v2/silence/{silence}", None)


def _asked(options: Options, method: str, path: str, content: t.Mapping[str, t.Any] | None) -> tuple[bytes, str]:
    """The body and the date of an answer; RunbookError for any status but 200."""
    url = options["url"].rstrip("/") + path
    body = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"} if body is not None else {}
    deadline = time.monotonic() + options["timeout"]
    with web.ask({**options, "url": url}, deadline, method=method, body=body, headers=headers) as answer:
        text = answer.body(BODY_BYTES, "the answer is too large")
        if answer.status != 200:
            told = text.decode(errors="replace")
            with contextlib.suppress(ValueError):
                told = str(json.loads(told))
            raise RunbookError(f"{method} {web.shown(url)}: status {answer.status}: {told[:200]}")
        return text, answer.headers.get("date", "")


def _moment(text: str) -> float:
    """Seconds since 1970 of what Alertmanager writes, such as 2026-11-21T10:15:00.000Z."""
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def _show(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
