# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the real `restic forget` keeps of given time stamps. Run as a program it writes the table beside it anew."""

from __future__ import annotations

import calendar
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

TABLE = Path(__file__).with_suffix(".json")
DAY = 86400
POLICIES: list[dict[str, int]] = [
    {"keep_last": 3},
    {"keep_hourly": 5},
    {"keep_daily": 7},
    {"keep_weekly": 6},
    {"keep_monthly": 7},
    {"keep_yearly": 3},
    {"keep_within": 5 * DAY},
    {"keep_last": 2, "keep_hourly": 3, "keep_daily": 4, "keep_weekly": 5, "keep_monthly": 6, "keep_yearly": 7},
    {"keep_daily": 30, "keep_weekly": 8, "keep_monthly": 12},
    {"keep_hourly": 40, "keep_within": DAY},
]


def moments() -> list[int]:
    """Two years, for restic passes over the future, dense at the end: several in an hour, both sides of midnight, of ISO years, of a leap day, of a bound."""
    chance = random.Random(20261120)
    newest = calendar.timegm((2024, 3, 2, 0, 0, 10))
    found = {newest, newest - 10, newest - 11, newest - 5 * DAY, newest - 5 * DAY - 1, newest - DAY}
    found |= {calendar.timegm((year, 12, day, 23, 59, 59)) for year in (2022, 2023) for day in range(25, 32)}
    found |= {calendar.timegm((year, 1, day, 0, 0, 0)) for year in (2023, 2024) for day in range(1, 8)}
    found |= {newest - chance.randrange(3 * DAY) for _number in range(15)}
    found |= {newest - chance.randrange(60 * DAY) for _number in range(20)}
    found |= {newest - chance.randrange(700 * DAY) for _number in range(20)}
    return sorted(found)


def kept(folder: Path, stamps: Iterable[int], policies: Iterable[Mapping[str, int]]) -> list[list[int]]:
    """Make a repository in `folder` with a snapshot of each time; return the times that restic keeps under each policy."""
    place = {"RESTIC_REPOSITORY": str(folder / "repository"), "RESTIC_CACHE_DIR": str(folder / "cache")}
    environment = {**os.environ, **place, "RESTIC_PASSWORD": "x", "TZ": "UTC"}

    def restic(*arguments: str) -> str:
        return subprocess.run(
            ["restic", *arguments], env=environment, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    (folder / "file").write_text("content")
    restic("init", "--quiet")
    for moment in stamps:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
        restic("backup", "--quiet", "--time", stamp, str(folder / "file"))
    found = []
    for policy in policies:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in policy.items() if name != "keep_within"]
        options += [f"--keep-within={policy['keep_within'] // 3600}h"] if "keep_within" in policy else []
        (group,) = json.loads(restic("forget", "--dry-run", "--json", *options))
        found.append(
            sorted(calendar.timegm(time.strptime(each["time"][:19], "%Y-%m-%dT%H:%M:%S")) for each in group["keep"])
        )
    return found


def main() -> None:
    """Write the table."""
    version = subprocess.check_output(["restic", "version"], text=True).split()[1]
    with tempfile.TemporaryDirectory() as folder:
        found = kept(Path(folder), moments(), POLICIES)
    cases = [{"policy": policy, "kept": each} for policy, each in zip(POLICIES, found, strict=True)]
    TABLE.write_text(json.dumps({"restic": version, "moments": moments(), "cases": cases}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
