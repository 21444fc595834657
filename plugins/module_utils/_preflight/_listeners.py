# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ports are listened on, and which of them the checks of the inventory look at."""

from __future__ import annotations

import typing as t
import urllib.parse

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._servers import PORTS, is_local

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check

_SCHEMES = {"http": 80, "https": 443}
ANY = ("0.0.0.0", "::", "*")  # noqa: S104 - what others listen on


class Listener(t.NamedTuple):
    """An address of this host that a process listens on by TCP; `pid` is None where this user may not see whose it is."""

    address: str
    port: int
    pid: int | None

    @property
    def reach(self) -> str:
        """The address under which this host itself reaches it."""
        return {"::": "::1"}.get(self.address, "127.0.0.1") if self.address in ANY else self.address


def listeners() -> list[Listener]:
    """Every TCP port that is listened on in this host's own network."""
    psutil = _psutil.get()
    found = {
        Listener(each.laddr.ip, each.laddr.port, each.pid)
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
    return sorted(found, key=_order)


def _order(listener: Listener) -> tuple[int, str, int]:
    return listener.port, listener.address, listener.pid or 0


def checked(checks: t.Iterable[Check]) -> set[int]:
    """The ports of this host that some check connects to."""
    return {port for check in checks for host, port in [address(check)] if port and is_local(host)}


def address(check: Check) -> tuple[str, int | None]:
    """Host and port that a check connects to; no port where it connects to none, or inside a container."""
    options = check.options
    connection = options.get("connection") or options
    if connection.get("container"):
        return "", None
    if options.get("url"):
        return of_url(options["url"])
    if check.type in PORTS:
        host = str(connection.get("host") or "127.0.0.1")
        return ("127.0.0.1" if host.startswith("/") else host), int(connection.get("port") or PORTS[check.type])
    if check.type in ("port", "tls") and options.get("host"):
        return options["host"], int(options.get("port") or 443)
    return "", None


def of_url(url: str) -> tuple[str, int | None]:
    """Host and port of an address; no port for what is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.hostname or "", parts.port or _SCHEMES.get(parts.scheme)
    except ValueError:
        return "", None
