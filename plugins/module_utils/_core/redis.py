# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How redis-cli is called: shared by health checks and backups."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, Completed, Target

CONNECTION: dict[str, t.Any] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6379},
    "socket": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "container": {"type": "str"},
}


def place(connection: t.Mapping[str, t.Any]) -> str:
    """What is connected to, for a person: the socket, or the host."""
    return str(connection["socket"] or connection["host"])


def target(connection: t.Mapping[str, t.Any]) -> Target:
    """Where redis-cli runs."""
    return Target(container=connection["container"])


def client(connection: t.Mapping[str, t.Any]) -> list[str]:
    """redis-cli with the options that connect it."""
    if connection["socket"]:
        where = ["-s", connection["socket"]]
    else:
        where = ["-h", connection["host"], "-p", str(connection["port"])]
    user = ["--user", connection["user"]] if connection["user"] else []
    return ["redis-cli", *where, *user, "--no-auth-warning"]


def secrets(connection: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The password, for the environment."""
    return {"REDISCLI_AUTH": connection["password"]} if connection["password"] else {}


def query(commands: Commands, connection: t.Mapping[str, t.Any], lines: str, timeout: float | None) -> Completed:
    """Send the commands in `lines`; redis-cli prints their answers one after the other and ends with 0 whatever they are."""
    return commands.run(
        client(connection), secrets=secrets(connection), timeout=timeout, target=target(connection), data=lines
    )


def problem(result: Completed) -> str:
    """What went wrong, out of the answer of a server that refused a command.

    "AUTH failed: WRONGPASS …" stands in the error output; what follows in the answer is only that nobody is logged in.
    """
    return result.stderr.strip().partition("\n")[0] or result.stdout.strip().partition("\n")[0] or "no answer"


def info(text: str) -> dict[str, str]:
    """The fields of what INFO answers."""
    return dict(line.strip().partition(":")[::2] for line in text.splitlines())


def dataset_bytes(info: t.Mapping[str, str]) -> int:
    """Bytes of memory that the data take, by the answer to INFO.

    The server takes its overhead off its memory; where the overhead is the larger, the difference that it tells is near 2^64.
    """
    used = int(info.get("used_memory") or 0)
    return min(used, int(info.get("used_memory_dataset") or used))
