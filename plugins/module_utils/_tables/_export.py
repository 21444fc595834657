# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A query or a table into a file, in one read-only view; the file is replaced only when its content is another."""

from __future__ import annotations

import codecs
import contextlib
import glob
import hashlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, files, lock, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _files, _formats, _registry
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Column, Session, Work

STAGE = "export"
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}
LIMITS: dict[str, t.Any] = {"rows": {"type": "int"}, "bytes": {"type": "str"}, "seconds": {"type": "str"}}
ENTRY: dict[str, t.Any] = {
    "query": {"type": "str"},
    "table": {"type": "str"},
    "schema": {"type": "str"},
    "where": {"type": "str"},
    "dest": {"type": "path"},
    "format": {"type": "str", "choices": ["csv", "jsonl", "json"]},
    "header": {"type": "bool"},
    "delimiter": {"type": "str"},
    "null": {"type": "str"},
    "encoding": {"type": "str"},
    "spreadsheet_safe": {"type": "bool"},
    "limits": {"type": "dict", "options": LIMITS},
}
SPEC: dict[str, t.Any] = {"databases": {"type": "list", "elements": "dict", "required": True}, **ENTRY}
DEFAULTS: dict[str, t.Any] = {
    "header": True, "delimiter": ",", "null": "", "encoding": "utf-8", "spreadsheet_safe": False, "limits": {},
}  # fmt: skip


class Task(t.NamedTuple):
    """One export; limits in rows, bytes and seconds, None for none."""

    item: entries.Item
    options: dict[str, t.Any]
    path: str
    format: str
    limit_rows: int | None
    limit_bytes: int | None
    seconds: float | None


class Made(t.NamedTuple):
    """What came out of the database: the sum of the content, its size, the number of rows, the columns' names."""

    digest: str
    bytes: int
    rows: int
    columns: list[str]


def read(params: t.Mapping[str, t.Any]) -> tuple[list[Task], set[str]]:
    """Read the module's options; return the exports and the secrets that stand in them."""
    items, secrets = entries.read(params["databases"], "databases", _registry, ENTRY)
    return [_task(item, params) for item in items], secrets


def _task(item: entries.Item, params: t.Mapping[str, t.Any]) -> Task:
    where = f"databases.{item.name}"
    given = {key: first((item.source, params, DEFAULTS), key) for key in ENTRY}
    if bool(given["query"]) == bool(given["table"]):
        raise InputError(
            f"{where}.query", given["query"], "and table are both given, or neither is", "Give one of them."
        )
    for key in ("query", "table", "where"):
        if given[key] and "\0" in given[key]:
            raise InputError(f"{where}.{key}", given[key], "holds a null byte", "Take it out.")
    if given["query"]:
        given["query"] = given["query"].strip().rstrip(";")
    path = given["dest"]
    if not path or not os.path.isabs(path):
        raise InputError(f"{where}.dest", path, "is no absolute path", "Write it from the root on.")
    check_text(given, where)
    limits = given["limits"]
    return Task(
        item, given, path, given["format"] or by_name(path), limits.get("rows"),
        None if limits.get("bytes") is None else units.size(limits["bytes"], f"{where}.limits.bytes"),
        None if limits.get("seconds") is None else units.duration(limits["seconds"], f"{where}.limits.seconds"),
    )  # fmt: skip


def first(levels: t.Sequence[t.Mapping[str, t.Any]], key: str) -> t.Any:
    """The value of the first level that has one."""
    return next((level[key] for level in levels if level.get(key) is not None), None)


def by_name(path: str) -> str:
    """The format that a file's name tells; CSV when it tells none."""
    name = path[:-4] if path.endswith(".zst") else path
    return FORMATS.get(os.path.splitext(name)[1].lower(), "csv")


def check_text(given: t.Mapping[str, t.Any], where: str) -> None:
    """Delimiter and encoding can be used."""
    if len(given["delimiter"]) != 1 or given["delimiter"] in '"\r\n':
        raise InputError(f"{where}.delimiter", given["delimiter"], "is no delimiter", "Give one character.")
    try:
        codecs.lookup(given["encoding"])
    except LookupError as error:
        raise InputError(f"{where}.encoding", given["encoding"], "is not known", "Give one such as utf-8.") from error


def run(tasks: t.Sequence[Task], state_dir: str | None, commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope; an export that fails keeps no other from being made."""
    umask = os.umask(0o077)
    try:
        results = [_one(task, state.directory(state_dir), commands, dry) for task in tasks]
    finally:
        os.umask(umask)
    diff = [
        {"before_header": task.path, "after_header": task.path, "before": f"{before}\n", "after": f"{after}\n"}
        for task, (_outcome, _changed, before, after) in zip(tasks, results)
        if before != after
    ]
    return envelope([each[0] for each in results], any(each[1] for each in results), diff=diff)


def _one(task: Task, state_dir: str, commands: Commands, dry: bool) -> tuple[dict[str, t.Any], bool, str, str]:
    work = Work(commands, None if task.seconds is None else time.monotonic() + task.seconds)
    started = time.monotonic()
    name = f"export_{hashlib.sha256(task.path.encode()).hexdigest()[:16]}"
    try:
        with contextlib.nullcontext() if dry else lock.hold(os.path.join(state_dir, "locks"), name):
            before = _digest(task, work)
            made, changed = (_count(task, work), True) if dry else _make(task, work, before)
            changed = made.digest != before if dry else changed
    except Busy as error:
        return (
            outcome(task.item.subject, STAGE, "warning", f"not started: {error}", details={"busy": True}),
            False,
            "",
            "",
        )
    except (RunbookError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return outcome(task.item.subject, STAGE, "critical", f"not exported: {text}"), False, "", ""
    seconds = time.monotonic() - started
    verb = "would be written to" if dry and changed else "written to" if changed else "unchanged in"
    text = f"{made.rows} rows, {show_size(made.bytes)}, {verb} {task.path} in {show_duration(seconds)}"
    metrics = {"rows": made.rows, "size_bytes": made.bytes, "duration_seconds": round(seconds, 3)}
    details = {"path": task.path, "sha256": made.digest, "columns": made.columns, "format": task.format}
    result = outcome(task.item.subject, STAGE, "ok", text, metrics=metrics, details=details)
    return result, changed, f"sha256 {before}", f"sha256 {made.digest}"


def _digest(task: Task, work: Work) -> str | None:
    """The sum of what the file holds now, as it was before packing; None when there is no such file."""
    if os.path.islink(task.path) or (os.path.lexists(task.path) and not os.path.isfile(task.path)):
        raise RunbookError(f"dest: {task.path} is no regular file. Remove it, or write to another.")
    if not os.path.exists(task.path):
        return None
    digest = hashlib.sha256()
    try:
        _files.content(work.commands, task.path, digest.update, work.seconds())
    except RunbookError:
        # What cannot be unpacked is not what we would write.
        return "unreadable"
    return digest.hexdigest()


def _make(task: Task, work: Work, before: str | None) -> tuple[Made, bool]:
    folder = os.path.dirname(task.path)
    files.make_directory(folder)
    for left in glob.glob(
        os.path.join(glob.escape(folder), f".{glob.escape(os.path.basename(task.path))}.*{files.PARTIAL}")
    ):
        os.unlink(left)
    partial = files.partial_name(task.path)
    columns: list[str] = []

    def body(session: Session) -> _files.Written:
        return _files.write(
            work.commands, partial, "zstd" if task.path.endswith(".zst") else "none", task.options["encoding"],
            lambda feed: _fill(task, work, session, feed, columns), work.seconds(),
        )  # fmt: skip

    written = task.item.engine.connect(task.item.source, work, body, read_only=True)
    made = Made(written.content_sha256, written.content_bytes, written.rows, columns)
    if made.digest == before:
        os.unlink(partial)
        if os.stat(task.path).st_mode & 0o777 == 0o600:
            return made, False
        os.chmod(task.path, 0o600)
        return made, True
    try:
        files.publish(partial, task.path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
    return made, True


def _count(task: Task, work: Work) -> Made:
    """Export to nowhere."""
    feed = _files.Feed(len, task.options["encoding"])
    columns: list[str] = []
    rows = task.item.engine.connect(
        task.item.source, work, lambda session: _fill(task, work, session, feed, columns), read_only=True
    )
    return Made(feed.digest.hexdigest(), feed.bytes, rows, columns)


def _fill(task: Task, work: Work, session: Session, feed: _files.Feed, names: list[str]) -> int:
    """Write all rows to `feed`; return their number."""
    session.begin("read")
    sql, columns = _statement(task, session)
    names += [each.name for each in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RunbookError(
            f"query: the column names {', '.join(sorted(twice))} stand in it twice. Rename them with AS."
        )
    if task.limit_rows is not None:
        sql += f" LIMIT {task.limit_rows + 1}"
    target = _format(task, columns)
    rows = 0
    feed(target.begin())
    for batch in session.rows(sql, columns):
        rows += len(batch)
        if task.limit_rows is not None and rows > task.limit_rows:
            raise RunbookError(f"limits.rows: there are more than {task.limit_rows} rows. Raise it, or ask for less.")
        feed(target.rows(batch))
        if task.limit_bytes is not None and feed.bytes > task.limit_bytes:
            raise RunbookError(
                f"limits.bytes: there are more than {show_size(task.limit_bytes)}. Raise it, or ask for less."
            )
        work.seconds()
    feed(target.end())
    return rows


def _statement(task: Task, session: Session) -> tuple[str, tuple[Column, ...]]:
    if task.options["query"]:
        source, columns = session.query(task.options["query"])
        return f"SELECT {', '.join(map(session.expression, columns))} FROM {source}", columns
    table = session.describe(task.options["table"], task.options["schema"])
    columns = tuple(
        each for each in table.columns if each.declared != "INTEGER" or not each.generated or each.name not in table.key
    )
    where = f" WHERE (\n{task.options['where']}\n)" if task.options["where"] else ""
    order = f" ORDER BY {', '.join(map(session.quote, table.key))}" if table.key else ""
    return f"SELECT {', '.join(map(session.expression, columns))} FROM {table.quoted}{where}{order}", columns


def _format(task: Task, columns: t.Sequence[Column]) -> _formats.Csv | _formats.JsonLines:
    options = task.options
    if task.format == "csv":
        return _formats.Csv(
            columns, options["delimiter"], options["null"], options["header"], options["spreadsheet_safe"]
        )
    return _formats.JsonArray(columns) if task.format == "json" else _formats.JsonLines(columns)
