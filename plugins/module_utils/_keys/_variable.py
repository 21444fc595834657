# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variable of a file that holds a key: read, written in one go, owner and mode kept."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _file, _write

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Consumer

# As long as a key is, to see whether one could be written.
SAMPLE = "x" * 43


def read(consumer: Consumer) -> str | None:
    """The value; None when the file has no such variable, or an empty one."""
    try:
        with _file.opened(os.path.realpath(os.path.dirname(consumer.path))) as folder:
            found = folder.load(consumer.path)
    except OSError as error:
        raise RunbookError(f"{consumer.path}: cannot be read: {error.strerror}. Give access to it.") from error
    except RunbookError as error:
        raise RunbookError(f"{consumer.path}: {error}") from error
    if found is None:
        raise RunbookError(f"{consumer.path}: there is no such file. Create it, or correct the path.")
    value: str | None = _write.FORMATS[consumer.format].read(found.text, consumer.variable)
    return value or None


def write(consumer: Consumer, value: str, state_dir: str) -> None:
    """Replace the value, or add the variable. The value before is kept by `_consume`, by fingerprint, not beside the file."""
    _write.set_variable(consumer.path, consumer.variable, value, consumer.format, backup=False, state_dir=state_dir)


def writable(consumer: Consumer) -> None:
    """Raise RunbookError when it could not be written."""
    _write.set_variable(consumer.path, consumer.variable, SAMPLE, consumer.format, backup=False, check=True)
    folder = os.path.realpath(os.path.dirname(consumer.path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunbookError(f"{folder}: no access to change files there. Give it, or set become.")
