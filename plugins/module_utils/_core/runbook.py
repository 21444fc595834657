# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module runs: one call, one result, domain errors turned into `fail_json` in one place."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run(module: AnsibleModule, stage: str, work: t.Callable[[], dict[str, t.Any]]) -> t.NoReturn:
    """Call `work`, which returns an envelope, and end the module with it.

    With `textfile_dir` set the outcomes are written for node_exporter, except in check mode.
    """
    try:
        result = work()
        textfile_dir = module.params.get("textfile_dir")
        if textfile_dir and not module.check_mode:
            from ansible_collections.sre.runbooks.plugins.module_utils._core import textfile

            textfile.write(textfile_dir, stage, result["outcomes"])
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
