# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user asks of a clean-up, checked: policies and limits."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

SUFFIXES = {"zstd": ".zst", "gzip": ".gz"}
# Nothing in or below these is a log; a policy that names one is a mistake.
SYSTEM_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
)  # fmt: skip
# Logs lie below these, yet each holds much else besides.
TOO_WIDE = (
    "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/spool",
)  # fmt: skip
EXCEPTION = "/usr/local"

Matcher = t.Callable[[str], object]


class Policy(t.NamedTuple):
    """One policy. `older_than` is in seconds, `larger_than` in bytes; None means that it does not matter."""

    name: str
    paths: tuple[str, ...]
    matches: Matcher
    excludes: Matcher | None
    recurse: bool
    older_than: float | None
    larger_than: int | None
    keep_newest: int
    action: str
    compression: str


class Limits(t.NamedTuple):
    """The most that one run may act on: number of files, bytes, and percent of all files that match a policy."""

    files: int
    bytes: int
    percent: float


def parse(specs: t.Sequence[t.Mapping[str, t.Any]]) -> list[Policy]:
    """Check policies as the module's option `policies` gives them; `InputError` names what cannot be used."""
    policies: list[Policy] = []
    for spec in specs:
        policy = _policy(spec)
        if any(policy.name == earlier.name for earlier in policies):
            raise InputError("policies.name", policy.name, "names two policies", "Give each policy its own name.")
        policies.append(policy)
    return policies


def parse_limits(spec: t.Mapping[str, t.Any]) -> Limits:
    """Check the module's option `limits`."""
    files, percent = int(spec["files"]), float(spec["percent"])
    if files < 0:
        raise InputError("limits.files", files, "is negative", "Give the most files that one run may act on.")
    if not 0 <= percent <= 100:
        raise InputError("limits.percent", percent, "is no share", "Give a number from 0 to 100.")
    return Limits(files, units.size(spec["bytes"], "limits.bytes"), percent)


def _policy(spec: t.Mapping[str, t.Any]) -> Policy:
    name = spec["name"].strip()
    if not name:
        raise InputError("policies.name", spec["name"], "is empty", "Name the policy; its outcome is called so.")
    option = f"policies[{name}]"
    if not spec["paths"]:
        raise InputError(f"{option}.paths", [], "names no folder", "Name at least one folder.")
    older, larger, newest = spec.get("older_than"), spec.get("larger_than"), spec.get("keep_newest")
    if older is None and larger is None and newest is None:
        raise InputError(
            option, spec["action"], "would take every file that matches",
            "Bound it by at least one of older_than, larger_than and keep_newest.",
        )  # fmt: skip
    if newest is not None and newest < 0:
        raise InputError(f"{option}.keep_newest", newest, "is negative", "Give the number of files to keep.")
    exclude = spec.get("exclude") or []
    return Policy(
        name=name,
        paths=tuple(dict.fromkeys(_folder(path, f"{option}.paths") for path in spec["paths"])),
        matches=_matcher(spec["patterns"], f"{option}.patterns"),
        excludes=_matcher(exclude, f"{option}.exclude") if exclude else None,
        recurse=bool(spec["recurse"]),
        older_than=None if older is None else units.duration(older, f"{option}.older_than"),
        larger_than=None if larger is None else units.size(larger, f"{option}.larger_than"),
        keep_newest=newest or 0,
        action=spec["action"],
        compression=spec["compression"],
    )


def _folder(path: str, option: str) -> str:
    """A folder's path without doubled or trailing slashes; refuses what can hold more than logs."""
    if not path.startswith("/"):
        raise InputError(option, path, "is a relative path", "Write the folder's path from / on.")
    parts = [part for part in path.split("/") if part and part != "."]
    if ".." in parts or "\0" in path:
        raise InputError(option, path, "is no plain path", "Write the folder's path without '..'.")
    clean = "/" + "/".join(parts)
    if clean == "/":
        raise InputError(option, path, "is the whole system", "Name the folder that holds the logs.")
    if clean in TOO_WIDE:
        raise InputError(option, path, "holds far more than logs", "Name the folder below it that holds the logs.")
    inside = any(clean == tree or clean.startswith(f"{tree}/") for tree in SYSTEM_TREES)
    if inside and not clean.startswith(f"{EXCEPTION}/"):
        raise InputError(option, path, "is a folder of the system", "Name the folder that holds the logs.")
    return clean


def _matcher(patterns: t.Sequence[str], option: str) -> Matcher:
    """One matcher of file names for shell patterns; it is case-sensitive, and `*` takes dot files too."""
    if not patterns:
        raise InputError(option, [], "is empty", 'Write file name patterns such as "*.log.*".')
    for pattern in patterns:
        if not pattern.strip():
            raise InputError(option, pattern, "is an empty pattern", 'Write file name patterns such as "*.log.*".')
        if "/" in pattern or "\0" in pattern:
            raise InputError(
                option, pattern, "is no file name pattern",
                "Folders belong into paths (and recurse); patterns are matched with file names alone.",
            )  # fmt: skip
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
