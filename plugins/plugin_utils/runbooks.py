# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runbooks of incidents: those that come with the collection, one file each, and the site's own."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "roles/incident/files/runbooks"


@functools.cache
def shipped() -> tuple[dict[str, t.Any], ...]:
    """Return those of the collection."""
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml")))


def with_shipped(site: Sequence[Mapping[str, t.Any]]) -> list[Mapping[str, t.Any]]:
    """Return the site's own and those of the collection that have another name than any of them."""
    own = {each.get("name") for each in site}
    return [*site, *(each for each in shipped() if each["name"] not in own)]
