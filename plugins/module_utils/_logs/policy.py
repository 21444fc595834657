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

# What a user may write in a policy, and in the limits.
SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "paths": {"type": "list", "elements": "path", "required": True},
    "patterns": {"type": "list", "elements": "str", "required": True},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "recurse": {"type": "bool", "default": False},
    "older_than": {"type": "str"},
    "larger_than": {"type": "str"},
    "max_total": {"type": "str"},
    "keep_newest": {"type": "int"},
    "action": {"type": "str", "choices": ["delete", "compress", "archive", "truncate"], "required": True},
    "archive_dir": {"type": "path"},
    "compression": {"type": "str", "choices": ["zstd", "gzip"], "default": "zstd"},
}
LIMITS: dict[str, t.Any] = {
    "files": {"type": "int", "default": 100000},
    "bytes": {"type": "str", "default": "100GiB"},
    "percent": {"type": "float", "default": 100},
}
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
_WILD = re.compile(r"[*?[]")

BOUNDS = ("older_than", "larger_than", "keep_newest", "max_total")

Matcher = t.Callable[[str], object]


class Policy(t.NamedTuple):
    """One policy. `older_than` is in seconds, `larger_than` and `max_total` in bytes; None means that it does not matter."""

    name: str
    paths: tuple[str, ...]
    matches: Matcher
    excludes: Matcher | None
    recurse: bool
    older_than: float | None
    larger_than: int | None
    max_total: int | None
    keep_newest: int
    action: str
    compression: str
    archive_dir: str | None


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
    older, larger, newest, total = (spec.get(each) for each in BOUNDS)
    if older is None and larger is None and newest is None and total is None:
        raise InputError(
            option, spec["action"], "would take every file that matches", f"Bound it by at least one of {', '.join(BOUNDS)}."
        )  # fmt: skip
    if newest is not None and newest < 0:
        raise InputError(f"{option}.keep_newest", newest, "is negative", "Give the number of files to keep.")
    exclude = spec.get("exclude") or []
    paths = tuple(dict.fromkeys(_folder(path, f"{option}.paths") for path in spec["paths"]))
    return Policy(
        name=name,
        paths=paths,
        matches=_matcher(spec["patterns"], f"{option}.patterns"),
        excludes=_matcher(exclude, f"{option}.exclude") if exclude else None,
        recurse=bool(spec["recurse"]),
        older_than=None if older is None else units.duration(older, f"{option}.older_than"),
        larger_than=None if larger is None else units.size(larger, f"{option}.larger_than"),
        max_total=None if total is None else units.size(total, f"{option}.max_total"),
        keep_newest=newest or 0,
        action=spec["action"],
        compression=spec["compression"],
        archive_dir=_archive_dir(spec, paths, f"{option}.archive_dir"),
    )


def _archive_dir(spec: t.Mapping[str, t.Any], paths: t.Sequence[str], option: str) -> str | None:
    """Where files are moved to; refuses a folder that the policy itself would empty."""
    given = spec.get("archive_dir")
    if spec["action"] != "archive":
        if given is not None:
            raise InputError(option, given, f"does not go with action: {spec['action']}", "Leave it out, or archive.")
        return None
    if given is None:
        raise InputError(option, None, "is missing", "Name the folder that the files are moved to.")
    clean = _folder(given, option)
    for path in paths:
        if clean == path or (spec["recurse"] and clean.startswith(f"{path}/")):
            raise InputError(option, given, "is a folder that this policy empties", f"Name one outside {path}.")
    return clean


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
    suffixes = tuple(pattern[1:] for pattern in patterns)
    if all(pattern.startswith("*") and not _WILD.search(pattern, 1) for pattern in patterns):
        return lambda name: name.endswith(suffixes)  # a fraction of an expression's time, and the usual case
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
