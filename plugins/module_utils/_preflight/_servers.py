# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database servers that run on this host, and where each of them listens."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import socket
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

PROGRAMS = {
    "postgres": "postgresql", "postmaster": "postgresql", "mysqld": "mysql", "mariadbd": "mysql",
    "redis-server": "redis", "valkey-server": "redis", "keydb-server": "redis",
}  # fmt: skip
PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379}
# Where clients look when they are told nothing.
SOCKETS = {
    "postgresql": ("/var/run/postgresql/.s.PGSQL.5432", "/tmp/.s.PGSQL.5432"),  # noqa: S108 - a server's choice
    "mysql": ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"),  # noqa: S108
    "redis": (),
}
_SOCKET_NAMES = {
    "postgresql": re.compile(r"\.s\.PGSQL\.(\d+)"),
    "mysql": re.compile(r"mysqld?\.sock|mariadbd?\.sock"),
    "redis": re.compile(r"(?:redis|valkey|keydb)[\w-]*\.sock"),
}
_ACCEPTING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix
_RUNTIME_SECONDS = 10.0


class Place(t.NamedTuple):
    """Where a server is: what tells it from every other one of its engine on this host."""

    ports: frozenset[int] = frozenset()
    sockets: frozenset[str] = frozenset()
    container: str | None = None

    @property
    def label(self) -> str:
        """Short and the same in every run: container, lowest port, or socket."""
        if self.container:
            return f"container {self.container}"
        return str(min(self.ports)) if self.ports else min(self.sockets, default="?")

    def reached_by(self, engine: str, connection: t.Mapping[str, t.Any]) -> bool:
        """Whether the options of a source or a check lead here."""
        if connection.get("container"):
            return bool(connection["container"] == self.container)
        host, port, path = (connection.get(each) for each in ("host", "port", "socket"))
        if engine == "postgresql" and str(host or "").startswith("/"):
            path, host = os.path.join(str(host), f".s.PGSQL.{port or PORTS[engine]}"), None
        if path:
            return os.path.realpath(path) in self.sockets
        if engine == "postgresql" and not host and port:
            names = [os.path.join(os.path.dirname(each), f".s.PGSQL.{port}") for each in SOCKETS[engine]]
            return any(os.path.realpath(each) in self.sockets for each in names)
        if host or port:
            return is_local(str(host or "127.0.0.1")) and int(port or PORTS[engine]) in self.ports
        usual = {os.path.realpath(each) for each in SOCKETS[engine]}
        return bool(usual & self.sockets) or (engine != "postgresql" and PORTS[engine] in self.ports)


class Server(t.NamedTuple):
    """A running server. `owner` is the operating system's user; `inside` says that it runs in a container.

    `environment` is that of its container, by which official images are told their first user.
    """

    engine: str
    place: Place
    owner: str = ""
    pid: int = 0
    inside: bool = False
    environment: t.Mapping[str, str] = {}

    @property
    def subject(self) -> str:
        """What findings about the server as a whole are about."""
        if self.place.label != "?":
            return f"{self.engine}:{self.place.label}"
        return f"{self.engine}:{'some container' if self.inside else f'process of {self.owner}'}"


def running(commands: Commands) -> list[Server]:
    """Every server of an engine that the collection knows, once, by its processes and by the sockets that are listened on."""
    psutil = _psutil.get()
    listening = _listening_sockets()
    servers: list[Server] = []
    containers: list[dict[str, t.Any]] | None = None
    for process, engine in _first_processes(psutil):
        if _in_namespace(process.pid):
            containers = _containers(commands) if containers is None else containers
            servers.append(_contained(psutil, process, engine, containers))
        else:
            servers.append(_on_host(psutil, process, engine, listening))
    return _with_orphans(servers, listening)


def is_local(host: str) -> bool:
    """Whether a name or an address is this host's."""
    name = host.strip("[]").lower()
    if name in ("localhost", "::1", socket.gethostname().lower()) or name.startswith("127."):
        return True
    psutil = _psutil.get()
    own = {each.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for each in addresses}
    if name in own:
        return True
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(str(each[4][0]) in own for each in found)


def _first_processes(psutil: t.Any) -> t.Iterator[tuple[t.Any, str]]:
    """The servers' own processes with their engines, without those that they started."""
    found: dict[int, tuple[t.Any, str, int]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            engine = PROGRAMS.get(process.name())
            if engine and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = (process, engine, process.ppid())
    for process, engine, parent in found.values():
        if parent not in found or found[parent][1] != engine:
            yield process, engine


def _in_namespace(pid: int) -> bool:
    """Whether a process has a number of its own inside, as in containers (proc(5): NSpid)."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
            return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in stream)
    except OSError:
        return False


def _on_host(psutil: t.Any, process: t.Any, engine: str, listening: t.Collection[str]) -> Server:
    ports: set[int] = set()
    sockets: set[str] = set()
    with contextlib.suppress(psutil.Error, OSError):
        for each in connections(process):
            if each.family == socket.AF_UNIX and each.laddr in listening:
                sockets.add(os.path.realpath(each.laddr))
            elif each.family != socket.AF_UNIX and each.status == psutil.CONN_LISTEN:
                ports.add(each.laddr.port)
    if not ports and not sockets:
        ports, sockets = _told(engine, _command_line(psutil, process))
    if engine == "postgresql":
        names = [_SOCKET_NAMES[engine].fullmatch(os.path.basename(each)) for each in sockets]
        ports |= {int(match[1]) for match in names if match}
    owner = ""
    with contextlib.suppress(psutil.Error, KeyError):
        owner = process.username()
    return Server(engine, Place(frozenset(ports), frozenset(sockets)), owner, process.pid)


def connections(process: t.Any) -> list[t.Any]:
    """The sockets of a process; psutil before 6.0 has another name for it."""
    return list((process.net_connections if hasattr(process, "net_connections") else process.connections)(kind="all"))


def _command_line(psutil: t.Any, process: t.Any) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.Error, OSError):
        return []


def _told(engine: str, words: t.Sequence[str]) -> tuple[set[int], set[str]]:
    """Port and socket as the command line tells them, for those who may not look at another user's process.

    Redis writes its address there (`redis-server 127.0.0.1:6379`, `redis-server unixsocket:/run/redis.sock`).
    """
    text = " ".join(words)
    if engine == "redis":
        ports = {int(each) for each in re.findall(r"(?:\]|\*|[\d.]):(\d+)\b", text)}
        return ports, {os.path.realpath(each) for each in re.findall(r"unixsocket:(/\S+)", text)}
    ports = {int(each) for each in re.findall(r"(?:--port[= ]|-p ?)(\d+)\b", text)}
    return ports, {os.path.realpath(each) for each in re.findall(r"--socket[= ](/\S+)", text)}


def _listening_sockets() -> set[str]:
    """The paths of unix sockets that something on this host listens on; every user may read them."""
    found = set()
    with contextlib.suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            words = line.rstrip("\n").split(maxsplit=7)
            if len(words) == 8 and words[7].startswith("/") and words[3] != "Flags" and int(words[3], 16) & _ACCEPTING:
                found.add(words[7])
    return found


def _with_orphans(servers: t.Sequence[Server], listening: t.Iterable[str]) -> list[Server]:
    """Join sockets that are known by their names to the servers whose own sockets could not be seen."""
    known = {path for each in servers for path in each.place.sockets}
    result = list(servers)
    for path in sorted(listening):
        real = os.path.realpath(path)
        engine = next((name for name, form in _SOCKET_NAMES.items() if form.fullmatch(os.path.basename(path))), None)
        if engine is None or real in known:
            continue
        known.add(real)
        owner = _owner(real)
        if owner is None:
            continue
        match = _SOCKET_NAMES["postgresql"].fullmatch(os.path.basename(path))
        ports = frozenset([int(match[1])]) if match else frozenset()
        place = Place(ports, frozenset([real]))
        index = _same(result, engine, place, owner)
        if index is None:
            result.append(Server(engine, place, owner))
        else:
            before = result[index].place
            joined = Place(before.ports | ports, before.sockets | place.sockets)
            result[index] = result[index]._replace(place=joined)
    return result


def _same(servers: t.Sequence[Server], engine: str, place: Place, owner: str) -> int | None:
    """The server that a socket belongs to: of its port, or its owner's only one that shows no place at all."""
    alike = [
        index
        for index, each in enumerate(servers)
        if each.engine == engine and not each.inside and not each.place.sockets
    ]
    ports = [index for index in alike if place.ports & servers[index].place.ports]
    hidden = [index for index in alike if servers[index].owner == owner and not servers[index].place.ports]
    return next(iter(ports or hidden), None)


def _owner(path: str) -> str | None:
    """The name of a socket's owner; None for what is no socket any more."""
    try:
        info = os.stat(path)
        if not stat.S_ISSOCK(info.st_mode):
            return None
        return pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        return ""
    except PermissionError:
        return ""
    except OSError:
        return None


def _containers(commands: Commands) -> list[dict[str, t.Any]]:
    """What the runtimes of this host know of their running containers."""
    found: list[dict[str, t.Any]] = []
    for runtime in ("podman", "docker"):
        if not shutil.which(runtime):
            continue
        with contextlib.suppress(RunbookError, ValueError):
            listed = commands.run([runtime, "ps", "--quiet", "--no-trunc"], timeout=_RUNTIME_SECONDS).stdout.split()
            if listed:
                argv = [runtime, "inspect", "--type=container", *listed]
                found += json.loads(commands.run(argv, timeout=_RUNTIME_SECONDS).stdout)
    return found


def _contained(psutil: t.Any, process: t.Any, engine: str, containers: t.Sequence[t.Mapping[str, t.Any]]) -> Server:
    """The server with the name of its container and the ports that the container publishes on the host."""
    ancestors: set[int] = {process.pid}
    with contextlib.suppress(psutil.Error):
        ancestors |= {each.pid for each in process.parents()}
    for each in containers:
        if each.get("State", {}).get("Pid") in ancestors:
            published = (each.get("NetworkSettings") or {}).get("Ports") or {}
            ports = {
                int(binding["HostPort"]) for bindings in published.values() for binding in bindings or () if binding
            }
            words = (each.get("Config") or {}).get("Env") or []
            environment = dict(word.partition("=")[::2] for word in words)
            place = Place(frozenset(ports), frozenset(), str(each["Name"]).lstrip("/"))
            return Server(engine, place, "", process.pid, True, environment)
    return Server(engine, Place(), "", process.pid, True)
