# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gather a run from the variables of a play: on the controller, without templating what the hosts answered."""

from __future__ import annotations

import datetime
import functools
import json
import os
import secrets
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

try:
    import psutil
except ImportError as error:
    PSUTIL_MISSING: ImportError | None = error
else:
    PSUTIL_MISSING = None

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import (
    HostAnswer,
    Run,
    call_host,
    expected_stages,
    one_line,
)


def collect(task_vars: Mapping[str, t.Any], stages: Sequence[str], playbook: str, check_mode: bool) -> Run:
    """Return the run so far: every host of the play, answered or not, and every stage that its tags left in.

    `task_vars` are those of any task of a play with the same hosts as the stages.
    """
    expected = expected_stages(
        stages, task_vars.get("ansible_run_tags") or (), task_vars.get("ansible_skip_tags") or ()
    )
    hostvars = task_vars["hostvars"]
    started = run_started()
    return Run(
        id=f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        playbook=playbook,
        started=iso(started),
        finished=iso(datetime.datetime.now(datetime.UTC)),
        check_mode=check_mode,
        version=collection_version(),
        stages=expected,
        hosts=[answer_of(hostvars, str(name), expected) for name in task_vars["ansible_play_hosts_all"]],
    )


def answer_of(hostvars: t.Any, name: str, stages: Sequence[str]) -> HostAnswer:
    """Return what the host `name` answered in `stages`."""
    return call_host(name, system_of(hostvars, name), stages, registered_by(hostvars, name, stages))


def registered_by(hostvars: t.Any, name: str, stages: Sequence[str]) -> dict[str, t.Any]:
    """Return by stage what the host `name` registered, as it is.

    A stage's variable is `<stage>_result`; a role of several stages, such as incident, puts its own name before it.
    The stage's gate is heard as well, where it has one (M(sre.runbooks.window)).
    """
    variables = hostvars.raw_get(name)
    found = {}
    for stage in stages:
        for variable in (f"{stage}_result", f"incident_{stage}_result"):
            if variable in variables:
                found[stage] = variables[variable]
                break
        gate = variables.get(f"{stage}_window_result")
        if isinstance(gate, Mapping) and "begin" in gate:
            found.update(_gated(stage, found.get(stage), gate))
    return found


def _gated(stage: str, result: t.Any, gate: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what stands for a stage that its gate held back, or for one that began against its windows, by stage.

    A task that was left out registers that, so the gate's word comes before it.
    """
    if gate["begin"] is False:
        return {stage: gate}
    told = gate.get("outcomes")
    if not told or not isinstance(result, Mapping) or result.get("skipped") is True:
        return {}
    return {stage: {**result, "outcomes": [*told, *(result.get("outcomes") or [])]}}


def system_of(hostvars: t.Any, name: str) -> str:
    """Return the system that the host `name` belongs to; empty for none."""
    system = hostvars.raw_get(name).get("runbooks_system") or ""
    if isinstance(system, str) and "{{" in system:
        # The only variable that is templated: it comes from the inventory, and costs one look-up of one name.
        system = hostvars[name]["runbooks_system"]
    return one_line(system)


def run_started() -> datetime.datetime:
    """Return when the ansible-playbook process began, of which every worker that runs an action is a child."""
    if PSUTIL_MISSING is not None:
        raise RunbookError(
            "The Python package psutil is not installed. Install the collection's requirements.txt for the Python that runs ansible-playbook."
        )
    try:
        created = psutil.Process(os.getppid()).create_time()
    except psutil.Error as error:
        raise RunbookError(
            f"The start of the run cannot be told: process {os.getppid()} cannot be read ({error})."
        ) from error
    return datetime.datetime.fromtimestamp(created, tz=datetime.UTC)


def iso(moment: datetime.datetime) -> str:
    """Return `moment` (UTC) to the second, so that texts compare as times do."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@functools.cache
def collection_version() -> str:
    """Return the collection's version, from what an installed collection or a checkout has at its root."""
    root = Path(__file__).resolve().parents[2]
    manifest, source = root / "MANIFEST.json", root / "galaxy.yml"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    if source.is_file():
        for line in source.read_text(encoding="utf-8").splitlines():
            if line.startswith("version:"):
                return line.partition(":")[2].strip().strip("'\"")
    return "unknown"
