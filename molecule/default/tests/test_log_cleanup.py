# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row L5: what is old is gone, what is new is there, what must not be touched was not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import testinfra

# Days after which the policies of the scenario delete a rotated log.
KEPT_DAYS = {"resources1": ("feature11", 30), "models1": ("ghosteam", 7)}


@pytest.fixture(params=sorted(KEPT_DAYS))
def place(request: pytest.FixtureRequest) -> tuple[Any, str, int]:
    name, days = KEPT_DAYS[request.param]
    return testinfra.get_host(f"ansible://{request.param}"), name, days


def rotated(host: Any, name: str) -> set[str]:
    return set(
        host.check_output(f"cd /opt/{name}/logs && ls -1 --quoting-style=literal --hide-control-chars").splitlines()
    )


def days_before(host: Any, name: str) -> Callable[[int], str]:
    """The day so many days before that on which the logs were written: since then it may have been midnight."""
    # What was not compressed since has not been changed since.
    oldest = host.check_output(f"stat --format=%Z /opt/{name}/logs/{name}.log.* | sort -n | head -n 1")
    written = datetime.fromtimestamp(int(oldest), UTC)
    return lambda age: f"{written - timedelta(days=age):%Y-%m-%d}"


def test_old_logs_are_gone(place: tuple[Any, str, int]) -> None:
    host, name, days = place
    left, day = rotated(host, name), days_before(host, name)
    gone = {f"{name}.log.{day(age)}{suffix}" for age in range(days + 1, 46) for suffix in ("", ".gz", ".zst")}
    assert left & gone == set()


def test_new_logs_are_there(place: tuple[Any, str, int]) -> None:
    host, name, days = place
    left, day = rotated(host, name), days_before(host, name)
    for age in range(1, days - 1):
        assert {f"{name}.log.{day(age)}{suffix}" for suffix in ("", ".gz", ".zst")} & left, f"the log of {age} days ago"
    assert f"{name}.log" in left


def test_compressed_logs_lost_no_line() -> None:
    host = testinfra.get_host("ansible://resources1")
    day = days_before(host, "feature11")(20)
    host.run_expect([1], f"ls /opt/feature11/logs/feature11.log.{day} 2>/dev/null && exit 0 || exit 1")
    text = host.check_output(
        f"cd /opt/feature11/logs && (zstd -dc feature11.log.{day}.zst || gzip -dc feature11.log.{day}.gz) 2>/dev/null"
    )
    assert len(text.splitlines()) == 24
    assert all(line.startswith(f"{day} ") for line in text.splitlines())


def test_undecodable_name_was_cleaned_as_any_other(place: tuple[Any, str, int]) -> None:
    host, name, _days = place
    assert host.check_output(f"cd /opt/{name}/logs && ls -1 | grep -ac '^r.sum..log' || true") == "0"


def test_nothing_was_touched_through_links(place: tuple[Any, str, int]) -> None:
    host, name, _days = place
    assert host.file("/srv/precious/figures.log").content_string == "precious\n"
    for link in ("linked_folder.log", "linked_file.log"):
        assert host.file(f"/opt/{name}/logs/{link}").is_symlink
    assert host.file(f"/opt/{name}/logs/hard_linked.log.9").content_string == "precious\n"


def test_files_of_other_names_stay(place: tuple[Any, str, int]) -> None:
    host, name, _days = place
    assert host.file(f"/opt/{name}/logs/notes.txt").exists


def test_the_service_still_writes_its_log(place: tuple[Any, str, int]) -> None:
    host, name, _days = place
    port = {"feature11": 8000, "ghosteam": 8081}[name]
    log = f"/opt/{name}/logs/{name}_access.log"
    before = host.file(log).size
    host.check_output(f"python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/health').read()\"")
    assert host.file(log).size > before
