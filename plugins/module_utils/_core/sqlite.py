# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite's files and names: shared by backups and maintenance."""

from __future__ import annotations

import os

_WAL_VERSION = 2


def in_wal_mode(path: str) -> bool:
    """Bytes 18 and 19 of the header are the write and read version (SQLite file format, 1.3.3)."""
    with open(path, "rb") as stream:
        header = stream.read(20)
    return len(header) == 20 and header[19] == _WAL_VERSION


def wal(path: str) -> str:
    """The write-ahead log beside the database."""
    return os.path.realpath(path) + "-wal"


def size(path: str) -> int:
    """Bytes of a file, 0 when there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
