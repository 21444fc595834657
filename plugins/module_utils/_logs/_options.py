# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a scan, read and refused before anything is looked at."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _rules, _sources

_LIST = {"type": "list", "elements": "str"}
_TEXT = {"type": "str"}
_NAME = {"type": "str", "required": True}
_BOUND = {"type": "raw"}


def _elements(**options: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


SPEC: dict[str, t.Any] = {
    "sources": {
        **_elements(
            name=_NAME,
            path={"type": "path"},
            unit=_TEXT,
            container=_TEXT,
            format={"type": "str", "choices": ["auto", "plain", "json"], "default": "auto"},
            timestamp=_TEXT,
            zone={"type": "str", "default": "local"},
            warning=_BOUND,
            critical=_BOUND,
        ),
        "required": True,
    },
    "rules": {
        **_elements(
            name=_NAME,
            pattern=_NAME,
            field=_TEXT,
            exclude=_TEXT,
            sources=_LIST,
            per={"type": "str", "choices": ["count", "rate", "ratio"], "default": "count"},
            by=_TEXT,
            within=_TEXT,
            warning=_BOUND,
            critical=_BOUND,
            remedy=_TEXT,
        ),
        "default": [],
    },
    "codes": {
        **_elements(code=_NAME, meaning=_TEXT, remedy=_TEXT, sources=_LIST, warning=_BOUND, critical=_BOUND),
        "default": [],
    },
    "measures": {
        **_elements(
            name=_NAME,
            pattern=_TEXT,
            field=_TEXT,
            exclude=_TEXT,
            sources=_LIST,
            unit=_TEXT,
            warning={"type": "dict"},
            critical={"type": "dict"},
            remedy=_TEXT,
        ),
        "default": [],
    },
    "read": {"type": "str", "choices": ["window", "cursor"], "default": "window"},
    "window": {"type": "str", "default": "24h"},
    "from_start": {"type": "bool", "default": False},
    "samples": {"type": "int", "default": 3},
    "shapes": {"type": "str", "choices": ["off", "report", "warning"], "default": "report"},
    "redact_emails": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 600},
}


class Options(t.NamedTuple):
    """What to read and to look for. `window` and `timeout` are in seconds."""

    sources: list[_sources.Source]
    rules: list[_rules.Rule]
    measures: list[_rules.Measure]
    cursor: bool
    window: float
    from_start: bool
    samples: int
    shapes: str
    redact_emails: bool
    timeout: float


def read(given: t.Mapping[str, t.Any]) -> Options:
    """Read the module's options; `InputError` names what cannot be used."""
    sources = _sources.read(given["sources"])
    names = [each.name for each in sources]
    window = units.duration(given["window"], "window")
    if window <= 0:
        raise InputError("window", given["window"], "is no time", "Give a duration above 0, such as 24h.")
    if not 0 <= given["samples"] <= 50:
        raise InputError("samples", given["samples"], "is out of range", "Ask for 0 to 50 lines.")
    if not given["timeout"] > 0:
        raise InputError("timeout", given["timeout"], "is no time limit", "Give a number of seconds above 0.")
    return Options(
        sources,
        _rules.read_rules(given["rules"], given["codes"], names),
        _rules.read_measures(given["measures"], names),
        given["read"] == "cursor",
        window,
        given["from_start"],
        given["samples"],
        given["shapes"],
        given["redact_emails"],
        given["timeout"],
    )
