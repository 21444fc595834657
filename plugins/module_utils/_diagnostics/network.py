# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network: addresses, routes, neighbours, counters, name resolution, firewall."""

from __future__ import annotations

import contextlib
import functools
import json
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "addresses, routes, neighbours, counters, name resolution"
_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/proc/net/dev",
    "/proc/net/snmp",
    "/proc/net/netstat",
    "/proc/net/sockstat",
)
_PROGRAMS = {
    "addresses": ["ip", "-statistics", "address", "show"],
    "routes": ["ip", "route", "show", "table", "all"],
    "rules": ["ip", "rule", "show"],
    "neighbours": ["ip", "neighbour", "show"],
}


def collect(work: Work) -> None:
    """Files first, then what ip(8) tells, or psutil where it is missing."""
    with work.part("network/files.txt") as part:
        for path in _FILES:
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
                part.text(f"## {path}\n{stream.read(1 << 18)}")
    try:
        for name, argv in _PROGRAMS.items():
            work.program(f"network/{name}.txt", argv)
    except MissingProgram:
        work.attempt([functools.partial(_by_psutil, work)])


def _by_psutil(work: Work) -> None:
    found = _psutil.get().net_if_addrs()
    with work.part("network/addresses.json") as part:
        part.text(json.dumps({name: [each.address for each in every] for name, every in found.items()}, indent=1))
