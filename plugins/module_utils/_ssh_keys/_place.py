# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of an authorized_keys file, reached without following a link that is not root's, and the file in it."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _file

FILE = "authorized_keys"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Owner(t.NamedTuple):
    """The user whose keys these are, and the file that holds them."""

    name: str
    uid: int
    path: str


def owner(user: str | None, path: str | None) -> Owner:
    """The user `user`, else the one that this runs as, and `path`, else the file in his home."""
    try:
        account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise InputError("user", user, "is no user of this host", "Create it, or name another.") from error
    found = path or os.path.join(account.pw_dir, ".ssh", FILE)
    if not os.path.isabs(found) or os.path.normpath(found) != found:
        raise InputError("path", found, "is no plain absolute path", "Write it from the root on, without . and ..")
    return Owner(account.pw_name, account.pw_uid, found)


@contextlib.contextmanager
def opened(whose: Owner) -> t.Iterator[_file.Place]:
    """The folder of the file while the block runs; RunbookError where it cannot be trusted or changed."""
    try:
        with contextlib.ExitStack() as stack:
            descriptor = _folder(os.path.dirname(whose.path), stack)
            info = os.fstat(descriptor)
            if info.st_uid not in (0, whose.uid):
                raise RunbookError(
                    f"its folder belongs to the user {info.st_uid} and not to {whose.name}. Give it to {whose.name}."
                )
            yield _file.Place(descriptor)
    except OSError as error:
        raise RunbookError(
            f"{whose.path}: cannot be changed: {error.strerror}. Make room or give access, then run again."
        ) from error
    except RunbookError as error:
        raise RunbookError(f"{whose.path}: {error}") from error


def _folder(path: str, stack: contextlib.ExitStack) -> int:
    parts = [part for part in path.split("/") if part]
    descriptor = os.open("/", _FLAGS)
    stack.callback(os.close, descriptor)
    for index, part in enumerate(parts):
        try:
            below = os.open(part, _FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            link = os.stat(part, dir_fd=descriptor, follow_symlinks=False)
            # Systems have links such as /home -> /var/home; the folder of the keys itself is none.
            if not stat.S_ISLNK(link.st_mode) or link.st_uid != 0 or index == len(parts) - 1:
                raise RunbookError(
                    f"/{'/'.join(parts[: index + 1])} is a symbolic link or no folder, which is not followed. Give the real path."
                ) from error
            below = os.open(part, _FLAGS, dir_fd=descriptor)
        stack.callback(os.close, below)
        descriptor = below
    return descriptor


def load(place: _file.Place, whose: Owner) -> _file.Found:
    """The file; RunbookError for one that is not there, is a link, or is somebody else's."""
    found = place.load(whose.path)
    if found is None:
        raise RunbookError(
            f"is not there, so sshd finds the keys of {whose.name} elsewhere. Name that file (path; AuthorizedKeysFile of sshd)."
        )
    if found.info.st_uid != whose.uid:
        raise RunbookError(f"belongs to the user {found.info.st_uid} and not to {whose.name}. Give it to {whose.name}.")
    return found
