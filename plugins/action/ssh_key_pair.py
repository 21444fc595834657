# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key pair on the controller. Documented in plugins/modules/ssh_key_pair.py."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state
from ansible_collections.sre.runbooks.plugins.module_utils._keys._journal import Journal
from ansible_collections.sre.runbooks.plugins.plugin_utils import ssh_heard, ssh_keyring, ssh_pair
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.test.reachable import reachable

LOCK_SECONDS = 60.0


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.ssh_key_pair)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "stage": {"type": "str", "choices": ["status", "create", "decide", "finish"], "default": "status"},
        "private_key": {"type": "str", "required": True, "no_log": False},
        "name": {"type": "str", "default": "automation"},
        "run": {"type": "str", "default": ""},
        "actor": {"type": "str", "default": ""},
        "force": {"type": "bool", "default": False},
        "compromised": {"type": "bool", "default": False},
        "max_age": {"type": "str", "default": "180d"},
        "overlap": {"type": "str", "default": "24h"},
        "state_dir": {"type": "path"},
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        hostvars = task_vars["hostvars"]
        hosts = [str(name) for name in task_vars["ansible_play_hosts_all"]]
        away = [host for host in hosts if not reachable(host, hostvars)]
        heard = ssh_heard.heard(hostvars.raw_get, hosts)
        heard = heard._replace(lost=heard.lost | frozenset(away))
        skipped = [host for host in hosts if host not in away and _skipped(hostvars.raw_get(host))]
        path, age, overlap = ssh_pair.checked(arguments["private_key"], arguments["max_age"], arguments["overlap"])
        asked = ssh_keyring.Asked(
            path, arguments["name"], arguments["run"], arguments["force"], arguments["compromised"], age, overlap,
            tuple(str(name) for name in task_vars["groups"]["all"]), tuple(host for host in hosts if host not in skipped),
            bool(task_vars.get("ansible_limit")),
        )  # fmt: skip
        return act(arguments["stage"], asked, heard, arguments["state_dir"], arguments["actor"], self._task.check_mode)


def _skipped(variables: t.Any) -> bool:
    result = variables.get("__ssh_keys_status_result")
    return isinstance(result, t.Mapping) and result.get("skipped") is True


def act(
    stage: str, asked: ssh_keyring.Asked, heard: ssh_heard.Heard, state_dir: str | None, actor: str, check: bool
) -> dict[str, t.Any]:
    """Do one stage; the result has `facts`, by which the stages on hosts go."""
    folder = state.directory(state_dir)
    if check:
        return _done(stage, asked, heard, Journal(folder, "ssh_pairs", asked.run, actor, True), True)
    with lock.hold(folder, "ssh_pairs", LOCK_SECONDS):
        return _done(stage, asked, heard, Journal(folder, "ssh_pairs", asked.run, actor, False), False)


def _done(
    stage: str, asked: ssh_keyring.Asked, heard: ssh_heard.Heard, journal: Journal, check: bool
) -> dict[str, t.Any]:
    pair = ssh_pair.Pair(asked, journal, check)
    if stage == "status":
        told = pair.status()
    elif stage == "create":
        told = pair.create(heard)
    elif stage == "decide":
        told = pair.decide(heard)
    else:
        told = pair.finish(heard)
    metrics = {"age_seconds": round(pair.age(), 3)}
    outcomes = [outcome.outcome(f"key:{asked.name}", "ssh_keys", told.status, told.summary, metrics=metrics)]
    return outcome.envelope(outcomes, told.changed, facts=pair.facts())
