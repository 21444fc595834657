# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run out of many: what hosts recorded each for itself (C(ansible-pull)) or slice by slice (job slicing)."""

from __future__ import annotations

import datetime
import secrets
import typing as t
from collections.abc import Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import (
    collection_version,
    iso,
    run_started,
    system_of,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, HostAnswer, Run


def join(
    task_vars: Mapping[str, t.Any], history: History, playbook: str, joined: str, within: str, check_mode: bool
) -> Run:
    """Return a run of `playbook` with what every host of the play said in its newest run of `joined`.

    A host without one that ended in the last `within` is missing; hosts that the play does not name are left out.
    """
    seconds = units.duration(within, "joined_within")
    if playbook == joined:
        remedy = f"Give the joined runs a name of their own, such as fleet_{joined}."
        raise InputError("playbook", playbook, "is the name of the runs that are joined", remedy)
    now = datetime.datetime.now(datetime.UTC)
    since = iso(now - datetime.timedelta(seconds=seconds))
    found, stages = history.newest_answers(joined, since)
    started = run_started()
    hosts = [
        found.get(name) or _missing(name, system_of(task_vars["hostvars"], name), joined, within)
        for name in map(str, task_vars["ansible_play_hosts_all"])
    ]
    return Run(
        id=f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        playbook=playbook,
        started=iso(started),
        finished=iso(now),
        check_mode=check_mode,
        version=collection_version(),
        stages=stages,
        hosts=hosts,
    )


def _missing(name: str, system: str, joined: str, within: str) -> HostAnswer:
    summary = f"never ran: no run of {joined} was recorded in the last {within}"
    return HostAnswer(name, system, False, [outcome("host", ROLL_CALL, "critical", summary)])
