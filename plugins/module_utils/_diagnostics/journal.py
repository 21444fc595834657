# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal since a time: of the whole host, and of each given unit by itself."""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "the journal of the host and of each given unit"
# A line of a journal is hardly shorter.
LINE_BYTES = 100


def would(settings: Settings) -> list[str]:
    """Whose journal is read."""
    return ["host", *settings.units]


def collect(work: Work) -> None:
    """The newest lines that fit, by journalctl, which begins at the end."""
    require("journalctl")
    actions: list[t.Callable[[], None]] = [functools.partial(_read, work, unit) for unit in work.settings.units]
    work.attempt([*actions, functools.partial(_read, work, None)])


def _read(work: Work, unit: str | None) -> None:
    lines = max(100, work.settings.limits.part // LINE_BYTES)
    since = int(time.time() - work.settings.since)
    argv = ["journalctl", "--no-pager", "--quiet", f"--since=@{since}", f"--lines={lines}", "--output=short-iso"]
    count = 0
    with work.part(f"journal/{unit or 'host'}.txt") as part:
        for block in work.output([*argv, *(["--unit", unit] if unit else [])]):
            count += block.count(b"\n")
            part.blocks([block])
        if count >= lines:
            part.truncated()
        if not count:
            part.note("the journal has nothing of it since then, or may not be read by this user")
