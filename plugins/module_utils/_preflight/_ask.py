# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask the servers of this host which databases they hold."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql, postgresql, redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._servers import Place, Server

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Connection = t.Mapping[str, t.Any]
_REACH = ("container", "host", "port", "socket", "user", "run_as")
# Databases that proofs of backups make and drop.
SCRATCH_PREFIX = "sre_runbooks_"
SYSTEM_SCHEMAS = ("information_schema", "mysql", "performance_schema", "sys")
# One row of JSON for the server, each database of its own (those of a standby are its primary's), and the number of tables
# that are neither the system's nor an extension's.
_POSTGRESQL = """
SELECT json_build_array('server', (SELECT setting FROM pg_settings WHERE name = 'port'),
  (SELECT setting FROM pg_settings WHERE name = 'unix_socket_directories'))
UNION ALL
SELECT json_build_array('tables', count(*)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT json_build_array('database', datname, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END)
FROM pg_database WHERE NOT datistemplate AND NOT pg_is_in_recovery()
"""
_MYSQL = """
SELECT @@port AS port, @@socket AS socket;
SELECT s.schema_name AS name, coalesce(sum(t.data_length + t.index_length), 0) AS bytes FROM information_schema.schemata s
  LEFT JOIN information_schema.tables t ON t.table_schema = s.schema_name GROUP BY s.schema_name;
"""
_REMEDY = "Run with become, or give a source or a check of the inventory a connection that may list its databases ({options})."


class Database(t.NamedTuple):
    """A database of a server, or a SQLite file with its path as name.

    `reach` holds the options that lead to its server, without a password; `written` says that a file has a writer.
    """

    engine: str
    name: str
    place: Place
    size_bytes: int | None = None
    written: bool = False
    reach: t.Mapping[str, t.Any] = {}

    @property
    def subject(self) -> str:
        """Engine, server and name; a file's path names it alone."""
        parts = [self.place.label, self.name] if self.engine != "sqlite" else [self.name]
        return f"{self.engine}:{'/'.join(part for part in parts if part)}"


class CannotAsk(RunbookError):
    """A server does not tell its databases to anybody that the inventory names."""


def databases(
    server: Server, connections: t.Sequence[Connection], commands: Commands, timeout: float
) -> list[Database]:
    """What `server` holds, asked through the inventory's `connections` to it first, then as its owner.

    Raises CannotAsk with the remedy when nobody may.
    """
    ask = {"postgresql": _postgresql, "mysql": _mysql, "redis": _redis}[server.engine]
    ours = [each for each in connections if server.place.reached_by(server.engine, each)]
    problem: RunbookError | None = None
    for connection in [*ours, *_own(server)]:
        try:
            found = ask(server, connection, commands, timeout)
            reach = {key: connection[key] for key in _REACH if connection.get(key) is not None}
            return [each._replace(reach=reach) for each in found]
        except RunbookError as error:
            problem = problem or error
    options = {
        "postgresql": "host, port, user, password or run_as, or container",
        "mysql": "host, port or socket, user and password, or container",
        "redis": "host, port or socket, user and password, or container",
    }
    nowhere = "it runs in a container that no runtime names" if server.inside else "it shows neither port nor socket"
    raise CannotAsk(f"{problem or nowhere}. {_REMEDY.format(options=options[server.engine])}")


def _own(server: Server) -> list[Connection]:
    """How to reach a server without being told: through its socket as its owner, or on its port, or in its container."""
    place = server.place
    if server.inside:
        if not place.container:
            return []
        inside: Connection = {"container": place.container}
        if server.engine != "postgresql":
            return [inside]
        # As official images have it, then as packages do.
        user = server.environment.get("POSTGRES_USER", "postgres")
        return [{**inside, "user": user}, {**inside, "run_as": "postgres"}]
    as_owner = {"run_as": server.owner} if server.owner and os.geteuid() == 0 and server.engine == "postgresql" else {}
    found: list[Connection] = []
    for path in sorted(place.sockets):
        if server.engine == "postgresql":
            folder, _slash, name = path.rpartition("/")
            found.append({"host": folder, "port": int(name.rpartition(".")[2]), **as_owner})
        else:
            found.append({"socket": path})
    if not found or server.engine == "redis":
        found += [{"host": "127.0.0.1", "port": port} for port in sorted(place.ports)]
    return found


def _postgresql(server: Server, connection: Connection, commands: Commands, timeout: float) -> list[Database]:
    problem = None
    for name in dict.fromkeys(["postgres", connection.get("database") or connection.get("name") or "template1"]):
        try:
            text = postgresql.query(commands, {**connection, "database": name}, _POSTGRESQL, timeout)
        except RunbookError as error:
            problem = problem or error
            continue
        rows = [json.loads(line) for line in text.splitlines()]
        tables = next(row[1] for row in rows if row[0] == "tables") if name == "postgres" else None
        place = _known(server, rows[0][1], [])
        return [
            Database("postgresql", row[1], place, row[2])
            for row in rows
            if row[0] == "database"
            and not row[1].startswith(SCRATCH_PREFIX)
            and (row[1] != "postgres" or tables is None or tables > 0)
        ]
    raise problem or RunbookError("no database to connect to")


def _mysql(server: Server, connection: Connection, commands: Commands, timeout: float) -> list[Database]:
    text = mysql.query(commands, {**connection, "database": None}, _MYSQL, timeout).stdout
    head, listed = text.splitlines()[:2], text.splitlines()[2:]
    told = mysql.rows("\n".join(head))[0]
    place = _known(server, told["port"], [told["socket"]])
    return [
        Database("mysql", row["name"], place, int(float(row["bytes"])))
        for row in mysql.rows("\n".join(listed))
        if row["name"].lower() not in SYSTEM_SCHEMAS and not row["name"].startswith(SCRATCH_PREFIX)
    ]


def _redis(server: Server, connection: Connection, commands: Commands, timeout: float) -> list[Database]:
    """One entry, for a server is backed up as a whole; none where it keeps nothing and holds nothing."""
    given = {name: connection.get(name, spec.get("default")) for name, spec in redis.CONNECTION.items()}
    result = redis.query(commands, given, "INFO\nCONFIG GET save\n", timeout)
    info = redis.info(result.stdout)
    if "redis_version" not in info:
        raise RunbookError(redis.problem(result))
    keys = sum(int(value.partition(",")[0].partition("=")[2]) for name, value in info.items() if _is_keyspace(name))
    lines = [line.strip() for line in result.stdout.splitlines()]
    # Where CONFIG is forbidden, a server that ever saved is taken for one that does.
    saves = lines[lines.index("save") + 1 :] if "save" in lines else [""]
    persistent = info.get("aof_enabled") == "1" or any(saves)
    if not keys and not persistent:
        return []
    place = _known(server, info.get("tcp_port"), [])
    return [Database("redis", "", place, redis.dataset_bytes(info))]


def _is_keyspace(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _known(server: Server, port: t.Any, sockets: t.Sequence[str]) -> Place:
    """The place with what the server itself tells; inside a container its words mean other places."""
    place = server.place
    if server.inside:
        return place
    ports = frozenset([int(port)]) if str(port or "").isdigit() and int(port) else frozenset()
    paths = frozenset(os.path.realpath(each) for each in sockets if each.startswith("/"))
    return place._replace(ports=place.ports | ports, sockets=place.sockets | paths)
