# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages as a tired person reads them: what, where, why it matters, where the runbook is; as text, Markdown and HTML (I6).

Every text that comes from a host or an inventory passes the redaction of log lines before it becomes part of a message.
"""

from __future__ import annotations

import html
import re
import typing as t
from collections.abc import Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._logs._redact import redact
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import (
    Matter,
    Problem,
    Step,
    problems_of,
    worst,
)

LISTED = 10
"""Problems that a message lists; the report has them all."""

TITLE_LENGTH = 150
TEXT_LENGTH = 300

Message = dict[str, t.Any]

_LABELS = {
    "resolve": "RESOLVED",
    "remind": "STILL",
    "acknowledge": "ACKNOWLEDGED",
    "stable": "STABLE",
    "escalate": "ESCALATED",
}
_WHY = {
    "critical": "Something does not work, or data is not protected.",
    "warning": "It works, and will not for long if nobody looks.",
    "unknown": "Nobody knows whether it works.",
}
_PAGERDUTY = {
    "critical": "critical", "warning": "warning", "unknown": "error", "P1": "critical", "P2": "error", "P3": "warning", "P4": "info",
}  # fmt: skip
_TYPES = {"critical": "failure", "P1": "failure", "P2": "failure"}

Line = tuple[str, str]
"""A heading (empty: none) and its text."""


def message(matter: Matter, step: Step, level: str = "", report: str = "") -> Message:
    """Return the message of `step`: plain data without any URL of a contact.

    `report` is the address of the run's report, `level` the level that an incident is escalated to.
    """
    names = [name for name in step.told if name != "state"]
    status = worst([step.told[name] for name in names])
    problems = list(problems_of(matter, names))
    title = _title(matter, step, status, problems, level)
    lines = _lines(matter, step, status, problems, report)
    rows = [] if matter.incident else _rows(step, problems, matter)
    return {
        "event": step.event,
        "key": matter.key,
        "kind": matter.kind,
        "status": status,
        "title": title,
        "text": _text(lines, rows),
        "markdown": _markdown(lines, rows),
        "html": _html(lines, rows),
        "type": "success" if step.event == "resolve" else _TYPES.get(status, "warning"),
        "severity": _PAGERDUTY.get(status, "info"),
        "source": _shown(", ".join(sorted({each.host for each in problems})) or matter.system, TEXT_LENGTH),
        "link": _link(matter.link) or _link(report),
        # What a program reads: values of a webhook, details of an alert.
        "fields": {
            "event": step.event, "key": matter.key, "kind": matter.kind, "id": matter.id, "status": status, "system": matter.system,
            "started": matter.started, **{name: _shown(value, TEXT_LENGTH) for name, value in matter.metadata.items() if value},
        },
    }  # fmt: skip


def _title(matter: Matter, step: Step, status: str, problems: Sequence[Problem], level: str) -> str:
    label = _LABELS.get(step.event, status.upper())
    if step.event == "remind":
        label = f"STILL {status.upper()}"
    elif step.event in ("escalate", "acknowledge", "stable"):
        label = f"{status.upper()} {label}" + (f" TO {level.upper()}" if level and step.event == "escalate" else "")
    system = "" if matter.system == "no system" else f"{matter.system} "
    what = f"{system}{matter.metadata.get('type', 'incident')}" if matter.incident else f"{system}{matter.kind}"
    return _shown(f"[{label}] {what}: {_headline(matter, step, problems)}", TITLE_LENGTH)


def _headline(matter: Matter, step: Step, problems: Sequence[Problem]) -> str:
    if step.event == "resolve":
        return f"incident {matter.id} is closed" if matter.incident else "everything that was reported is well again"
    if not problems:
        return "what was reported goes on"
    first = problems[0]
    if matter.incident:
        return f"{first.summary} ({matter.id})"
    if len(problems) == 1:
        return f"{first.subject} on {first.host}: {first.summary}"
    hosts = len({each.host for each in problems})
    where = f"{hosts} hosts" if hosts > 1 else first.host
    return f"{len(problems)} problems on {where}, first {first.subject} on {first.host}: {first.summary}"


def _lines(matter: Matter, step: Step, status: str, problems: Sequence[Problem], report: str) -> list[Line]:
    lines: list[Line] = []
    if step.event == "resolve":
        lines.append(("What", _headline(matter, step, problems)))
    elif matter.incident:
        lines += [("What", each.summary) for each in problems]
        lines += [("Hosts", each.host) for each in problems if each.host]
        lines.append(("Severity", status))
    why = matter.why or next((each.why for each in problems if each.why), "") or _WHY.get(status, "")
    link = matter.link or next((each.link for each in problems if each.link), "")
    if step.event != "resolve":
        lines.append(("Why it matters", why))
    shown_apart = ("type", "severity", "hosts")
    lines += [(name, value) for name, value in matter.metadata.items() if name not in shown_apart]
    lines += [("System", matter.system), ("Runbook", _link(link)), ("Report", _link(report))]
    lines.append(("Started", _moment(matter.started)))
    lines.append(("Incident" if matter.incident else "Run", matter.id))
    return [(name, _shown(value, TEXT_LENGTH)) for name, value in lines if value]


def _rows(step: Step, problems: Sequence[Problem], matter: Matter) -> list[tuple[str, str, str, str]]:
    """Status, host, subject, and the rest of each problem; then what is over or not listed, with an empty status."""
    ordered = sorted(problems, key=lambda each: not any(matter.problems.get(name) is each for name in step.fresh))
    rows = [
        (each.status, each.host, f"{each.stage} {each.subject}", f"{each.summary} (since {_moment(each.since)})")
        for each in ordered[:LISTED]
    ]
    if len(problems) > LISTED:
        rows.append(("", "", "", f"and {len(problems) - LISTED} more"))
    elsewhere = len(step.told) - ("state" in step.told) - len(problems)
    if elsewhere > 0:
        rows.append(("", "", "", f"{elsewhere} known before, not looked at in this run"))
    for name in sorted(step.over)[:LISTED]:
        host, stage, subject = name.split("\t")[:3]
        rows.append(("well again", host, f"{stage} {subject}", ""))
    return [t.cast("tuple[str, str, str, str]", tuple(_shown(part, TEXT_LENGTH) for part in row)) for row in rows]


def _text(lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> str:
    listed = [
        "- " + " ".join(part for part in (status, host, subject) if part) + _after(status, rest)
        for status, host, subject, rest in rows
    ]
    return "\n".join([*listed, *([""] if listed else []), *(f"{name}: {value}" for name, value in lines)])


def _after(status: str, rest: str) -> str:
    return (f": {rest}" if status else rest) if rest else ""


def _markdown(lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> str:
    # In code spans nothing that a host says is markup, mentions somebody, or becomes a link.
    listed = [
        "- "
        + " ".join(
            [*([f"**{status}**"] if status else []), *(f"`{_code(part)}`" for part in (host, subject, rest) if part)]
        )
        for status, host, subject, rest in rows
    ]
    told = [f"**{name}:** {value if name in ('Runbook', 'Report') else f'`{_code(value)}`'}  " for name, value in lines]
    return "\n".join([*listed, *([""] if listed else []), *told])


def _code(text: str) -> str:
    return text.replace("`", "'")


def _html(lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> str:
    listed = "".join("<tr>" + "".join(f"<td>{html.escape(part)}</td>" for part in row) + "</tr>" for row in rows)
    told = "".join(f"<p><b>{html.escape(name)}:</b> {_linked(name, value)}</p>" for name, value in lines)
    return (f'<table cellpadding="4">{listed}</table>' if listed else "") + told


def _linked(name: str, value: str) -> str:
    shown = html.escape(value)
    return f'<a href="{shown}">{shown}</a>' if name in ("Runbook", "Report") else shown


def _link(text: str) -> str:
    """Return an address that may stand in a message: of the web, in one piece, without user and password."""
    found = re.fullmatch(r"(https?://)(?:[^/@\s]*@)?([^\s<>\"'`]+)", text.strip())
    return found[1] + found[2] if found else ""


def _shown(text: str, length: int) -> str:
    return " ".join(redact(str(text).replace("\n", " ").replace("\t", " "), length).split())


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:16]} UTC" if len(text) == 20 and text.endswith("Z") else text
