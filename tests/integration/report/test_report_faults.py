# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's database, settings and terminal: what is wrong is named, and no password is shown."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest


def test_postgresql_keeps_the_history_and_its_password_is_not_shown(project, postgresql_server, postgresql_database):
    url = postgresql_server.url(postgresql_database)
    result = project.run("-vvv", "-e", f"runbooks_history_url={url}", "--limit", "gho-db")
    assert result.rc == 0, result.output
    assert postgresql_server.psql("SELECT host, status, ok FROM host_runs", postgresql_database) == "gho-db|ok|3"
    assert not (project.state / "history.db").exists()
    shown = "\n".join(line for line in result.output.splitlines() if "runbooks_history_url=" not in line)
    assert postgresql_server.password not in shown
    wrong = project.run(
        "-vvv", "-e", "runbooks_history_url=postgresql://postgres:wr0ngsecret@127.0.0.1:1/x", "--limit", "gho-db"
    )
    assert wrong.rc == 2
    assert "history_url: postgresql://postgres:***@127.0.0.1:1/x cannot be used" in wrong.output
    shown = "\n".join(line for line in wrong.output.splitlines() if "runbooks_history_url=" not in line)
    assert "wr0ngsecret" not in shown


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("report_fail_on=sometimes", "value of report_fail_on must be one of: never, unknown, warning, critical"),
        ('{"report_formats": ["pdf"]}', "value of report_formats must be one or more of: table, json, html"),
        ("report_history_url=mysql://host/x", "history_url: mysql://host/x is of the kind 'mysql'"),
        (
            "report_history_url=sqlite:////proc/nothing/history.db",
            "history_url: sqlite:////proc/nothing/history.db cannot be used",
        ),
        (
            "report_directory=/proc/nothing report_history_url=sqlite:///history.db",
            "directory: '/proc/nothing' cannot hold the report",
        ),
    ],
)
def test_wrong_settings_are_named(project, setting, message):
    result = project.run("--limit", "gho-db", "-e", setting, "-e", "@secret.yml")
    assert result.rc == 2
    assert message in result.output.replace('\\"', '"')
    assert "topsecret" not in result.output


def test_the_table_takes_the_width_and_colours_of_the_terminal(project):
    """Under script(1) there is a terminal: colours appear, unless NO_COLOR forbids them."""
    script = shutil.which("script")
    assert script, "the program script is missing: install the package bsdutils"
    command = f"stty cols 70; {shlex.join(project.argv('--limit', 'f11-dead'))}"
    environment = {**project.environment(), "TERM": "xterm"}
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        done = subprocess.run(
            [script, "-qec", command, "/dev/null"],
            cwd=project.folder,
            env={**environment, **extra},
            text=True,
            capture_output=True,
            check=False,
        )
        table = done.stdout[done.stdout.index("daily: CRITICAL") : done.stdout.index("Roll-call")]
        assert ("\x1b[" in table) is coloured
        lines = re.sub(r"\x1b\[[0-9;]*m", "", table).splitlines()
        assert 60 < max(map(len, lines)) <= 70
