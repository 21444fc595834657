# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An admin API: one request switches the mode on, one off, one tells how it is."""

from __future__ import annotations

import json
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Options, Work

OPTIONS: dict[str, t.Any] = {
    **web.OPTIONS,
    "on_method": {"type": "str", "default": "POST"},
    "on_body": {"type": "dict", "no_log": True},
    "off_method": {"type": "str", "default": "DELETE"},
    "off_body": {"type": "dict", "no_log": True},
    "off_url": {"type": "str"},
    "look_url": {"type": "str"},
    "look_at": {"type": "str", "default": "maintenance"},
    "look_on": {"type": "str", "default": "true"},
    "status": {"type": "list", "elements": "int", "default": [200, 201, 202, 204]},
    "timeout": {"type": "str", "default": "10s"},
}
BODY_BYTES = 1 << 20


def check(options: dict[str, t.Any], where: str) -> None:
    """The addresses, and the time that a request has."""
    for name in ("url", "off_url", "look_url"):
        if options[name] is None:
            continue
        try:
            web.refuse({**options, "url": options[name]})
        except InputError as error:
            raise RunbookError(f"{where}.{str(error).replace('url:', name + ':', 1)}") from error
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")
    if options["timeout"] <= 0:
        raise InputError(f"{where}.timeout", 0, "is no time", "Give more than 0 seconds.")


def target(options: Options) -> str:
    """The address."""
    return f"http {web.shown(options['url'])}"


def look(options: Options, work: Work) -> bool | None:
    """What the answer has at `look_at`; with that empty nobody can know."""
    if not options["look_at"]:
        return None
    url = options["look_url"] or options["url"]
    text = _asked(options, "GET", url, None, work)
    try:
        found = web.find(json.loads(text), options["look_at"])
    except ValueError as error:
        raise RunbookError(
            f"GET {web.shown(url)}: the answer is no JSON. Correct look_url, or set look_at to nothing."
        ) from error
    if found is None:
        raise RunbookError(f"GET {web.shown(url)}: the answer has no {options['look_at']}. Correct look_at.")
    told = json.dumps(found) if isinstance(found, bool) else str(found)
    return bool(told.lower() == options["look_on"].lower())


def turn(options: Options, on: bool, work: Work) -> str:
    """Ask for it."""
    which = "on" if on else "off"
    url = options["url"] if on else options["off_url"] or options["url"]
    body = options[f"{which}_body"]
    _asked(options, options[f"{which}_method"], url, body, work)
    return f"{options[f'{which}_method']} {web.shown(url)}"


def _asked(options: Options, method: str, url: str, content: t.Mapping[str, t.Any] | None, work: Work) -> bytes:
    deadline = time.monotonic() + work.seconds(options["timeout"])
    body = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"} if body is not None else {}
    given = {**options, "url": url}
    with web.ask(given, deadline, method=method, body=body, headers=headers) as answer:
        text = answer.body(BODY_BYTES, "the answer is too large")
        if answer.status not in options["status"]:
            raise RunbookError(f"{method} {web.shown(url)}: status {answer.status}")
        return text
