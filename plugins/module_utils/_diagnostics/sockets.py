# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets: who listens, who is connected, and how many of each state."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "listening and connected sockets with their processes, counts by state"


def collect(work: Work) -> None:
    """By ss(8), which reads a hundred thousand sockets in a moment; where it is missing by psutil."""
    try:
        work.program("sockets/summary.txt", ["ss", "--summary"])
    except MissingProgram:
        _by_psutil(work)
        return
    work.program("sockets/listening.txt", ["ss", "--listening", "--numeric", "--processes", "--tcp", "--udp"])
    work.program("sockets/connections.txt", ["ss", "--numeric", "--processes", "--tcp", "--udp", "--info"])
    work.program("sockets/unix.txt", ["ss", "--all", "--numeric", "--processes", "--unix"])


def _by_psutil(work: Work) -> None:
    found = _psutil.get().net_connections(kind="inet")
    with work.part("sockets/states.json") as part:
        part.json(dict(collections.Counter(each.status for each in found)))
    with work.part("sockets/connections.jsonl") as part:
        part.rows(
            {"pid": each.pid, "status": each.status, "local": list(each.laddr), "remote": list(each.raddr)}
            for each in found
        )
