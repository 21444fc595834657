# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backup of what is about to be replaced, made and proven by the machinery that makes all backups.

Its copies have a folder of their own, so that the next restore of the latest copy does not take what this one replaced.
"""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

FOLDER = ".before-restore"
# Copies of what was there before: the last of them whatever their age, and all of a month.
RETENTION = {"keep_last": 3, "keep_within": "30d"}
LEVEL = "archive"


def directory(of_backups: str) -> str:
    """Where copies of what a restore replaces lie; it is a folder of backups itself, to restore from."""
    return os.path.join(of_backups, FOLDER)


def make(
    of_backups: str,
    source: t.Mapping[str, t.Any],
    seconds: float | None,
    recipients: t.Sequence[str],
    commands: Commands,
) -> dict[str, t.Any]:
    """Back up `source`, which has a name and an engine; return the outcome. RunbookError when there is no good copy."""
    options: dict[str, t.Any] = {
        "sources": [dict(source)],
        "directory": directory(of_backups),
        "verify": LEVEL,
        "retention": RETENTION,
        "limits": {} if seconds is None else {"seconds": f"{max(seconds, 0.001):.3f}s"},
    }
    if recipients:
        options["encryption"] = {"recipients": list(recipients)}
    validated = ArgumentSpecValidator(_settings.SPEC).validate(options)
    if validated.error_messages:
        raise RunbookError("; ".join(validated.error_messages))
    items, _secrets = _settings.items(options["sources"])
    jobs = _settings.jobs(validated.validated_parameters, items, commands)
    (outcome,) = _run.run(jobs, commands, False)["outcomes"]
    if outcome["status"] not in ("ok", "warning") or "path" not in outcome["details"]:
        raise RunbookError(outcome["summary"])
    return dict(outcome)
