# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused before anything is looked at (L5)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import policy

GOOD = {
    "name": "p", "paths": ["/var/log/app"], "patterns": ["*.log.*"], "exclude": [], "recurse": False, "older_than": "30d",
    "action": "delete", "compression": "zstd",
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/", "//", "/./", "/etc", "/etc/", "/usr", "/usr/share/doc", "/usr/local", "/bin", "/boot", "/proc/1", "/sys", "/dev/shm",
        "/lib64", "/sbin", "/run/log", "/var", "/home", "/opt", "/root", "/var/lib", "logs", "./logs", "", "/var/log/../../etc",
        "/var/log/a\0b",
    ],
)  # fmt: skip
def test_folders_that_are_refused(path):
    with pytest.raises(InputError, match="paths"):
        policy.parse([{**GOOD, "paths": [path]}])


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/var/log", "/var/log"),
        ("/var//log/app/", "/var/log/app"),
        ("/usr/local/nginx/logs", "/usr/local/nginx/logs"),
        ("/opt/app/logs", "/opt/app/logs"),
        ("/etcetera", "/etcetera"),
        ("/var/lib/app/logs", "/var/lib/app/logs"),
    ],
)
def test_folders_that_are_taken(path, clean):
    assert policy.parse([{**GOOD, "paths": [path, path]}])[0].paths == (clean,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patterns": []}, "patterns: .* is empty"),
        ({"patterns": [""]}, "empty pattern"),
        ({"patterns": ["*.log", " "]}, "empty pattern"),
        ({"patterns": ["old/*.log"]}, "no file name pattern"),
        ({"exclude": ["a/b"]}, "exclude"),
        ({"paths": []}, "names no folder"),
        ({"name": " "}, "is empty"),
        ({"older_than": "a month"}, r"policies\[p\].older_than: 'a month'"),
        ({"older_than": "-1d"}, "negative"),
        ({"larger_than": "10 elephants"}, r"policies\[p\].larger_than"),
        ({"keep_newest": -1}, "keep_newest"),
        ({"older_than": None}, "every file that matches"),
    ],
)
def test_policies_that_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        policy.parse([{**GOOD, **wrong}])


def test_two_policies_of_one_name_are_refused():
    with pytest.raises(InputError, match="two policies"):
        policy.parse([GOOD, GOOD])


@pytest.mark.parametrize("wrong", [{"files": -1}, {"percent": 101}, {"percent": -1}, {"bytes": "lots"}])
def test_limits_that_are_refused(wrong):
    with pytest.raises(InputError, match=f"limits.{next(iter(wrong))}"):
        policy.parse_limits({"files": 1, "bytes": "1GiB", "percent": 100, **wrong})


def test_patterns_match_whole_names_by_case_and_dot_files_too():
    matches = policy.parse([{**GOOD, "patterns": ["*.log.?", "trace*"]}])[0].matches
    assert [name for name in ("a.log.1", "a.log.10", "A.LOG.1", ".b.log.2", "trace", "r\udce9sum\udce9.log.9") if matches(name)] == [
        "a.log.1", ".b.log.2", "trace", "r\udce9sum\udce9.log.9",
    ]  # fmt: skip
