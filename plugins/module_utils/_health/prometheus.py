# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The value of a PromQL query, of each series that it gives."""

from __future__ import annotations

import json
import math
import time
import typing as t
from urllib.parse import urlencode

from ansible_collections.sre.runbooks.plugins.module_utils._core import web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("value",)
OPTIONS: dict[str, t.Any] = {**web.OPTIONS, "query": {"type": "str", "required": True}}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
# Read, JSON takes ten times its length in memory.
BODY_LIMIT = 2**20
# Each series is an outcome; a query of more has forgotten to aggregate.
SERIES_LIMIT = 100


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """The address is the server's, to which the path of its interface is added."""
    web.refuse(options)
    if "?" in options["url"] or "#" in options["url"]:
        raise InputError(
            "url",
            options["url"],
            "is no address of a Prometheus server",
            "Write it without ? and #, such as http://host:9090.",
        )
    if not options["query"].strip():
        raise InputError("query", options["query"], "asks nothing", "Write an expression of PromQL.")


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Ask once, at the server's own time."""
    asked = urlencode({"query": options["query"], "timeout": f"{options['timeout']:g}s"})
    url = f"{options['url'].rstrip('/')}/api/v1/query?{asked}"
    with web.ask(options, time.monotonic() + options["timeout"], url=url) as answer:
        status, body = answer.status, answer.body(BODY_LIMIT, f"the answer is larger than {show_size(BODY_LIMIT)}")
    try:
        document = json.loads(body)
        told = document.get("error") if status != 200 else None
    except (ValueError, RecursionError, AttributeError):
        document, told = None, None
    if status >= 500:
        raise TargetDown(f"{options['url']}: status is {status}{f': {told}' if told else ''}")
    if status != 200 or not isinstance(document, dict):
        raise RunbookError(f"{options['url']}: {told or f'status is {status}, the answer is none of Prometheus'}")
    return observations(document, options["query"])


def observations(document: t.Mapping[str, t.Any], query: str) -> list[Observation]:
    """Read the answer; RunbookError when it gives no values, for what is not known must never pass for good."""
    try:
        kind, result = document["data"]["resultType"], document["data"]["result"]
        if kind == "scalar":
            return [_seen(result[1], "")]
        if kind != "vector":
            raise RunbookError(f"query: {query!r} gives a {kind}. Write one that gives a scalar or an instant vector.")
        seen = [
            _seen(each.get("value", (0, "a histogram"))[1], _name(each["metric"])) for each in result[:SERIES_LIMIT]
        ]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise RunbookError(f"the answer is none of Prometheus: {type(error).__name__}: {error}") from error
    if not seen:
        raise RunbookError(f"query: {query!r} gives no series: what it asks for is not there")
    if len(result) > SERIES_LIMIT:
        text = f"the query gives {len(result)} series, {len(result) - SERIES_LIMIT} were not looked at. Aggregate it."
        seen.append(Observation({}, text, "unknown", "(others)", about=()))
    return seen


def _name(labels: t.Mapping[str, str]) -> str:
    """A series as PromQL writes it, its labels in a fixed order."""
    inner = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{inner}}}" if inner else "")


def _seen(text: str, target: str) -> Observation:
    """NaN and infinity are past no bound or past any: neither tells anything."""
    what = target or "the value"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        return Observation({}, f"{what} is {text}", "unknown", target)
    return Observation({"value": value}, f"{what} is {value:g}", target=target)
