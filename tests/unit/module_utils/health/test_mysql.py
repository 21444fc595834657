# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client of MariaDB and MySQL prints, and how it is called (H5)."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql as core
from ansible_collections.sre.runbooks.plugins.module_utils._health import mysql


def test_rows_with_characters_that_are_escaped():
    text = "name\tvalue\na\\tb\tc\\nd\\\\e\nNULL\tx\\0y\n"
    assert core.rows(text) == [{"name": "a\tb", "value": "c\nd\\e"}, {"name": "NULL", "value": "x\0y"}]
    assert core.rows("") == []


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({}, []),
        ({"user": "u"}, ["--user=u"]),
        ({"user": "u", "password": "p"}, ["--no-defaults", "--user=u"]),
        ({"host": "localhost"}, ["--protocol=tcp", "--host=localhost"]),
        ({"port": 3307}, ["--protocol=tcp", "--host=127.0.0.1", "--port=3307"]),
        ({"socket": "/s", "host": "h", "port": 1}, ["--protocol=socket", "--socket=/s"]),
    ],
)
def test_arguments(connection, words):
    assert core.arguments(connection) == words
    assert core.secrets(connection) == ({"MYSQL_PWD": "p"} if "password" in connection else {})


CHANNEL = {"Seconds_Behind_Master": "7", "Connection_name": "", "Last_IO_Error": "", "Last_SQL_Error": ""}


@pytest.mark.parametrize(
    ("channels", "lag", "problems"),
    [
        ([], None, []),
        ([CHANNEL], 7, []),
        ([CHANNEL, {**CHANNEL, "Seconds_Behind_Master": "9"}], 9, []),
        ([{"Seconds_Behind_Source": "3", "Channel_Name": ""}], 3, []),
        (
            [
                CHANNEL,
                {**CHANNEL, "Seconds_Behind_Master": "NULL", "Connection_name": "b", "Last_IO_Error": "no route"},
            ],
            None,
            ["replication b stands still: no route"],
        ),
        ([{**CHANNEL, "Seconds_Behind_Master": "NULL"}], None, ["replication stands still: its threads do not run"]),
    ],
)
def test_replication(channels, lag, problems):
    assert mysql.replication(channels) == (lag, problems)


@pytest.mark.parametrize("there", [["mariadb", "mysql"], ["mysql"], ["mariadb"]])
def test_in_a_container_a_shell_finds_the_client_and_passes_arguments_as_they_are(tmp_path, there):
    for name in there:
        (tmp_path / name).write_text('#!/bin/sh\necho "${0##*/}" "$#" "$2"\n')
        (tmp_path / name).chmod(0o755)
    words = core.client("mariadb", {"container": "db"})
    argv = ["/bin/sh", *words[1:], "--user=u", "$(touch /tmp/x); 'quoted'"]
    done = subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, env={"PATH": str(tmp_path)})
    assert done.stdout == f"{there[0]} 2 $(touch /tmp/x); 'quoted'\n"
