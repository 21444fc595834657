# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of a deployment's file, and versions of real programs (H12)."""

from __future__ import annotations

import json
import platform
import stat
import sys

import pytest

SECRET = "geheim-0123456789"
FILE = f"""# deployment
DATABASE_URL=postgresql://me:{SECRET}@db/x
export API_KEY="{SECRET}"
QUOTED='{SECRET} # no comment'
EMPTY=
EMPTY_QUOTES=""
ONLY_COMMENT=   # to be filled in
# COMMENTED_OUT=1
SPACED = {SECRET}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / ".env"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("variables", "missing", "told"),
    [
        (["DATABASE_URL", "API_KEY", "QUOTED", "SPACED", "API_KEY"], 0, "4 of 4 variables are set"),
        (
            ["DATABASE_URL", "SMTP_HOST", "COMMENTED_OUT"],
            2,
            "1 of 3 variables are set; missing: SMTP_HOST, COMMENTED_OUT",
        ),
        (
            ["EMPTY", "EMPTY_QUOTES", "ONLY_COMMENT"],
            3,
            "0 of 3 variables are set; empty: EMPTY, EMPTY_QUOTES, ONLY_COMMENT",
        ),
    ],
)
def test_variables(run, file, variables, missing, told):
    result = run({"name": "x", "type": "environment", "file": str(file), "variables": variables})
    (outcome,) = result["outcomes"]
    assert outcome["metrics"] == {"missing": missing}
    assert outcome["status"] == ("critical" if missing else "ok")
    assert outcome["summary"].endswith(f"{file}: {told}")
    assert SECRET not in json.dumps(result)


def test_a_file_that_is_missing_lacks_all_of_them(check, tmp_path):
    outcome = check("environment", file=str(tmp_path / "none"), variables=["A", "B"], warning="> 0")
    assert (outcome["status"], outcome["metrics"]) == ("warning", {"missing": 2})
    assert "there is no such file; missing are A, B" in outcome["summary"]


def test_a_file_that_cannot_be_read_is_unknown(check, tmp_path):
    assert check("environment", file=str(tmp_path), variables=["A"])["status"] == "unknown"


@pytest.mark.parametrize("content", [b"\x00\xff\xfe garbage \x00=\x00\nA=1\n", b"A=1\r\nB\n", b"\xef\xbb\xbf# \nA=1"])
def test_a_file_with_garbage_in_it(check, tmp_path, content):
    (tmp_path / "env").write_bytes(content)
    assert check("environment", file=str(tmp_path / "env"), variables=["A"])["status"] == "ok"


def test_a_file_without_an_end_is_unknown(check):
    outcome = check("environment", file="/dev/zero", variables=["A"])
    assert (outcome["status"], outcome["summary"]) == (
        "unknown",
        "/dev/zero: is larger than 1 MiB. Name a file of variables.",
    )


@pytest.mark.parametrize(
    ("least", "missing"),
    [
        ("3", 0),
        ("3.0.0", 0),
        (platform.python_version(), 0),
        ("3.99", 1),
        ("4", 1),
        ("03.9", 0),
        (f"{platform.python_version()}.1", 1),
    ],
)
def test_the_version_of_a_real_program(check, least, missing):
    outcome = check("environment", program=sys.executable, minimum_version=least, timeout="60s")
    assert outcome["metrics"] == {"missing": missing}
    assert outcome["status"] == ("critical" if missing else "ok")
    assert f"is {platform.python_version()}" in outcome["summary"]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v20.20.2", "20.20.2"), ("git version 2.39.5", "2.39.5"), ("psql (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"), ("OpenSSL 3.0.17 1 Jul 2025", "3.0.17"),
        ('openjdk version "17.0.16" 2025-07-15', "17.0.16"), ("x86_64-tool2 8", "8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [1, 2])
def test_how_programs_tell_their_version(check, tmp_path, text, version, stream):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat >&{stream} <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    outcome = check("environment", program=str(program), minimum_version="8")
    assert outcome["details"]["version"] == version


def test_a_program_that_is_not_installed_is_missing(check):
    outcome = check("environment", program="no-such-node", minimum_version="18")
    assert (outcome["status"], outcome["metrics"]) == ("critical", {"missing": 1})
    assert outcome["summary"].endswith("no-such-node is not installed, at least version 18 is needed")


@pytest.mark.parametrize(
    ("script", "timeout", "message"),
    [
        ("exit 3", "60s", "ended with status 3"),
        ("echo nothing", "60s", "tells no version"),
        ("sleep 60", "500ms", "did not end within 0.5 s"),
    ],
)
def test_a_program_that_does_not_tell_is_unknown(check, tmp_path, script, timeout, message):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    outcome = check("environment", program=str(program), minimum_version="8", timeout=timeout)
    assert outcome["status"] == "unknown"
    assert message in outcome["summary"]
