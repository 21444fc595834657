# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a manifest must look like before anything in it is believed: people edit files, and a copy's manifest may be of another."""

from __future__ import annotations

import datetime
import re
import typing as t

_SHA256 = re.compile(r"[0-9a-f]{64}")


def problem(document: t.Mapping[str, t.Any], name: str, file_name: str) -> str | None:
    """Why `document` is not the manifest of the copy `file_name` of the source `name`; None when it is."""
    for key, wanted in (("file", file_name), ("name", name)):
        if document.get(key) != wanted:
            return f"its manifest says {key} {document.get(key)!r}, not {wanted!r}"
    if not _is_count(document.get("size_bytes")):
        return f"its manifest says size_bytes {document.get('size_bytes')!r}, which is no size"
    if not isinstance(document.get("sha256"), str) or not _SHA256.fullmatch(document["sha256"]):
        return f"its manifest says sha256 {document.get('sha256')!r}, which is no SHA-256"
    if not isinstance(document.get("engine"), str):
        return f"its manifest says engine {document.get('engine')!r}, which is no name"
    if not isinstance(document.get("source", {}), dict):
        return "its manifest says no options under source"
    return _figures(document.get("figures")) or _verifications(document.get("verifications"))


def seconds(text: object) -> float | None:
    """The time of a verification in seconds since the epoch; None when it is none."""
    try:
        moment = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def _figures(figures: object) -> str | None:
    """Numbers of rows by table, and of objects by kind or in all: what engines compare with."""
    if not isinstance(figures, dict):
        return "its manifest holds no figures"
    tables, objects = figures.get("tables", {}), figures.get("objects", {})
    if not _are_counts(tables) or not (_is_count(objects) or _are_counts(objects)):
        return "the figures of its manifest are no numbers of rows and objects"
    return None


def _verifications(records: object) -> str | None:
    if not isinstance(records, list):
        return "its manifest holds no list of verifications"
    for record in records:
        if not isinstance(record, dict):
            return "a verification of its manifest is no record"
        duration = record.get("duration_seconds", 0)
        sound = (
            isinstance(record.get("level"), str)
            and isinstance(record.get("ok"), bool)
            and seconds(record.get("time")) is not None
            and isinstance(duration, (int, float))
            and 0 <= duration < float("inf")
            and isinstance(record.get("figures", {}), dict)
        )
        if not sound:
            return "a verification of its manifest has no level, result or time that can be read"
    return None


def _are_counts(found: object) -> bool:
    return isinstance(found, dict) and all(_is_count(value) for value in found.values())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
