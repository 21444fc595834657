# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files: there, fresh, of the right size."""

from __future__ import annotations

import os
import typing as t
from stat import S_ISDIR

from ansible_collections.sre.runbooks.plugins.module_utils._core import paths
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("age_seconds", "size_bytes", "files")
OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}
DEFAULT_BOUNDS: dict[str, t.Any] = {"files": {"critical": "< 1"}}
INHERENT = True
matching = paths.matching


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Look at what the glob `path` matches: age of the newest, size of all."""
    newest, size, files = None, 0, 0
    for path in matching(options["path"]):
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            continue
        if S_ISDIR(stat.st_mode):
            continue
        files += 1
        size += stat.st_size
        newest = stat.st_mtime if newest is None else max(newest, stat.st_mtime)
    if newest is None:
        return [Observation({"files": 0}, f"{options['path']} matches no file", "ok")]
    metrics = {"age_seconds": max(0.0, round(host.now - newest, 3)), "size_bytes": size, "files": files}
    age = show_duration(metrics["age_seconds"])
    return [Observation(metrics, f"{files} files, {show_size(size)}, the newest is {age} old")]
