# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of one service of a compose project: docker compose, or podman-compose."""

from __future__ import annotations

import os
import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import containers
from ansible_collections.sre.runbooks.plugins.module_utils._scaling._target import Options, Work

OPTIONS: dict[str, t.Any] = {
    "project": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "str", "required": True},
    "command": {"type": "list", "elements": "str"},
    "runtime": {"type": "str", "choices": ["podman", "docker"]},
    "run_as": {"type": "str"},
    "stop_within": {"type": "str", "default": "30s"},
    "start_within": {"type": "str", "default": "3m"},
}
PODMAN_COMPOSE = "podman-compose"
NUMBER = "com.docker.compose.container-number"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LIST_SECONDS = 30.0


def check(options: dict[str, t.Any], where: str) -> None:
    """Names, whole paths, a program, times."""
    for name in ("project", "service"):
        if not _NAME.fullmatch(options[name]):
            raise InputError(
                f"{where}.{name}", options[name], "is no name", "Use letters, digits, dots, dashes and underscores."
            )
    if not options["files"]:
        raise InputError(f"{where}.files", [], "names no file", "Name the compose file.")
    for path in options["files"]:
        if not path.startswith("/"):
            raise InputError(f"{where}.files", path, "is no absolute path", "Begin it with a slash.")
    if options["command"] is not None and not (options["command"] and options["command"][0].strip()):
        raise InputError(
            f"{where}.command", options["command"], "names no program", "Leave it out, or write [docker, compose]."
        )
    for name in ("stop_within", "start_within"):
        options[name] = units.duration(options[name], f"{where}.{name}")


def running(options: Options, work: Work) -> list[int]:
    """The numbers that compose gave to the containers that run."""
    return sorted(_containers(options, work))


def more(options: Options, work: Work, running: t.Sequence[int], count: int) -> None:
    """Compose starts what is missing; what runs is not made anew, and no other service is touched."""
    compose = _compose(options)
    wanted = len(running) + count
    if os.path.basename(compose[0]) == PODMAN_COMPOSE:
        # It starts the numbers up to the one given, whatever runs besides.
        wanted = next(number for number in range(1, wanted + 1) if len({*range(1, number + 1), *running}) >= wanted)
    files = [part for path in options["files"] for part in ("-f", path)]
    argv = [*compose, *files, "-p", options["project"], "up", "-d", "--no-deps", "--no-recreate"]
    argv += ["--scale", f"{options['service']}={wanted}", options["service"]]
    _run(argv, options, work, options["start_within"])


def fewer(options: Options, work: Work, running: t.Sequence[int], count: int) -> None:
    """The containers with the highest numbers get their signal to stop and `stop_within`; the runtime kills one that takes longer."""
    found = _containers(options, work)
    for number in sorted(found)[-count:][::-1]:
        seconds = options["stop_within"]
        _run([_runtime(options), "stop", "-t", f"{seconds:.0f}", found[number]], options, work, seconds + LIST_SECONDS)
        _run([_runtime(options), "rm", found[number]], options, work, LIST_SECONDS)


def _containers(options: Options, work: Work) -> dict[int, str]:
    """The ids of the service's containers that run, by number."""
    argv = [_runtime(options), "ps", "--no-trunc", "--format", "{{json .}}"]
    listed = containers.listing(_run(argv, options, work, LIST_SECONDS))
    found: dict[int, str] = {}
    for each in containers.select([containers.entry(each) for each in listed], options["project"], None):
        labels = each["labels"]
        if labels.get("com.docker.compose.service") != options["service"]:
            continue
        if not str(labels.get(NUMBER, "")).isdecimal():
            raise RunbookError(
                f"the container {each['names'][0]} has no number (label {NUMBER}), so that compose cannot have made it to be scaled"
            )
        found[int(labels[NUMBER])] = each["id"]
    return found


def _runtime(options: Options) -> str:
    if options["runtime"]:
        return str(options["runtime"])
    return "podman" if shutil.which("podman") or not shutil.which("docker") else "docker"


def _compose(options: Options) -> list[str]:
    if options["command"]:
        return list(options["command"])
    return [PODMAN_COMPOSE] if _runtime(options) == "podman" else ["docker", "compose"]


def _run(argv: t.Sequence[str], options: Options, work: Work, seconds: float) -> str:
    target = command.Target(run_as=options["run_as"])
    return work.commands.run(argv, target=target, timeout=work.seconds(seconds)).stdout
