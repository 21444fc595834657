# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the client programs of MariaDB and MySQL are called: shared by health checks, backups and maintenance."""

from __future__ import annotations

import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, Completed, Target

CONNECTION: dict[str, t.Any] = {
    "database": {"type": "str"},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "socket": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "run_as": {"type": "str"},
    "container": {"type": "str"},
}
CONNECT_SECONDS = 5
# MariaDB's own names, and those that MySQL has (and MariaDB before 10.5).
OTHER_NAMES = {"mariadb": "mysql", "mariadb-dump": "mysqldump"}
# What `--batch` writes for characters that would end a column or a row (MariaDB documentation, "mariadb Command-line Client").
_ESCAPED = re.compile(r"\\([0tn\\])")
_CHARACTERS = {"0": "\0", "t": "\t", "n": "\n", "\\": "\\"}


def client(program: str, connection: t.Mapping[str, t.Any]) -> list[str]:
    """The words that start `program` (a MariaDB name), or its MySQL namesake where that is what there is."""
    other = OTHER_NAMES[program]
    if connection.get("container"):
        # Only a shell in there knows which of the two the image has; the text is fixed, and arguments are parameters.
        return ["sh", "-c", f'exec "$(command -v {program} || echo {other})" "$@"', program]
    return [other if shutil.which(program) is None and shutil.which(other) else program]


def target(connection: t.Mapping[str, t.Any]) -> Target:
    """Where and as whom the client programs run."""
    return Target(connection.get("run_as"), connection.get("container"))


def arguments(connection: t.Mapping[str, t.Any]) -> list[str]:
    """The connection options that all client programs share, first of all those that must come first.

    A password in an option file (`~/.my.cnf`) would win over ours, so with one given those files are not read. A host or
    a port means TCP, `localhost` too, which the clients take for the socket.
    """
    words = ["--no-defaults"] if connection.get("password") else []
    if connection.get("socket"):
        words += ["--protocol=socket", f"--socket={connection['socket']}"]
    elif connection.get("host") or connection.get("port"):
        words += ["--protocol=tcp", f"--host={connection.get('host') or '127.0.0.1'}"]
        words += [f"--port={connection['port']}"] if connection.get("port") else []
    return words + ([f"--user={connection['user']}"] if connection.get("user") else [])


def secrets(connection: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The password, for the environment."""
    return {"MYSQL_PWD": connection["password"]} if connection.get("password") else {}


def query(
    commands: Commands, connection: t.Mapping[str, t.Any], sql: str, timeout: float, *, check: bool = True
) -> Completed:
    """Run the statements of `sql`, which end with semicolons; `rows` reads the output. `timeout` is in seconds."""
    database = [f"--database={connection['database']}"] if connection.get("database") else []
    argv = [
        *client("mariadb", connection), *arguments(connection), *database, "--batch", "--unbuffered",
        "--default-character-set=utf8mb4", f"--connect-timeout={CONNECT_SECONDS}", f"--execute={limited(sql, timeout)}",
    ]  # fmt: skip
    return commands.run(argv, target=target(connection), secrets=secrets(connection), timeout=timeout, check=check)


def limited(sql: str, timeout: float) -> str:
    """`sql` with a time limit on the server, where the client's end would not end the statement.

    Only MariaDB runs what stands in `/*M!`, and it leaves out `/*!` with a version from 5.7.0 to 9.99 (MariaDB documentation, "Comment Syntax").
    """
    seconds = max(timeout, 0.001)
    return f"SET /*M!100101 max_statement_time={seconds:g} *//*!50708 max_execution_time={seconds * 1000:.0f} */; {sql}"


def rows(text: str) -> list[dict[str, str]]:
    """What `--batch` prints for one statement: the columns' names, then the rows; NULL is the text `NULL`."""
    # Not splitlines(): what else it takes for the end of a line may stand in a name.
    lines = [[unescaped(word) for word in line.split("\t")] for line in text.split("\n") if line]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def unescaped(word: str) -> str:
    """A word of what `--batch` prints, as it was."""
    return _ESCAPED.sub(lambda match: _CHARACTERS[match[1]], word)
