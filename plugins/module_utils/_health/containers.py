# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of podman or docker: those of a compose project, those named, or all."""

from __future__ import annotations

import calendar
import json
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("running", "restarting", "unhealthy")
OPTIONS: dict[str, t.Any] = {
    "runtime": {"type": "str", "choices": ["podman", "docker"]},
    "project": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {
    "running": {"critical": "< 1"},
    "restarting": {"warning": "> 0"},
    "unhealthy": {"critical": "> 0"},
}
INHERENT = True
PROJECT_LABELS = ("com.docker.compose.project", "io.podman.compose.project")
# podman has no state `restarting`: a container that its runtime has started anew within this time is in that state.
RESTARTED_SECONDS = 300


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A project, or names, or neither of them."""
    if options["project"] and options["names"]:
        raise InputError("names", options["names"], "cannot be given with project", "Make two checks of it.")
    if options["names"] is not None and not options["names"]:
        raise InputError("names", options["names"], "names no container", "Name at least one, or leave it out.")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """List the containers, then look at those asked for: two calls of the runtime."""
    runtime = options["runtime"] or ("podman" if shutil.which("podman") or not shutil.which("docker") else "docker")
    deadline = time.monotonic() + options["timeout"]

    def ask(*words: str) -> str:
        left = max(0.1, round(deadline - time.monotonic(), 1))
        done = host.commands.run([runtime, *words], timeout=left, check=False)
        # One that was listed may be gone when it is looked at; the others are told all the same.
        if done.rc and not (words[0] == "inspect" and "no such" in done.stderr.lower()):
            error = CommandFailed(runtime, done.rc, done.stderr, left)
            raise TargetDown(str(error)) if "daemon running?" in done.stderr else error
        return done.stdout

    listed = listing(ask("ps", "--all", "--no-trunc", "--format", "{{json .}}"))
    chosen = select([entry(each) for each in listed], options["project"], options["names"])
    wanted = f"of the project {options['project']}" if options["project"] else "on this host"
    found = json.loads(ask("inspect", "--type=container", *[each["id"] for each in chosen])) if chosen else []
    if not found and not options["names"]:
        return [Observation(dict.fromkeys(METRICS, 0), f"there is no container {wanted}")]
    ids = {each["Id"] for each in found}
    names = {name for each in chosen if each["id"] in ids for name in each["names"]}
    missing = [name for name in options["names"] or () if name not in names]
    return [summed(found, missing, bool(options["project"] or options["names"]), host.now)]


def listing(text: str) -> list[dict[str, t.Any]]:
    """What `ps --format '{{json .}}'` prints: an object a line (docker), or one list (podman)."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines()]


def entry(listed: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Id, names and labels of a line of `ps`: docker writes lists as text with commas, podman as JSON."""
    names, labels = listed["Names"], listed.get("Labels") or {}
    if isinstance(labels, str):
        labels = dict(part.partition("=")[::2] for part in labels.split(","))
    names = names.split(",") if isinstance(names, str) else names
    return {"id": listed.get("Id") or listed["ID"], "names": names, "labels": labels}


def select(
    entries: t.Sequence[dict[str, t.Any]], project: str | None, names: t.Sequence[str] | None
) -> list[dict[str, t.Any]]:
    """Those of a compose project, those named, or all."""
    if project:
        return [each for each in entries if project in [each["labels"].get(label) for label in PROJECT_LABELS]]
    if names is not None:
        return [each for each in entries if set(names) & set(each["names"])]
    return list(entries)


def summed(found: t.Sequence[t.Mapping[str, t.Any]], missing: t.Sequence[str], asked: bool, now: float) -> Observation:
    """Count; a container that was asked for (by name or project) and does not run is critical, unless it has done its job."""
    states = {each["Name"].lstrip("/"): state(each, now) for each in found}
    metrics = {
        "running": sum(each["running"] for each in states.values()),
        "restarting": sum(each["restarting"] for each in states.values()),
        "unhealthy": sum(each["unhealthy"] for each in states.values()),
    }
    stopped = [name for name, each in states.items() if each["stopped"]]
    problems = [f"{name}: there is no such container" for name in missing]
    problems += [f"{name} {each['text']}" for name, each in sorted(states.items()) if each["text"]]
    count = f"{metrics['running']} of {len(states) + len(missing)} containers run"
    status = "critical" if asked and (missing or stopped) else "ok"
    return Observation(metrics, "; ".join([count, *problems[:10]]), status)


def state(container: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """What `inspect` says of one container; `text` is empty where there is nothing to tell."""
    told = container["State"]
    status, code = told["Status"], told.get("ExitCode", 0)
    policy = (container.get("HostConfig", {}).get("RestartPolicy") or {}).get("Name") or "no"
    health = (told.get("Health") or told.get("Healthcheck") or {}).get("Status")
    started = seconds(told.get("StartedAt") or "")
    again = int(container.get("RestartCount") or 0)
    restarting = status == "restarting" or bool(again and started and now - started < RESTARTED_SECONDS)
    running = status == "running"
    done = status in ("exited", "stopped") and code == 0 and policy in ("no", "on-failure")
    texts = []
    if restarting:
        texts.append(f"was restarted {again} times, just now")
    if not running and not done:
        texts.append(f"is {status}" + (f" with status {code}" if status in ("exited", "stopped") else ""))
    if running and health == "unhealthy":
        texts.append("is unhealthy")
    return {
        "running": running, "restarting": restarting, "unhealthy": running and health == "unhealthy",
        "stopped": not running and not done and not restarting, "text": " and ".join(texts),
    }  # fmt: skip


def seconds(text: str) -> float | None:
    """Seconds since the epoch of `2026-11-21T05:52:16.3Z`; None for the year 1, which stands for never."""
    try:
        return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))) if text > "1971" else None
    except ValueError:
        return None
