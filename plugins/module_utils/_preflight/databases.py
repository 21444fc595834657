# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases on the host, and which of them no backup source covers."""

from __future__ import annotations

import concurrent.futures
import fnmatch
import json
import os
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _ask, _servers, _sqlite_files
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._ask import Database
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "database_uncovered": "the database has no backup",
    "globals_uncovered": "databases are restored without the roles and rights of their server",
    "database_as_file": "a copy of a SQLite file that is written to meanwhile may be torn: it cannot be restored",
    "databases_unknown": "a server does not tell what it holds, so that nobody knows whether it has a backup",
    "files_unknown": "not every file could be looked at, so that SQLite databases may be overlooked",
}

# What YAML reads as the same text without quotes.
_PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/][\w./-]*|\d+|\d+(?:\.\d+){3}", re.ASCII | re.IGNORECASE
)
# For all servers together, and for one of them.
SECONDS = 20.0
SERVER_SECONDS = 5.0
WORKERS = 8
# So many databases of one folder are told one by one.
SHOWN = 3
# Nobody's data alone lie directly in these.
TOO_WIDE = (
    "/", "/etc", "/home", "/root", "/tmp", "/usr", "/var", "/var/lib", "/var/tmp",  # noqa: S108 - nothing is written there
)  # fmt: skip


class Found(t.NamedTuple):
    """What there is, and what could not be looked at."""

    databases: list[Database]
    unknown: list[Finding]


def look(inventory: Inventory, host: Host) -> Looked:
    """Compare what is on the host with the backup sources; checks of databases tell how servers are reached, too."""
    checks = [
        {
            **check.options.get("connection", {}),
            "engine": check.type,
            "name": check.options.get("connection", {}).get("database"),
        }
        for check in inventory.checks
        if check.type in _servers.PORTS
    ]
    seen = found(
        host.commands, [*inventory.sources, *checks], inventory.folders,
        [inventory.state_dir, *{job.settings.directory for job in inventory.jobs}, inventory.directory],
        _sqlite_files.Limits(**inventory.limits),
    )  # fmt: skip
    findings = [*uncovered(seen, inventory.sources), *_globals(seen, inventory.sources)]
    return Looked(findings, f"{len(seen.databases)} databases, none without a backup source")


def found(
    commands: Commands,
    connections: t.Sequence[t.Mapping[str, t.Any]] = (),
    folders: t.Iterable[str] = (),
    skip: t.Collection[str] = (),
    limits: _sqlite_files.Limits | None = None,
    seconds: float = SECONDS,
) -> Found:
    """The databases of this host: of every running server, and in SQLite files.

    `connections` are entries of the inventory, backup sources or `{engine, …options}` of checks: a server that one of them
    reaches is asked through it. SQLite files are looked for among open files and below `folders`; what is below `skip`
    does not count. Nothing is changed. What may not be looked at is a finding with the status `unknown`.
    """
    deadline = time.monotonic() + seconds
    databases: list[Database] = []
    unknown: list[Finding] = []

    def ask(server: _servers.Server) -> list[Database] | RunbookError:
        left = min(SERVER_SECONDS, deadline - time.monotonic())
        if left <= 0:
            return RunbookError(f"all servers together took more than {seconds:g} s")
        try:
            return _ask.databases(
                server, [each for each in connections if each.get("engine") == server.engine], commands, left
            )
        except RunbookError as error:
            return error

    servers = _servers.running(commands)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, servers))
    for server, answer in zip(servers, answers):
        if isinstance(answer, RunbookError):
            if server.pid and not os.path.exists(f"/proc/{server.pid}"):
                continue  # it has ended meanwhile
            text = f"its databases could not be listed: {answer}"
            unknown.append(Finding(server.subject, "unknown", "databases_unknown", text))
        else:
            databases += answer
    opened = _sqlite_files.open_files()
    limits = limits or _sqlite_files.Limits()
    files, complete = _sqlite_files.found(opened, [*named_folders(connections), *folders], skip, limits)
    # What even root may not look at belongs to the machine, not to a service.
    if opened.hidden and os.geteuid() != 0:
        unknown.append(_hidden(opened.hidden))
    if not complete:
        unknown.append(_incomplete(limits))
    return Found(databases + files, unknown)


def named_folders(sources: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """The folders in which backup sources have their files, without what would be the whole system."""
    paths = [
        os.path.dirname(str(each["path"])) for each in sources if each.get("engine") == "sqlite" and each.get("path")
    ]
    for each in sources:
        if each.get("engine") == "files":
            paths += [str(path) for path in each.get("paths") or () if not set("*?[") & set(str(path))]
    return [path for path in dict.fromkeys(os.path.normpath(each) for each in paths) if path not in TOO_WIDE]


def uncovered(found: Found, sources: t.Sequence[t.Mapping[str, t.Any]]) -> list[Finding]:
    """A finding for each database that none of the backup `sources` (entries of sre.runbooks.backup) covers, and what is unknown."""
    result = [gap for gap in (_gap(each, sources) for each in found.databases) if gap is not None]
    return _by_folder(result) + found.unknown


def _by_folder(gaps: t.Sequence[Finding]) -> list[Finding]:
    """One finding for a folder full of SQLite databases, such as a cache in many parts."""
    folders: dict[str, list[Finding]] = {}
    for each in gaps:
        if each.details["engine"] == "sqlite":
            folders.setdefault(os.path.dirname(each.details["name"]), []).append(each)
    many = {folder: inside for folder, inside in folders.items() if len(inside) > SHOWN}
    result = [each for each in gaps if os.path.dirname(each.details["name"]) not in many]
    for folder, inside in many.items():
        size = show_size(sum(each.details["size_bytes"] for each in inside))
        text = f"no backup source covers the {len(inside)} SQLite databases in it ({size})"
        names = [os.path.basename(each.details["name"]) for each in inside[:SHOWN]]
        details = {"engine": "sqlite", "name": folder, "databases": len(inside), "first": names}
        remedy = "Add those that matter to runbooks_databases_*, and the folder to runbooks_ignore_* if none does"
        result.append(Finding(f"sqlite:{folder}/", "warning", "database_uncovered", text, remedy, details))
    return result


def covered(database: Database, source: t.Mapping[str, t.Any]) -> bool:
    """Whether a source makes backups of a database: engine, server and name, or path, agree."""
    if source.get("engine") != database.engine or source.get("globals"):
        return False
    if database.engine == "sqlite":
        return _same_file(database.name, str(source.get("path") or ""))
    if not database.place.reached_by(database.engine, source):
        return False
    return database.engine == "redis" or database.name == (source.get("database") or source.get("name"))


def _globals(found: Found, sources: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[Finding]:
    """A finding for each server of whose databases some are backed up, its roles and rights not."""
    servers = {
        (each.engine, each.place): each
        for each in found.databases
        if each.engine in ("postgresql", "mysql") and any(covered(each, source) for source in sources)
    }
    for (engine, place), database in servers.items():
        if any(
            each.get("globals") and each.get("engine") == engine and place.reached_by(engine, each) for each in sources
        ):
            continue
        entry = _entry(database._replace(name="globals"), "globals: true")
        yield Finding(
            f"{engine}:{place.label}", "warning", "globals_uncovered", "no backup source covers its roles and rights",
            f"Add to runbooks_databases_*: {entry}", {"engine": engine},
        )  # fmt: skip


def _gap(database: Database, sources: t.Sequence[t.Mapping[str, t.Any]]) -> Finding | None:
    if any(covered(database, each) for each in sources):
        return None
    size = f" ({show_size(database.size_bytes)})" if database.size_bytes is not None else ""
    details = {"engine": database.engine, "name": database.name, "size_bytes": database.size_bytes}
    remedy = f"Add it to runbooks_databases_*: {_entry(database)}"
    archived = [str(each.get("name")) for each in sources if _archives(database, each)]
    if not archived:
        text = f"no backup source covers it{size}"
        return Finding(database.subject, "warning", "database_uncovered", text, remedy, details)
    if not database.written:
        return None
    text = f"it is written to{size}, and the files source {archived[0]} may archive it torn"
    return Finding(database.subject, "warning", "database_as_file", text, remedy, {**details, "source": archived[0]})


def _entry(database: Database, instead: str = "") -> str:
    """The line of YAML that would back the database up, or what `instead` says; a password is for the reader to add."""
    short = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(database.name).partition(".")[0]).strip("._-")
    words = {"name": short or database.engine, "engine": database.engine}
    if database.engine != "redis" and not instead:
        words["path" if database.engine == "sqlite" else "database"] = database.name
    words.update({key: str(value) for key, value in database.reach.items()})
    shown = [
        f"{key}: {value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"
        for key, value in words.items()
    ]
    return f"{{{', '.join([*shown, instead] if instead else shown)}}}"


def _archives(database: Database, source: t.Mapping[str, t.Any]) -> bool:
    """Whether a source of plain files takes a SQLite file along."""
    if database.engine != "sqlite" or source.get("engine") != "files":
        return False
    path = os.path.realpath(database.name)
    for root in source.get("paths") or ():
        whole = os.path.realpath(str(root)) if not set("*?[") & set(str(root)) else str(root)
        if path == whole or path.startswith(f"{whole.rstrip('/')}/") or fnmatch.fnmatchcase(path, whole):
            return not any(_excludes(path, str(each)) for each in source.get("exclude") or ())
    return False


def _excludes(path: str, pattern: str) -> bool:
    """As the engine `files` reads a pattern: with a slash for whole paths, else for the last part, of the path or of a folder of it."""
    while path not in ("", "/"):
        if fnmatch.fnmatchcase(path if "/" in pattern else os.path.basename(path), pattern):
            return True
        path = os.path.dirname(path)
    return False


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _hidden(count: int) -> Finding:
    return Finding(
        "sqlite:open files", "unknown", "files_unknown", f"the open files of {count} processes of other users cannot be seen",
        "Run with become, so that SQLite databases in use are found",
    )  # fmt: skip


def _incomplete(limits: _sqlite_files.Limits) -> Finding:
    return Finding(
        "sqlite:folders", "unknown", "files_unknown",
        f"not every file was looked at within {limits.files} files, {limits.folders} folders and {limits.seconds:g} s",
        "Raise preflight_limits, or name smaller folders in preflight_folders",
    )  # fmt: skip
