# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP connections that are made by a deadline, however many addresses a name has."""

from __future__ import annotations

import socket
import time


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect by `deadline` (of time.monotonic).

    Each address of the name gets its share of the time, so that one that swallows packets does not keep the next from
    being tried. Raises OSError (the last address's), UnicodeError for a name that cannot be one.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    problem = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(0.001, (deadline - time.monotonic()) / (len(addresses) - number)))
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
            continue
        return connection
    raise problem
