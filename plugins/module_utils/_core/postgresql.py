# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How PostgreSQL's client programs are called: shared by health checks, backups and maintenance."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, Target

CONNECTION: dict[str, t.Any] = {
    "database": {"type": "str", "default": "postgres"},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "run_as": {"type": "str"},
    "container": {"type": "str"},
}
CONNECT_SECONDS = 5
# Debian's and PGDG's RedHat packages, a folder for each major version.
CLIENT_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def client(program: str, connection: t.Mapping[str, t.Any]) -> str:
    """The newest installed `program`, past the wrapper that Debian has on the PATH.

    The wrapper is a Perl script that costs more than the query; a newer client serves older servers (psql and pg_dump
    know all servers from 9.2 on). In a container the program on the container's PATH is the right one.
    """
    if connection.get("container"):
        return program
    found = [path for pattern in CLIENT_FOLDERS for path in glob.glob(os.path.join(pattern, program))]
    return max(found, key=_major, default=program)


def _major(path: str) -> int:
    digits = re.search(r"(?:postgresql/|pgsql-)(\d+)", path)
    return int(digits[1]) if digits else 0


def target(connection: t.Mapping[str, t.Any]) -> Target:
    """Where and as whom the client programs run."""
    return Target(connection.get("run_as"), connection.get("container"))


def arguments(connection: t.Mapping[str, t.Any]) -> list[str]:
    """The connection options that all of PostgreSQL's client programs share; they never ask for a password."""
    named = [(f"--{key}", connection.get({"username": "user"}.get(key, key))) for key in ("host", "port", "username")]
    return ["--no-password", *[f"{option}={value}" for option, value in named if value is not None]]


def environment(timeout: float | None = None) -> dict[str, str]:
    """Time limits: on connecting, and on the server for each statement."""
    env = {"PGCONNECT_TIMEOUT": str(CONNECT_SECONDS), "PGAPPNAME": "sre.runbooks"}
    if timeout is not None:
        env["PGOPTIONS"] = f"-c statement_timeout={int(timeout * 1000)}"
    return env


def secrets(connection: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The password, for the environment."""
    return {"PGPASSWORD": connection["password"]} if connection.get("password") else {}


def query(
    commands: Commands, connection: t.Mapping[str, t.Any], sql: str, timeout: float, database: str | None = None
) -> str:
    """The rows of one query: columns parted by the unit separator, rows by new lines. `timeout` is in seconds."""
    argv = [
        client("psql", connection), "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--field-separator=\x1f",
        "--set=ON_ERROR_STOP=1", *arguments(connection), f"--dbname={database or connection['database']}",
        f"--command={sql}",
    ]  # fmt: skip
    result = commands.run(
        argv, target=target(connection), environment=environment(timeout), secrets=secrets(connection), timeout=timeout
    )
    return result.stdout.rstrip("\n")
