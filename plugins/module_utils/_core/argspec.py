# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of argument specs that several modules share; each has its doc fragment in plugins/doc_fragments."""

from __future__ import annotations

import typing as t

COMMON: dict[str, t.Any] = {
    "state_dir": {"type": "path"},
    "textfile_dir": {"type": "path"},
}


def merge(*parts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Join parts of argument specs; an option that stands in two of them is a mistake in the module."""
    merged: dict[str, t.Any] = {}
    for part in parts:
        twice = merged.keys() & part.keys()
        if twice:
            raise ValueError(f"options defined twice: {', '.join(sorted(twice))}")
        merged.update(part)
    return merged
