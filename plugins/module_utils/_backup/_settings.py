# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants, read and checked before anything is looked at or changed."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _packing, _registry
from ansible_collections.sre.runbooks.plugins.module_utils._backup._plan import Policy
from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

# Others name what this module reads by this name.
Item = entries.Item
DIRECTORY = "/var/backups/sre-runbooks"
_COUNTS = [field for field in Policy._fields if field != "keep_within"]
SPEC: dict[str, t.Any] = {
    "sources": {"type": "list", "elements": "dict", "required": True},
    "directory": {"type": "path", "default": DIRECTORY},
    "interval": {"type": "str"},
    "verify": {"type": "str", "choices": list(_catalog.LEVELS), "default": "restored"},
    "retention": {
        "type": "dict",
        "options": {**{name: {"type": "int"} for name in _COUNTS}, "keep_within": {"type": "str"}},
    },
    "compression": {
        "type": "dict",
        "options": {
            "algorithm": {"type": "str", "choices": list(_packing.ALGORITHMS), "default": "zstd"},
            "level": {"type": "int"},
        },
    },
    "limits": {"type": "dict", "options": {"bytes": {"type": "str"}, "seconds": {"type": "str"}}},
    "minimum_size": {"type": "str"},
    "shrink_limit": {"type": "float", "default": 50.0},
}
# D2: 30 days of daily backups.
DEFAULT_POLICY = Policy(keep_daily=30)


class Settings(t.NamedTuple):
    """All options of the module; durations in seconds, sizes in bytes, `shrink_limit` in percent, None for no limit."""

    directory: str
    interval: float | None
    level: str
    policy: Policy
    packing: _packing.Packing
    limit_bytes: int | None
    limit_seconds: float | None
    minimum_size: int | None
    shrink_limit: float | None


def settings(options: t.Mapping[str, t.Any]) -> Settings:
    """Read everything but the sources."""
    limits = options["limits"] or {}
    compression = options["compression"] or {}
    directory = options["directory"]
    if not os.path.isabs(directory) or os.path.normpath(directory) == "/":
        raise InputError(
            "directory", directory, "is no place for backups", "Name a folder of its own, from the root on."
        )
    shrink = options["shrink_limit"]
    if not 0 <= shrink <= 100:
        raise InputError("shrink_limit", shrink, "is no share", "Give percent from 0 to 100; 100 turns it off.")
    return Settings(
        os.path.normpath(directory),
        None if options["interval"] is None else units.duration(options["interval"], "interval"),
        options["verify"],
        policy(options["retention"]),
        _packing.choose(compression.get("algorithm") or "zstd", compression.get("level")),
        None if limits.get("bytes") is None else units.size(limits["bytes"], "limits.bytes"),
        _positive("limits.seconds", limits.get("seconds")),
        None if options["minimum_size"] is None else units.size(options["minimum_size"], "minimum_size"),
        shrink if shrink < 100 else None,
    )


def policy(options: t.Mapping[str, t.Any] | None) -> Policy:
    """The retention policy. One that keeps nothing is refused, for it would delete everything that may be deleted."""
    if options is None:
        return DEFAULT_POLICY
    counts = {name: value for name, value in options.items() if value is not None and name != "keep_within"}
    for name, value in counts.items():
        if value < 0:
            raise InputError(f"retention.{name}", value, "is negative", "Give a number of copies, or leave it out.")
    chosen = Policy(**counts, keep_within=_positive("retention.keep_within", options.get("keep_within")) or 0.0)
    if not any(value for name, value in chosen._asdict().items() if name != "minimum_verified"):
        raise InputError(
            "retention", dict(options), "keeps nothing", "Give at least one of keep_last, keep_daily, keep_within, …."
        )
    if chosen.minimum_verified < 1:
        raise InputError(
            "retention.minimum_verified", chosen.minimum_verified, "would let the last good copy go", "Give 1 or more."
        )
    return chosen


def items(sources: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Item], set[str]]:
    """Read the option `sources`; return the sources and the secrets that stand in them."""
    return entries.read(sources, "sources", _registry)


def _positive(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give more than 0 seconds, or leave it out.")
    return seconds
