# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known and quiet: baselines in the form of detect-secrets (K4)."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

_MOST = 16 << 20
Key = tuple[str, str, str]


class Baseline:
    """A baseline file. One that is not there is empty; one that cannot be read raises RunbookError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._document = _load(path)
        self._folder = os.path.dirname(path)
        self._entries: dict[Key, dict[str, t.Any]] = {}
        for name, entries in self._document.get("results", {}).items():
            for entry in entries:
                key = (
                    os.path.normpath(os.path.join(self._folder, name)),
                    str(entry["type"]),
                    str(entry["hashed_secret"]),
                )
                self._entries[key] = entry

    def quiet(self, path: str, kind: str, digest: str) -> bool:
        """Whether this finding is in the baseline, and nobody marked it as a secret for real (`is_secret`, by an audit)."""
        entry = self._entries.get((path, kind, digest))
        return entry is not None and not entry.get("is_secret")

    def rewrite(self, found: t.Mapping[Key, int], looked_at: t.Callable[[str], bool], check_mode: bool) -> bool:
        """Hold `found`, as {(path, kind, digest): line}, and what stood there of files that were not `looked_at`.

        Judgements of audits stay. Returns whether that changes the file, which is readable by its owner alone: digests of
        poor passwords can be guessed.
        """
        results: dict[str, list[dict[str, t.Any]]] = {}
        kept = {key: entry for key, entry in self._entries.items() if key in found or not looked_at(key[0])}
        for key in sorted({*kept, *found}):
            path, kind, digest = key
            entry = {**kept.get(key, {"is_verified": False}), "type": kind, "filename": path, "hashed_secret": digest}
            entry["line_number"] = found.get(key, entry.get("line_number", 1))
            results.setdefault(path, []).append(entry)
        before = {key: _judged(entry) for key, entry in self._entries.items()}
        after = {
            (path, each["type"], each["hashed_secret"]): _judged(each) for path in results for each in results[path]
        }
        if before == after and os.path.exists(self.path):
            return False
        if not check_mode:
            document = {
                "version": "1.5.0", "plugins_used": [], "filters_used": [], **self._document, "results": results,
                "generated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }  # fmt: skip
            files.make_directory(self._folder)
            files.write(self.path, json.dumps(document, indent=2).encode() + b"\n")
        return True


def _judged(entry: t.Mapping[str, t.Any]) -> tuple[t.Any, t.Any]:
    return entry.get("is_secret"), entry.get("line_number")


def _load(path: str) -> dict[str, t.Any]:
    remedy = "Make it anew with write_baseline, or name another."
    try:
        if os.path.getsize(path) > _MOST:
            raise RunbookError(f"baseline {path} is larger than {_MOST >> 20} MiB. {remedy}")
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunbookError(f"baseline {path} cannot be read: {error.strerror}. {remedy}") from error
    except ValueError:
        raise RunbookError(f"baseline {path} is no JSON. {remedy}") from None
    try:
        for entries in document.get("results", {}).values():
            for entry in entries:
                _used = (entry["type"], entry["hashed_secret"], entry.get("is_secret"))
    except (AttributeError, KeyError, TypeError):
        raise RunbookError(f"baseline {path} is none of detect-secrets. {remedy}") from None
    return t.cast("dict[str, t.Any]", document)
