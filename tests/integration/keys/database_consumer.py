# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that uses a password of a database: database_consumer.py <env file> <address> <folder>

It reads its file when it starts and at SIGHUP: DATABASE_URL, or DB_USER and DB_PASSWORD for <address>. It keeps one session open and makes
new ones all the time. <folder>/refused gets a line for each that was refused, <folder>/ended for each open session that was ended before the
program had read its file again; <folder>/calls is the number of sessions made.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql

REFUSED = ("authentication failed", "not permitted to log in", "access denied", "account is locked", "1045", "4151")


def held(env_file: str, address: str) -> tuple[str, str, str]:
    """Address, user and password as the file has them."""
    lines = dict(line.split("=", 1) for line in Path(env_file).read_text().splitlines() if "=" in line)
    lines = {name: value.strip("'\"") for name, value in lines.items()}
    if "DATABASE_URL" not in lines:
        return address, lines["DB_USER"], lines["DB_PASSWORD"]
    parts = urlsplit(lines["DATABASE_URL"])
    return lines["DATABASE_URL"], unquote(parts.username or ""), unquote(parts.password or "")


def session(url: str, user: str, password: str) -> psycopg.Connection | pymysql.Connection:
    """A new session at the server of `url`."""
    parts = urlsplit(url)
    place = {"host": parts.hostname, "port": parts.port, "user": user, "password": password, "connect_timeout": 10}
    if parts.scheme == "mysql":
        return pymysql.connect(database=parts.path[1:], **place)
    return psycopg.connect(dbname=parts.path[1:], autocommit=True, **place)


def main(env_file: str, address: str, folder: Path) -> None:
    again = [True]

    def read(*_signal: object) -> None:
        again[0] = True

    def log(name: str, text: object) -> None:
        with (folder / name).open("a") as stream:
            stream.write(f"{text}\n".replace("\n", " ") + "\n")

    signal.signal(signal.SIGHUP, read)
    calls, kept = 0, None
    while os.getppid() != 1:
        if again[0]:
            again[0] = False
            reach, kept = held(env_file, address), None
        try:
            with session(*reach):
                calls += 1
            kept = kept or session(*reach)
        except (psycopg.Error, pymysql.Error) as error:
            if any(each in str(error).lower() for each in REFUSED) and not again[0]:
                log("refused", error)
        try:
            if kept is not None:
                with kept.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    cursor.fetchall()
        except (psycopg.Error, pymysql.Error) as error:
            if not again[0]:
                log("ended", error)
            kept = None
        (folder / "calls").write_text(str(calls))
        time.sleep(0.03)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
