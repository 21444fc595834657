# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option `restic`: which repository the newest proven copy is brought to."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

SPEC: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        "repository": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_file": {"type": "path", "no_log": False},
        "environment": {"type": "dict"},
        "options": {"type": "dict"},
        "init": {"type": "bool", "default": False},
        "check": {"type": "bool", "default": True},
        "read_data_subset": {"type": "str"},
    },
}
# Shorter values would blot out half of what a module says, and are no secrets.
_SECRET_LENGTH = 8
_SUBSET = re.compile(r"[1-9]\d*/[1-9]\d*|\d+(?:\.\d+)?%|[1-9]\d*[KMGT]")


class Repository(t.NamedTuple):
    """Where a repository is, how it is opened, and what is done with it; `environment` holds the password too."""

    place: str
    environment: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]
    init: bool
    check: bool
    subset: str | None

    @property
    def shown(self) -> str:
        """Its place without a password."""
        return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", self.place)


def read(options: t.Mapping[str, t.Any] | None, option: str, directory: str) -> Repository | None:
    """The option `restic`, None when there is none. InputError names `option`."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if not given.keys() - {"init", "check"}:
        return None
    place = given.get("repository", "")
    if not place or place != place.strip() or (":" not in place and not os.path.isabs(place)):
        raise InputError(
            f"{option}.repository",
            place,
            "is no place",
            "Give a path from the root on, or sftp:…, s3:…, as restic takes it.",
        )
    if os.path.isabs(place) and os.path.commonpath([os.path.normpath(place), directory]) == directory:
        raise InputError(
            f"{option}.repository", place, "is in the folder of the copies", "Choose another disk, best another host."
        )
    if ("password" in given) == ("password_file" in given):
        raise InputError(
            f"{option}.password", None, "and password_file: one of them opens the repository", "Give exactly one."
        )
    subset = given.get("read_data_subset")
    if subset is not None and not _SUBSET.fullmatch(subset):
        raise InputError(f"{option}.read_data_subset", subset, "is no share", "Write it as in 5%, 1/7 or 500M.")
    own = {str(name): str(value) for name, value in given.get("environment", {}).items()}
    opened = (
        {"RESTIC_PASSWORD": given["password"]}
        if "password" in given
        else {"RESTIC_PASSWORD_FILE": given["password_file"]}
    )
    # Time stamps are given and read in UTC.
    environment = {**own, **opened, "RESTIC_REPOSITORY": place, "TZ": "UTC"}
    arguments = [part for name, value in given.get("options", {}).items() for part in ("-o", f"{name}={value}")]
    return Repository(
        place,
        tuple(environment.items()),
        tuple(arguments),
        bool(given.get("init")),
        given.get("check") is not False,
        subset,
    )


def secrets(options: t.Mapping[str, t.Any] | None) -> set[str]:
    """What in the option `restic` must not be shown besides the password: its environment, a password in its address."""
    given = options or {}
    found = {str(value) for value in (given.get("environment") or {}).values()}
    found |= set(re.findall(r"//[^/:@]*:([^/@]*)@", given.get("repository") or ""))
    return {value for value in found if len(value) >= _SECRET_LENGTH}


def lacks(repository: Repository | None, newest: _catalog.Copy | None) -> bool:
    """Whether the newest proven copy has to be brought to the repository, by its manifest."""
    if repository is None or newest is None:
        return False
    record = _catalog.manifest(newest).get("restic")
    return not (isinstance(record, dict) and record.get("repository") == repository.shown)
