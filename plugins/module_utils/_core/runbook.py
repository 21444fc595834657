# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module runs: one call, one result, domain errors turned into `fail_json` in one place."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sre.runbooks.plugins.module_utils._core import argspec, startup
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


class Module(AnsibleModule):
    """An AnsibleModule that repeats no option when it fails by itself.

    It refuses an option that is misspelt before anybody has read the entries of the others, in which passwords may stand.
    """

    def fail_json(self, msg: str, **more: t.Any) -> t.NoReturn:
        """End with this message; the options are repeated only where they are given."""
        more.setdefault("invocation", {"module_args": {}})
        super().fail_json(msg, **more)
        raise SystemExit(1)  # for those who read types: it has ended


def build(spec: t.Mapping[str, t.Any], **options: t.Any) -> AnsibleModule:
    """Make the AnsibleModule of a module with the common options and those of `spec`; check mode is supported.

    `no_log` keeps AnsibleModule from writing all options to the host's syslog: passwords may stand in lists of
    dictionaries whose shape is known only to a check type or an engine. The result is not touched by it.
    """
    return Module(argspec.merge(argspec.COMMON, spec), supports_check_mode=True, no_log=True, **options)


def run(
    module: AnsibleModule, stage: str, work: t.Callable[[], dict[str, t.Any]], conceal: t.Sequence[str] = ()
) -> None:
    """Call `work`, which returns an envelope, and end the module with it.

    With `textfile_dir` set the outcomes are written for node_exporter, except in check mode. The options named in
    `conceal` are not repeated in the result: they may hold secrets, and every host would send them back.
    """
    try:
        result = work()
        textfile_dir = module.params.get("textfile_dir")
        if textfile_dir and not module.check_mode:
            from ansible_collections.sre.runbooks.plugins.module_utils._core import textfile

            textfile.write(textfile_dir, stage, result["outcomes"])
    except RunbookError as error:
        module.fail_json(msg=str(error), invocation=_invocation(module, conceal))
    startup.leave()
    module.exit_json(**result, invocation=_invocation(module, conceal))


def _invocation(module: AnsibleModule, conceal: t.Sequence[str]) -> dict[str, t.Any]:
    shown = {name: value for name, value in module.params.items() if name not in conceal}
    return {"module_args": shown}
