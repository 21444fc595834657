# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page: which systems work, and which incidents are open; a small page for people outside (I6).

It names systems and incidents, never hosts, checks or messages of programs: it may stand where everybody reads it.
"""

from __future__ import annotations

import html
import json
import os
import re
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import RANKS
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import Matter

SCHEMA = "sre.runbooks.status/1"
STATES = ("operational", "degraded", "outage")
CLOSED_KEPT = 10
MODE = 0o644

Page = dict[str, t.Any]
"""What the page is made of: `problems` by kind and system, `incidents` by id, `since` by system."""

_OPTIONS = ("directory", "url", "title", "names", "systems")
_OF_INCIDENT = {"P1": "outage", "P2": "degraded", "P3": "degraded", "P4": "operational"}


def read_options(raw: Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Return the option `status_page` with nothing but what it may hold; raises InputError."""
    if raw is not None and not isinstance(raw, Mapping):
        raise InputError("status_page", type(raw).__name__, "is no mapping", "Write it as {directory: …}.")
    options = dict(raw or {})
    strange = sorted(str(each) for each in options if each not in _OPTIONS)
    if strange:
        raise InputError(
            "status_page", strange[0], "is no option of the status page", f"Use some of {', '.join(_OPTIONS)}."
        )
    url = options.get("url")
    if url and not re.match(r"https?://\S+$", str(url)):
        raise InputError(
            "status_page.url",
            "…",
            "is no address of the web",
            "Write it as https://…; the page is brought there by PUT.",
        )
    for name, kind in (("names", Mapping), ("systems", (list, tuple))):
        if options.get(name) is not None and not isinstance(options[name], kind):
            raise InputError(f"status_page.{name}", options[name], "has the wrong form", "See docs/notify.md.")
    return options if options.get("directory") or url else {}


def updated(before: Page, matters: Sequence[Matter], now: str) -> Page:
    """Return what the page is made of after `matters`; what a run did not look at stays as it was."""
    page: Page = {
        "problems": dict(before.get("problems", {})),
        "incidents": dict(before.get("incidents", {})),
        "states": dict(before.get("states", {})),
    }
    for matter in matters:
        if matter.incident:
            _put_incident(page["incidents"], matter, now)
            continue
        known: Mapping[str, str] = page["problems"].get(matter.key, {})
        left = {name: status for name, status in known.items() if not matter.covers(name)}
        page["problems"][matter.key] = {**left, **{name: each.status for name, each in matter.problems.items()}}
    systems = {key.partition(":")[2] for key in page["problems"]} | {
        each["system"] for each in page["incidents"].values()
    }
    for system in systems:
        state = _state(page, system)
        if page["states"].get(system, {}).get("state") != state:
            page["states"][system] = {"state": state, "since": now}
    return page


def _put_incident(incidents: dict[str, Page], matter: Matter, now: str) -> None:
    known = incidents.get(matter.id, {})
    state = "closed" if not matter.problems else matter.state
    incidents[matter.id] = {
        "system": matter.system,
        "type": matter.metadata.get("type", ""),
        "severity": matter.metadata.get("severity", "P4"),
        "state": state,
        "started": matter.started,
        "updated": now if known.get("state") != state else known.get("updated", now),
    }
    closed = sorted(
        (name for name, each in incidents.items() if each["state"] == "closed"),
        key=lambda name: incidents[name]["updated"],
    )
    for name in closed[:-CLOSED_KEPT]:
        del incidents[name]


def _state(page: Page, system: str) -> str:
    """An outage is measured as an incident; a run that finds something critical has found a weak point."""
    problems = [
        status
        for key, found in page["problems"].items()
        if key.partition(":")[2] == system
        for status in found.values()
    ]
    states = ["degraded" if any(RANKS[each] >= RANKS["critical"] for each in problems) else "operational"]
    states += [
        _OF_INCIDENT.get(each["severity"], "degraded")
        for each in page["incidents"].values()
        if each["system"] == system and each["state"] in ("open", "acknowledged")
    ]
    return max(states, key=STATES.index)


def document(page: Page, options: Mapping[str, t.Any], now: str) -> Page:
    """Return the page as a program reads it."""
    names = options.get("names") or {}
    wanted = options.get("systems")
    systems = [
        {"name": str(names.get(system, system)), **page["states"][system]}
        for system in sorted(page["states"])
        if wanted is None or system in wanted
    ]
    shown = [(name, each) for name, each in page["incidents"].items() if wanted is None or each["system"] in wanted]
    incidents = [
        {"id": name, **each, "system": str(names.get(each["system"], each["system"]))}
        for name, each in sorted(shown, key=lambda pair: (pair[1]["state"] == "closed", pair[1]["severity"], pair[0]))
    ]
    status = max((each["state"] for each in systems), key=STATES.index, default="operational")
    title = str(options.get("title") or "Status")
    return {
        "schema": SCHEMA,
        "title": title,
        "updated": now,
        "status": status,
        "systems": systems,
        "incidents": incidents,
    }


def write(made: Page, directory: str) -> None:
    """Write `status.json` and `index.html` into the folder `directory`, each whole or not at all. Raises InputError."""
    folder = Path(directory).expanduser().absolute()
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write(str(folder / "status.json"), (json.dumps(made, ensure_ascii=False, indent=1) + "\n").encode(), MODE)
        files.write(str(folder / "index.html"), render(made).encode(), MODE)
    except OSError as error:
        remedy = "It must be a folder on the controller that this user can write to, with free space."
        raise InputError(
            "status_page.directory", os.fspath(folder), f"cannot hold the page: {error.strerror}", remedy
        ) from error


def render(made: Page) -> str:
    """Return the page as one HTML file that requests nothing and runs nothing."""
    e = html.escape
    systems = "".join(
        f'<li class="{e(each["state"])}"><b>{e(each["name"])}</b> {e(each["state"])} <small>since {e(each["since"])}</small></li>'
        for each in made["systems"]
    )
    incidents = "".join(
        f"<li><b>{e(each['severity'])} {e(each['system'])} {e(each['type'])}</b> {e(each['state'])}"
        f" <small>{e(each['id'])}, started {e(each['started'])}, updated {e(each['updated'])}</small></li>"
        for each in made["incidents"]
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{e(made['title'])}: {e(made['status'])}</title><style>body{{font:1rem/1.5 sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem}}"
        ".operational{color:#176b2c}.degraded{color:#8a5a00}.outage{color:#b00020}</style>"
        f'<h1>{e(made["title"])}</h1><p class="{e(made["status"])}"><b>{e(made["status"])}</b>, as of {e(made["updated"])}</p>'
        f"<h2>Systems</h2><ul>{systems or '<li>none yet</li>'}</ul><h2>Incidents</h2><ul>{incidents or '<li>none</li>'}</ul></html>\n"
    )
