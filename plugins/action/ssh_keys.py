# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One stage of the rotation of an SSH key on a host; what needs the private key is done here, on the controller."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _lines
from ansible_collections.sre.runbooks.plugins.plugin_utils import ssh_proof


class ActionModule(ActionBase):
    """The action C(sre.runbooks.ssh_keys)."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        stage = arguments.get("stage", "status")
        if stage == "prove":
            return {**result, **self._prove(arguments, variables)}
        result.update(self._execute_module(module_args=arguments, task_vars=variables))
        if stage == "revoke" and not self._task.check_mode and isinstance(result.get("report"), dict):
            self._prove_dead(result, arguments, variables)
        return result

    def _prove(self, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            mark = _lines.fingerprint(_lines.public(str(arguments.get("key") or ""), "key")[1])
        except InputError as error:
            return {"failed": True, "msg": str(error)}
        private = str(Path(str(arguments.get("private_key") or "")).expanduser())
        if not arguments.get("private_key"):
            return {
                "failed": True,
                "msg": "private_key: is needed for the stage prove. Name its file on the controller.",
            }
        report: dict[str, t.Any] = {"seen": True, "proven": "", "problem": "", "away": False}
        if not Path(private).is_file():
            report["problem"] = f"{private} is gone: another rotation has taken over. Run again"
            return self._envelope(arguments, "warning", report["problem"], report)
        answer = self._second(private, arguments, variables)
        if answer.opened == mark:
            report["proven"] = mark
            return self._envelope(arguments, "ok", f"{mark} proven by a connection of its own", report)
        report["away"] = answer.away
        report["problem"] = answer.problem or f"opened by {answer.opened} and not by {mark}"
        text = f"{mark} does not open this host: {report['problem']}"
        return self._envelope(arguments, "warning" if answer.away else "critical", text, report)

    def _prove_dead(self, result: dict[str, t.Any], arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> None:
        """A key that was removed must be refused; what it opens yet, another file or certificate authority allows."""
        if result["report"].get("problem"):
            return
        for private in arguments.get("dead") or []:
            if not Path(private).is_file():
                continue
            answer = self._second(private, arguments, variables)
            if answer.refused:
                continue
            status = "critical" if answer.opened else "unknown"
            told = (
                f"the key {answer.opened}, which is over, still opens this host. Look for other files of keys (AuthorizedKeysFile of sshd)."
                if answer.opened
                else f"a key that is over cannot be proven dead: {answer.problem}"
            )
            result["outcomes"] = [{**each, "status": status, "summary": told} for each in result["outcomes"]]
            result["status"] = status

    def _second(self, private: str, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> ssh_proof.Answer:
        keys = self._task.dump_attrs()
        keys.pop("retries", None)
        keys["timeout"] = self._play_context.timeout
        options = ssh_proof.options_of(variables, self._templar.template)
        return ssh_proof.connect(self._play_context, keys, options, private, arguments.get("user"))

    def _envelope(
        self, arguments: dict[str, t.Any], status: str, summary: str, report: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        user = arguments.get("user") or self._play_context.remote_user or ""
        subject = f"key:{arguments.get('name', 'automation')}@{user}"
        return outcome.envelope([outcome.outcome(subject, "ssh_keys", status, summary)], False, report=report)
