# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands first in a bundle: a page for a person, and the index."""

from __future__ import annotations

import json
import socket
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._spool import Part

VERSION = 1


class Collected(t.NamedTuple):
    """What became of one collector; `status` is ok, failed, timed_out or skipped."""

    name: str
    status: str
    reason: str
    seconds: float


def utc(when: float) -> str:
    """A time as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def manifest(
    head: t.Mapping[str, t.Any], collected: t.Sequence[Collected], parts: t.Sequence[Part], secrets: int
) -> bytes:
    """The index: every part with its size, sum, time, and what is wrong with it."""
    document = {
        "format": VERSION,
        **head,
        "host": socket.gethostname(),
        "secrets_removed": secrets,
        "collectors": {
            each.name: {"status": each.status, "reason": each.reason, "seconds": round(each.seconds, 3)} for each in collected
        },
        "parts": [
            {
                "name": part.name,
                "collector": part.collector,
                "size_bytes": part.size,
                "sha256": part.sha256,
                "seconds": round(part.seconds, 3),
                "truncated": part.truncated,
                "dropped_bytes": part.dropped,
                "error": part.problem or None,
                "note": part.note or None,
            }
            for part in parts
        ],
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def page(
    head: t.Mapping[str, t.Any],
    facts: t.Mapping[str, t.Any],
    differences: t.Sequence[str] | None,
    baseline: str,
    collected: t.Sequence[Collected],
    parts: t.Sequence[Part],
) -> bytes:
    """summary.md."""
    lines = [
        f"# Diagnostics of {socket.gethostname()}", "",
        *([f"Incident {head['incident']}, collected" if head["incident"] else "Collected"]),
        f"{head['created']}, covering the last {show_duration(head['since_seconds'])}. Nothing was changed before.",
        "`<secret-1>` stands for the same value in all files.", "",
    ]  # fmt: skip
    lines += ["## The host", "", *[f"- {each}" for each in _host(facts)], ""]
    lines += [
        f"## Different from the last healthy state ({baseline})" if differences is not None else "## No comparison",
        "",
    ]
    if differences is None:
        lines += [baseline, ""]
    else:
        lines += [*([f"- {each}" for each in differences] or ["Nothing that is compared."]), ""]
    wrong = [each for each in collected if each.status != "ok"]
    if wrong:
        lines += ["## Not collected", "", *[f"- {each.name}: {each.reason} ({each.status})" for each in wrong], ""]
    lines += ["## Files", "", "| file | size | remark |", "|---|---|---|"]
    lines += [f"| {part.name} | {show_size(part.size)} | {_remark(part)} |" for part in parts]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _host(facts: t.Mapping[str, t.Any]) -> list[str]:
    resources = facts.get("resources")
    if not resources:
        return ["its resources could not be read"]
    memory, swap = resources["memory"], resources["swap"]
    told = [
        f"load {resources['load1']} on {resources['cpus']} CPUs, up since {utc(resources['boot'])}",
        f"memory {show_size(memory['used_bytes'])} of {show_size(memory['total_bytes'])}",
        f"swap {show_size(swap['used_bytes'])} of {show_size(swap['total_bytes'])}",
    ]
    for name, disk in resources["disks"].items():
        told.append(f"disk {name}: {show_size(disk['used_bytes'])} of {show_size(disk['total_bytes'])}")
    failed = sorted(name for name, value in facts.get("services", {}).items() if value.startswith("failed"))
    return told + ([f"failed units: {', '.join(failed)}"] if failed else [])


def _remark(part: Part) -> str:
    told = [part.problem, part.note]
    if part.truncated:
        told.append(
            f"cut: the oldest {show_size(part.dropped)} left out" if part.dropped else "cut: the oldest left out"
        )
    return "; ".join(each for each in told if each).replace("|", "/").replace("\n", " ")
