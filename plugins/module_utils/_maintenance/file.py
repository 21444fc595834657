# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A flag file that nginx or the application looks at: there means maintenance."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Options, Work

OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "default": ""},
    "mode": {"type": "str", "default": "0644"},
}


def check(options: dict[str, t.Any], where: str) -> None:
    """An absolute path, and a mode in octal."""
    if not os.path.isabs(options["path"]) or options["path"].endswith("/"):
        raise InputError(
            f"{where}.path", options["path"], "is no absolute path of a file", "Write it from the root on."
        )
    try:
        if not 0 <= int(options["mode"], 8) <= 0o777:
            raise ValueError
    except ValueError as error:
        raise InputError(f"{where}.mode", options["mode"], "is no mode", "Write it as 0644.") from error


def target(options: Options) -> str:
    """The file, wherever links lead."""
    folder, name = os.path.split(options["path"])
    return f"file {os.path.join(os.path.realpath(folder), name)}"


def look(options: Options, work: Work) -> bool:
    """Whether the file is there."""
    try:
        os.lstat(options["path"])
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunbookError(f"{options['path']}: cannot be looked at: {error.strerror}. Give access to it.") from error
    return True


def turn(options: Options, on: bool, work: Work) -> str:
    """Make the file, or remove it."""
    path = options["path"]
    if on:
        files.write(path, options["content"].encode(), int(options["mode"], 8))
        return f"made {path}"
    try:
        os.unlink(path)
        files.fsync_directory(os.path.dirname(path))
    except FileNotFoundError:
        return f"{path} was gone"
    except OSError as error:
        raise RunbookError(f"{path}: cannot be removed: {error.strerror}. Remove it.") from error
    return f"removed {path}"
