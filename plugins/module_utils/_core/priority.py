# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that steps back when others want the processor or the disk; on an idle host it is as fast as ever."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

SPEC: dict[str, t.Any] = {
    "nice": {"type": "int", "default": 10},
    "ionice": {"type": "str", "choices": ["best-effort", "idle"], "default": "best-effort"},
}
# Classes of ionice(1).
_IDLE, _NONE = "3", "0"


def check(nice: int) -> None:
    """InputError for a value that would take from others instead of giving."""
    if not 0 <= nice <= 19:
        raise InputError("nice", nice, "is no niceness to others", "Give 0 to 19, the nicest.")


@contextlib.contextmanager
def gently(nice: int, ionice: str, commands: Commands) -> t.Iterator[None]:
    """Run the block, and the programs that it starts, with `nice` and the class `ionice`; a nicer process stays as it is.

    In the class best-effort the kernel derives a process's level from its niceness, 10 gives 6 of 0 to 7 (ioprio_set(2)), so
    that nothing has to be set. Afterwards all is as before where the user may: Mitogen runs modules one after the other in one process.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(before, nice))
    if ionice == "idle":
        _class(_IDLE, commands)
    try:
        yield
    finally:
        if ionice == "idle":
            _class(_NONE, commands)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _class(number: str, commands: Commands) -> None:
    """A host that lacks ionice, or forbids it, is backed up all the same."""
    with contextlib.suppress(RunbookError):
        commands.run(["ionice", "--class", number, "--pid", str(os.getpid())])
