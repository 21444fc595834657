# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Go back to the release before: a symbolic link is set to the folder before, or an older version of a package is installed."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _packages, _units
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {
    "link": {"type": "path"},
    "package": {"type": "str"},
    "to": {"type": "str", "default": "previous"},
    **_units.OPTIONS,
}
LIMIT = "1/h"
_PREVIOUS = "previous"


def check(options: dict[str, t.Any], where: str) -> None:
    """One of link and package; the release by name."""
    if bool(options["link"]) == bool(options["package"]):
        raise InputError(where, options["link"], "does not say what is rolled back", "Give link or package.")
    if options["link"] and not os.path.isabs(options["link"]):
        raise InputError(f"{where}.link", options["link"], "is no absolute path", "Write it from the root on.")
    if (options["link"] and not re.fullmatch(r"[^/\0]+", options["to"])) or options["to"] in (".", ".."):
        raise InputError(f"{where}.to", options["to"], "is no release", "Name a folder beside the current release.")
    if options["package"] and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+:-]*", options["package"]):
        raise InputError(f"{where}.package", options["package"], "is no name of a package", "Correct it.")
    if options["package"] and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+:~-]*", options["to"]):
        raise InputError(f"{where}.to", options["to"], "is no version", "Write it as the package manager does.")
    _units.check(options, where, needed=False)


def target(options: Options) -> str:
    """What is rolled back."""
    return str(options["link"] or options["package"])


def look(options: Options, work: Work) -> Look:
    """The release now, and the one to go to."""
    if options["units"]:
        _units.known(options["units"], work)
    if options["package"]:
        now, to = _packages.versions(options["package"], options["to"], work)
    else:
        now, to = _releases(options["link"], options["to"])
    then = f", then restart {', '.join(options['units'])}" if options["units"] else ""
    return Look({"from": now, "to": to}, f"roll {target(options)} back from {now} to {to}{then}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Go to the release, and restart what runs it."""
    _go(options, before["to"], work)
    text = f"{target(options)} is {before['to']} instead of {before['from']}"
    return f"{text}; {_units.restart(options, work)}" if options["units"] else text


def undo(options: Options, before: Options, work: Work) -> str:
    """Go to the release that was there."""
    _go(options, before["from"], work)
    text = f"{target(options)} is {before['from']} again"
    return f"{text}; {_units.restart(options, work)}" if options["units"] else text


def _go(options: Options, to: str, work: Work) -> None:
    if options["package"]:
        _packages.install(options["package"], to, work)
        return
    link = options["link"]
    partial = files.partial_name(link)
    try:
        os.symlink(to, partial)
        os.rename(partial, link)
        files.fsync_directory(os.path.dirname(link))
    except OSError as error:
        raise RunbookError(f"{link}: cannot be set to {to}: {error.strerror}. Give access to its folder.") from error


def _releases(link: str, wanted: str) -> tuple[str, str]:
    """Where `link` leads, and where it is to lead: to the folder of the same parent that is older by time of change, or to `wanted`."""
    try:
        now = os.readlink(link)
    except OSError as error:
        raise RunbookError(f"{link}: is no symbolic link: {error.strerror}. Correct link.") from error
    current = os.path.normpath(os.path.join(os.path.dirname(link), now))
    parent = os.path.dirname(current)
    try:
        with os.scandir(parent) as entries:
            found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            ages = {entry.name: entry.stat(follow_symlinks=False).st_mtime for entry in found}
    except OSError as error:
        raise RunbookError(f"{parent}: cannot be read: {error.strerror}.") from error
    name = os.path.basename(current)
    if wanted == _PREVIOUS:
        # The link may lead to a release that is gone: any other is older then.
        mine = (ages.get(name, float("inf")), name)
        older = [(age, other) for other, age in ages.items() if other != name and (age, other) < mine]
        if not older:
            raise RunbookError(f"{parent}: holds no release older than {name}. Name one by the option to.")
        wanted = max(older)[1]
    elif wanted not in ages:
        raise RunbookError(f"{parent}: holds no release {wanted}, only {', '.join(sorted(ages))}. Correct to.")
    return now, os.path.join(os.path.dirname(now), wanted)
