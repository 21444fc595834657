# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants, read and checked before anything is looked at or changed."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _catalog,
    _encryption,
    _packing,
    _registry,
    _restic,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._plan import Policy
from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, priority, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

STAGE = "backup"
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
    "encryption": _encryption.SPEC,
    "limits": {"type": "dict", "options": {"bytes": {"type": "str"}, "seconds": {"type": "str"}}},
    "minimum_size": {"type": "str"},
    "shrink_limit": {"type": "float", "default": 50.0},
    "restic": _restic.SPEC,
    **priority.SPEC,
}
# What a source may say for itself. What it leaves out is as the module's option says, so that none has a default here.
_OWN = [name for name in SPEC if name not in ("sources", "directory", *priority.SPEC)]
SHARED: dict[str, t.Any] = {
    "secret": {"type": "bool", "default": False},
    **{name: {key: value for key, value in SPEC[name].items() if key != "default"} for name in _OWN},
}
# D2: 30 days of daily backups.
DEFAULT_POLICY = Policy(keep_daily=30)


class Settings(t.NamedTuple):
    """What holds for one source; durations in seconds, sizes in bytes, `shrink_limit` in percent, None for no limit."""

    directory: str
    interval: float | None
    level: str
    policy: Policy
    packing: _packing.Packing
    limit_bytes: int | None
    limit_seconds: float | None
    minimum_size: int | None
    shrink_limit: float | None
    identity: str | None
    restic: _restic.Repository | None


class Job(t.NamedTuple):
    """A source with what holds for it."""

    item: Item
    settings: Settings


def jobs(options: t.Mapping[str, t.Any], found: t.Sequence[Item], commands: Commands) -> list[Job]:
    """Read what the module and each source say; nothing is changed, and of the host only age is asked for its opinion."""
    priority.check(options["nice"])
    common = settings(options)
    _encryption.check(common.packing.recipients, "encryption.recipients", commands)
    return [Job(item, _for(item, options, common, commands)) for item in found]


def _for(item: Item, options: t.Mapping[str, t.Any], common: Settings, commands: Commands) -> Settings:
    """The module's options, those replaced that the source has itself."""
    where = f"sources.{item.name}"
    own = {name: item.source[name] for name in _OWN if item.source.get(name) is not None}
    chosen = settings({**options, **own}, where, own) if own else common
    if "encryption" in own:
        _encryption.check(chosen.packing.recipients, f"{where}.encryption.recipients", commands)
    if item.source["secret"] and not chosen.packing.recipients:
        raise InputError(
            f"{where}.secret",
            True,
            "asks for an encrypted copy, and nobody is named who may read it",
            "Set encryption.recipients, of the source or of all.",
        )
    return chosen


def settings(options: t.Mapping[str, t.Any], where: str = "", own: t.Collection[str] = ()) -> Settings:
    """Read everything but the sources. Messages call the options in `own` those of the source `where`."""

    def called(option: str) -> str:
        return f"{where}.{option}" if option.partition(".")[0] in own else option

    limits = options["limits"] or {}
    compression = options["compression"] or {}
    directory = options["directory"]
    if not os.path.isabs(directory) or os.path.normpath(directory) == "/":
        raise InputError(
            "directory", directory, "is no place for backups", "Name a folder of its own, from the root on."
        )
    shrink = options["shrink_limit"]
    if not 0 <= shrink <= 100:
        raise InputError(called("shrink_limit"), shrink, "is no share", "Give percent from 0 to 100; 100 turns it off.")
    packing = _packing.choose(
        compression.get("algorithm") or "zstd", compression.get("level"), called("compression.level")
    )
    recipients, identity = _encryption.read(options.get("encryption"), called("encryption"))
    interval, minimum = options["interval"], options["minimum_size"]
    return Settings(
        os.path.normpath(directory),
        None if interval is None else units.duration(interval, called("interval")),
        options["verify"],
        policy(options["retention"], called("retention")),
        packing._replace(recipients=recipients),
        None if limits.get("bytes") is None else units.size(limits["bytes"], called("limits.bytes")),
        _positive(called("limits.seconds"), limits.get("seconds")),
        None if minimum is None else units.size(minimum, called("minimum_size")),
        shrink if shrink < 100 else None,
        identity,
        _restic.read(options.get("restic"), called("restic"), os.path.normpath(directory)),
    )


def policy(options: t.Mapping[str, t.Any] | None, option: str = "retention") -> Policy:
    """The retention policy. One that keeps nothing is refused, for it would delete everything that may be deleted."""
    if options is None:
        return DEFAULT_POLICY
    counts = {name: value for name, value in options.items() if value is not None and name != "keep_within"}
    for name, value in counts.items():
        if value < 0:
            raise InputError(f"{option}.{name}", value, "is negative", "Give a number of copies, or leave it out.")
    chosen = Policy(**counts, keep_within=_positive(f"{option}.keep_within", options.get("keep_within")) or 0.0)
    if not any(value for name, value in chosen._asdict().items() if name != "minimum_verified"):
        raise InputError(
            option, dict(options), "keeps nothing", "Give at least one of keep_last, keep_daily, keep_within, …."
        )
    if chosen.minimum_verified < 1:
        raise InputError(
            f"{option}.minimum_verified", chosen.minimum_verified, "would let the last good copy go", "Give 1 or more."
        )
    return chosen


def items(sources: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Item], set[str]]:
    """Read the option `sources`; return the sources and the secrets that stand in them."""
    found, secrets = entries.read(sources, "sources", _registry, SHARED)
    return found, secrets.union(*(_restic.secrets(item.source["restic"]) for item in found))


def _positive(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give more than 0 seconds, or leave it out.")
    return seconds
