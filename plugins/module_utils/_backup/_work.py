# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What engines are given to work with on the copies of one name."""

from __future__ import annotations

import hashlib
import os
import platform

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

# Who reads copies packs nothing.
_UNPACKED = _packing.Packing("none", 0)
# Beside the folders of copies: not in them, so that those hold copies alone.
LOCKS = ".locks"


def reader(
    commands: Commands, directory: str, name: str, level: str, *, deadline: float | None, identity: str | None
) -> Work:
    """The work of one who reads copies in `<directory>/<name>`; `deadline` is a time of the monotonic clock."""
    folder = os.path.join(directory, name)
    return Work(commands, _UNPACKED, folder, name, token(folder), level, deadline, identity)


def token(folder: str) -> str:
    """Tells scratch databases of this host and folder from all others."""
    return hashlib.sha256(f"{platform.node()}:{os.path.realpath(folder)}".encode()).hexdigest()[:12]
