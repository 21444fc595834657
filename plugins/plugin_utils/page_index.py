# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The index of all reports: the runs of the history, the newest first, with the files that the folder has of each."""

from __future__ import annotations

import collections
import os
import re
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.page import RUNS_IN_STRIP, Link, environment

LIMIT = 1000
"""Runs that the index shows: some two years of daily, weekly, monthly and quarterly ones."""

_KINDS = (
    (".html", "technical"),
    ("_executive.html", "executive"),
    (".md", "Markdown"),
    (".json", "JSON"),
    ("_outcomes.csv", "CSV"),
)
"""What the name of a run's file ends with, and what its link says."""


def file_stem(playbook: str) -> str:
    """Return what the names of a playbook's files begin with: its name without what a path or an address could mean."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", playbook).strip("-.") or "run"


def render_index(runs: Sequence[Mapping[str, t.Any]], total: int, folder: str, version: str) -> Iterator[str]:
    """Yield the index over `runs` (columns of the history, the newest first, LIMIT at most) of `total` recorded ones."""
    names = sorted({run["playbook"] for run in runs})
    present = _files(folder)
    rows = [
        {
            **run,
            "number": names.index(run["playbook"]) + 1,
            "links": present.get(f"{file_stem(run['playbook'])}_{run['id']}", []),
        }
        for run in runs
    ]
    stream = (
        environment()
        .get_template("page_index.html.j2")
        .stream(
            title="Reports of sre.runbooks",
            version=version,
            links=[],
            runs=rows,
            older=max(0, total - len(rows)),
            playbooks=names,
            latest=_latest(rows),
        )
    )
    stream.enable_buffering(200)
    yield from stream


def _files(folder: str) -> dict[str, list[Link]]:
    """Return text and name of the files of each run, in the order of the links; found with one look at the folder."""
    found: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for name in os.listdir(folder):
        # The longest ending first: the executive page ends with `.html` too.
        for ending, text in sorted(_KINDS, key=lambda pair: -len(pair[0])):
            if name.endswith(ending):
                found[name.removesuffix(ending)][text] = name
                break
    return {
        stem: [(text, by_text[text]) for _ending, text in _KINDS if text in by_text] for stem, by_text in found.items()
    }


def _latest(rows: Sequence[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the newest run of each playbook, with the runs before it, the oldest first."""
    by_playbook: dict[str, list[Mapping[str, t.Any]]] = collections.defaultdict(list)
    for row in rows:
        by_playbook[row["playbook"]].append(row)
    return [{**found[0], "history": found[:RUNS_IN_STRIP][::-1]} for found in by_playbook.values()]
