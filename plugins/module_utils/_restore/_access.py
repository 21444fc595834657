# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owner, group and mode of a restored database file."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job


def wanted(job: Job) -> tuple[int, int, int | None]:
    """User id, group id (-1 for as it is) and mode that were given; InputError for names that the host does not know."""
    user = group = -1
    if "owner" in job.access:
        try:
            user = pwd.getpwnam(job.access["owner"]).pw_uid
        except KeyError:
            raise InputError(
                "owner", job.access["owner"], "is no user of this host", "Create the user first."
            ) from None
    if "group" in job.access:
        try:
            group = grp.getgrnam(job.access["group"]).gr_gid
        except KeyError:
            raise InputError("group", job.access["group"], "is no group of this host", "Create it first.") from None
    return user, group, int(job.access["mode"], 8) if "mode" in job.access else None


def give(new: str, path: str, job: Job) -> None:
    """Owner, group, mode and extended attributes of the old file, or the folder's owner; then sync."""
    user, group, mode = wanted(job)
    if os.path.lexists(path):
        model = os.stat(path)
        mode = stat.S_IMODE(model.st_mode) if mode is None else mode
        for name in os.listxattr(path):
            with contextlib.suppress(OSError):
                os.setxattr(new, name, os.getxattr(path, name))
    else:
        model = os.stat(os.path.dirname(path))
    descriptor = os.open(new, os.O_RDWR | os.O_NOFOLLOW)
    try:
        owner = (model.st_uid if user == -1 else user, model.st_gid if group == -1 else group)
        if owner != (os.geteuid(), os.getegid()):
            with contextlib.nullcontext() if os.geteuid() == 0 else contextlib.suppress(PermissionError):
                os.fchown(descriptor, *owner)
        os.fchmod(descriptor, 0o600 if mode is None else mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
