# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd and the container runtimes of the host know; each is asked once, and None or nothing where there is none."""

from __future__ import annotations

import json
import os
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

SECONDS = 10.0
# sd_booted(3): there while systemd is the system manager.
BOOTED = "/run/systemd/system"
_PROPERTIES = "Id,Names,LoadState,ActiveState,UnitFileState,FragmentPath,MainPID,Type"


class Unit(t.NamedTuple):
    """A service unit; `names` are its own and its aliases, `enabled` says that it starts by itself, `job` that it ends by itself."""

    name: str
    names: frozenset[str]
    active: bool
    enabled: bool
    path: str
    pid: int
    job: bool


def booted() -> bool:
    """Whether systemd runs this host."""
    return os.path.isdir(BOOTED)


def load_states(names: t.Sequence[str], commands: Commands) -> dict[str, str]:
    """systemd's LoadState of each unit, `not-found` for one that it does not know; nothing where there is no systemd."""
    if not booted() or not names:
        return {}
    text = commands.run(["systemctl", "show", "--property=LoadState", "--", *names], timeout=SECONDS).stdout
    states = [block.partition("=")[2].strip() for block in text.strip().split("\n\n")]
    return dict(zip(names, states))


def services(commands: Commands) -> list[Unit] | None:
    """Every service that systemd has loaded; None where there is no systemd."""
    if not booted():
        return None
    argv = ["systemctl", "show", "--all", f"--property={_PROPERTIES}", "--", "*.service"]
    return parse(commands.run(argv, timeout=SECONDS).stdout)


def parse(text: str) -> list[Unit]:
    """Read `systemctl show`: a block of `Property=value` lines for each unit."""
    found = []
    for block in text.strip().split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        if unit.get("LoadState") != "loaded":
            continue
        found.append(
            Unit(
                unit["Id"],
                frozenset(unit.get("Names", "").split()) | {unit["Id"]},
                unit.get("ActiveState") in ("active", "reloading", "activating"),
                unit.get("UnitFileState") in ("enabled", "enabled-runtime"),
                unit.get("FragmentPath", ""),
                int(unit.get("MainPID") or 0),
                unit.get("Type") == "oneshot",
            )
        )
    return sorted(found, key=_name)


def _name(unit: Unit) -> str:
    return unit.name


def containers(commands: Commands) -> dict[str, str] | None:
    """The running containers with the compose project of each, empty for none; None where there is no runtime."""
    found: dict[str, str] | None = None
    for runtime in ("podman", "docker"):
        if not shutil.which(runtime):
            continue
        try:
            text = commands.run([runtime, "ps", "--no-trunc", "--format", "{{json .}}"], timeout=SECONDS).stdout
        except RunbookError:
            continue
        found = found or {}
        for names, labels in listed(text):
            project = labels.get("com.docker.compose.project") or labels.get("io.podman.compose.project") or ""
            found.update(dict.fromkeys(names, project))
    return found


def listed(text: str) -> t.Iterator[tuple[list[str], dict[str, str]]]:
    """Names and labels of what `ps --format '{{json .}}'` prints: docker writes text with commas, podman lists and objects."""
    entries = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    for each in entries:
        names, labels = each["Names"], each.get("Labels") or {}
        if isinstance(labels, str):
            labels = dict(part.partition("=")[::2] for part in labels.split(","))
        yield names.split(",") if isinstance(names, str) else list(names), labels
