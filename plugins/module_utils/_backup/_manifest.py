# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests: what a copy is, how it was made, and every proof of it."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import FORMAT, MANIFEST
from ansible_collections.sre.runbooks.plugins.module_utils._core import files

# Verifications that a manifest holds at most, besides those that are always kept.
NEWEST = 30


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def build(path: str, created: float, facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The manifest of the copy `path`, without verifications; `facts` says how it was made."""
    return {
        "format": FORMAT,
        "file": os.path.basename(path),
        "created": timestamp(created),
        **facts,
        "verifications": [],
    }


def public(source: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The engine's `options` of a source that were given and are no secrets: enough to verify or restore the copy later."""
    return {
        name: source[name] for name, spec in options.items() if source.get(name) is not None and not spec.get("no_log")
    }


def verification(level: str, ok: bool, seconds: float, figures: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The record of one proof; `figures` holds its evidence, or the `problem`."""
    return {
        "time": timestamp(time.time()),
        "level": level,
        "ok": ok,
        "duration_seconds": round(seconds, 3),
        "figures": dict(figures),
    }


def record(document: dict[str, t.Any], proof: dict[str, t.Any]) -> None:
    """Add a verification; keep the first, the newest that passed at each level, and the newest of all."""
    records = [*document["verifications"], proof]
    passed = {each["level"]: number for number, each in enumerate(records) if each["ok"]}
    kept = {0, *passed.values(), *range(max(0, len(records) - NEWEST), len(records))}
    document["verifications"][:] = [records[number] for number in sorted(kept)]


def write(path: str, document: t.Mapping[str, t.Any]) -> None:
    """Put the manifest beside the copy `path`, durably; from then on it is a copy."""
    files.write(path + MANIFEST, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
