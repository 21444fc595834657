# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kind of audit is.

A module beside this one with
  OPTIONS   argument spec of its own options
  look(options, context) -> list of Looked, at least one; RunbookError or OSError for what cannot be looked at
and, where its options need more than their types,
  refuse(options, where)  raises InputError, before the first audit begins
Nothing is changed by an audit, and what it looks at is never executed with more rights than its owner has.
"""

from __future__ import annotations

import glob
import os
import pwd
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import HERE, Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host


class Context(t.NamedTuple):
    """What a kind may use: the host as checks see it, the state folder, and the seconds that one audit has."""

    host: Host
    state_dir: str
    timeout: float


class Finding(t.NamedTuple):
    """One thing that should not be so. `id` is what `accepted` is held against: a path, an advisory, a setting."""

    id: str
    status: str
    text: str


class Looked(t.NamedTuple):
    """What was found about one thing; `target` tells several of one audit apart.

    `summary` says what was looked at. `unknown` says what could not be: such an audit is never `ok`.
    """

    findings: t.Sequence[Finding]
    summary: str
    target: str = ""
    metrics: t.Mapping[str, float] = {}
    details: t.Mapping[str, t.Any] = {}
    unknown: str = ""


def places(patterns: t.Sequence[str], where: str) -> list[str]:
    """What is there of shell patterns, each once; RunbookError when a pattern matches nothing, which would pass for ever."""
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise RunbookError(f"{where}: {pattern} matches nothing on this host. Correct it, or remove the audit.")
        found.update(dict.fromkeys(matches))
    return list(found)


def some(options: t.Mapping[str, t.Any], names: t.Sequence[str], where: str) -> None:
    """Refuse an audit that looks at nothing."""
    if not any(options[name] for name in names):
        raise InputError(f"{where}.{names[0]}", options[names[0]], "names nothing", f"Give {' or '.join(names)}.")


def absolute(options: t.Mapping[str, t.Any], names: t.Sequence[str], where: str) -> None:
    """Refuse paths that depend on the folder in which the module happens to run."""
    for name in names:
        for path in options[name]:
            if not os.path.isabs(path):
                raise InputError(f"{where}.{name}", path, "is no absolute path", "Write it from the root on.")


def owner(path: str) -> Target:
    """Where programs that read code or settings of `path` run: as its owner, for root must not execute what others wrote."""
    uid = os.stat(path).st_uid
    if os.geteuid() != 0 or uid == 0:
        return HERE
    try:
        return Target(run_as=pwd.getpwuid(uid).pw_name)
    except KeyError as error:
        raise RunbookError(
            f"{path} belongs to user {uid}, whom this host does not know. Give it to one it knows."
        ) from error
