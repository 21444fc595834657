# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The draft of a post-mortem, as Markdown and as a page: what is on record, and the questions that only people can answer."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import typing as t
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import make_private_folder
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_gather import FIRST, LOOKING
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import (
    DETECT_SECONDS,
    RESOLVE_SECONDS,
    Event,
    Incident,
    seconds,
    timings,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import _clean

FILE_MODE = 0o640
FINDINGS = 50
LINES = 500
SUFFIXES = {"markdown": "md", "html": "html"}
Document = dict[str, t.Any]


@dataclasses.dataclass
class Written:
    """What was written: path by format, checksum by path; and why something was not."""

    paths: dict[str, str] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    trouble: str = ""


def write_drafts(
    incident: Incident, events: Sequence[Event], formats: Iterable[str], directory: str, targets: tuple[float, float]
) -> Written:
    """Write the drafts `formats` below `directory`. A draft that people have written in is left alone: the new one lies beside."""
    written = Written()
    folder = Path(directory).expanduser().absolute()
    document = make_document(incident, events, *targets)
    try:
        make_private_folder(folder)
        for name in formats:
            text = render(document, name).encode("utf-8", "replace")
            path = _free(folder / f"{incident.id}.{SUFFIXES[name]}", incident)
            files.write(str(path), text, FILE_MODE)
            written.paths[name] = str(path)
            written.digests[str(path)] = hashlib.sha256(text).hexdigest()
    except (OSError, RunbookError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        written.trouble = f"the post-mortem cannot be written to {folder}: {reason}"
    return written


def _free(path: Path, incident: Incident) -> Path:
    """Return `path`, or where somebody else wrote it, the name of a new draft beside it."""
    with contextlib.suppress(FileNotFoundError):
        if files.sha256(str(path)) != incident.drafts.get(str(path)):
            return path.with_name(f"{path.stem}.new{path.suffix}")
    return path


def render(document: Document, name: str) -> str:
    """Return the draft as `markdown` or `html`."""
    page = name == "html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        # Markdown is escaped by `plain`, which knows its signs.
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = _markdown
    template = environment.get_template("incident.html.j2" if page else "incident.md.j2")
    return str(template.render(document=document, duration=duration, clock=_clock, day=_day))


def make_document(
    incident: Incident, events: Sequence[Event], detect: float = DETECT_SECONDS, resolve: float = RESOLVE_SECONDS
) -> Document:
    """Return what the drafts are made from; texts are without control characters."""
    # Actions were begun before they were recorded.
    shown = sorted((each for each in events if each.kind != "postmortem"), key=lambda each: (each.at, each.number))
    outcomes = [event for event in shown if event.kind == "outcome"]
    found = timings(incident, detect, resolve)
    bad = [
        event for event in outcomes if event.stage in (*FIRST, "roll_call") and event.status not in ("ok", "skipped")
    ]
    bad.sort(key=lambda event: (-STATUSES.index(event.status), event.number))
    over = incident.stable or incident.closed
    first = incident.started or incident.detected
    document: Document = {
        "incident": {name: _cleaned(value) for name, value in dataclasses.asdict(incident).items()},
        "timings": found,
        "began": first,
        "impact_seconds": seconds(first, over) if over else None,
        "findings": [_row(event) for event in bad[:FINDINGS]],
        "findings_more": max(0, len(bad) - FINDINGS),
        "actions": [
            _row(event) for event in outcomes if event.stage not in (*LOOKING, "diagnostics", "roll_call", "notify")
        ],
        "evidence": [_row(event) for event in shown if event.kind == "evidence"],
        "told": [_row(event) for event in shown if event.kind == "told"],
        "severities": [_row(event) for event in shown if event.kind == "severity"],
        "timeline": [_row(event) for event in shown if _tells(event)][:LINES],
        "partial": not any(event.kind == "opened" for event in shown),
    }
    document["timeline_more"] = max(0, sum(map(_tells, shown)) - LINES)
    document["questions"] = _questions(incident, document)
    return document


def _tells(event: Event) -> bool:
    """Whether the time line shows `event`; what a stage found is in its own line, and in the findings."""
    return event.kind != "outcome" or event.stage not in LOOKING or event.status == "critical"


def _row(event: Event) -> Document:
    texts = {
        name: _clean(getattr(event, name))
        for name in ("at", "kind", "actor", "host", "stage", "subject", "status", "summary", "run")
    }
    path, digest = str(event.details.get("path", "")), str(event.details.get("sha256", ""))
    text = event.details.get("text")
    return {
        **texts,
        "path": _clean(path),
        "sha256": _clean(digest),
        "text": _lines(text) if isinstance(text, str) else [],
    }


def _cleaned(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return _clean(value)
    return [_cleaned(each) for each in value] if isinstance(value, (list, tuple)) else value


def _lines(text: str) -> list[str]:
    return [_clean(line) for line in text.splitlines()] if "\n" in text else []


def _questions(incident: Incident, document: Document) -> list[str]:
    """Return what people have to fill in: what is always asked, and what this incident gives reason to ask."""
    found = document["timings"]
    asked = [
        "What was the root cause, and which evidence shows it?",
        "Who noticed what of it, and what could they not do?",
    ]
    if found["detect_seconds"] is None:
        asked.append("When did it begin? No check knew; without that the time to detect is not known.")
    elif not found["detect_within"]:
        asked.append(
            f"Why was it detected only after {duration(found['detect_seconds'])}? Which check would have seen it earlier?"
        )
    if found["resolve_within"] is False:
        asked.append(
            f"Why did it take {duration(found['resolve_seconds'])} until it was stable? What would have been faster?"
        )
    if any(row["status"] == "critical" for row in document["actions"]):
        asked.append("Why did actions fail, and should the runbook try them at all?")
    if any(row["status"] not in ("ok", "skipped") for row in document["told"]):
        asked.append("Why could contacts not be told, and who was to be told in their place?")
    if incident.reopened:
        asked.append("It came back: what was repaired the first time, and what was not?")
    if incident.stable and not incident.verified:
        asked.append("It was called stable without proof: what shows that it is well?")
    return [
        *asked,
        "What went well, and what was luck?",
        "What will be done so that it does not happen again, by whom, until when?",
    ]


def _markdown(value: t.Any) -> str:
    """Return `value` so that Markdown shows it as it is, also in a cell of a table."""
    text = re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", _clean(str(value)))
    text = re.sub(r"^([-+=~])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


def _clock(text: str) -> str:
    return text[11:19] if len(text) == 20 else text


def _day(text: str) -> str:
    return text[:10] if len(text) == 20 else text
