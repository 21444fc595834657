# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file into a table, in one transaction: every row is tried, every bad one told by its line."""

from __future__ import annotations

import collections
import hashlib
import itertools
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, lock, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._tables import (
    _export,
    _files,
    _import_rows,
    _parse,
    _registry,
)
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Column, Row, Session, Table, Work

STAGE = "import"
LIMITS: dict[str, t.Any] = {"rows": {"type": "int"}, "bytes": {"type": "str"}, "seconds": {"type": "str"}}
ENTRY: dict[str, t.Any] = {
    "table": {"type": "str"},
    "schema": {"type": "str"},
    "src": {"type": "path"},
    "format": {"type": "str", "choices": ["csv", "jsonl", "json"]},
    "columns": {"type": "dict"},
    "names": {"type": "list", "elements": "str"},
    "delimiter": {"type": "str"},
    "null": {"type": "str"},
    "encoding": {"type": "str"},
    "on_bad_rows": {"type": "str", "choices": ["refuse", "skip"]},
    "on_duplicate": {"type": "str", "choices": ["error", "skip", "update"]},
    # Names of columns, no secret.
    "key": {"type": "list", "elements": "str", "no_log": False},
    "report": {"type": "int"},
    "limits": {"type": "dict", "options": LIMITS},
    "lock_timeout": {"type": "str"},
}
SPEC: dict[str, t.Any] = {"databases": {"type": "list", "elements": "dict", "required": True}, **ENTRY}
DEFAULTS: dict[str, t.Any] = {
    "columns": {}, "delimiter": ",", "null": "", "encoding": "utf-8", "on_bad_rows": "refuse", "on_duplicate": "error",
    "report": 20, "limits": {}, "lock_timeout": "10s",
}  # fmt: skip
BATCH = 500
BATCH_CHARACTERS = 1 << 20


class Task(t.NamedTuple):
    """One import; limits in rows, bytes and seconds, None for none."""

    item: entries.Item
    options: dict[str, t.Any]
    path: str
    format: str
    limit_rows: int | None
    limit_bytes: int | None
    seconds: float | None
    lock_seconds: float


class Tally:
    """Rows read and written, and the bad ones: all of them counted, the first of them told."""

    def __init__(self, report: int) -> None:
        self.rows = 0
        self.written = 0
        self.kinds: collections.Counter[str] = collections.Counter()
        self.told: list[dict[str, t.Any]] = []
        self._report = report

    @property
    def bad(self) -> int:
        """How many rows are bad."""
        return sum(self.kinds.values())

    def blame(self, line: int, kind: str, reason: str) -> None:
        """The row that begins in this line is bad."""
        self.kinds[kind] += 1
        if len(self.told) < self._report:
            self.told.append({"line": line, "kind": kind, "reason": reason[:300]})
        elif self.told and line < self.told[-1]["line"]:
            self.told[-1] = {"line": line, "kind": kind, "reason": reason[:300]}
        self.told.sort(key=_line)


def _line(told: t.Mapping[str, t.Any]) -> int:
    return int(told["line"])


def read(params: t.Mapping[str, t.Any]) -> tuple[list[Task], set[str]]:
    """Read the module's options; return the imports and the secrets that stand in them."""
    items, secrets = entries.read(params["databases"], "databases", _registry, ENTRY)
    return [_task(item, params) for item in items], secrets


def _task(item: entries.Item, params: t.Mapping[str, t.Any]) -> Task:
    where = f"databases.{item.name}"
    given = {key: _export.first((item.source, params, DEFAULTS), key) for key in ENTRY}
    if not given["table"] or "\0" in given["table"]:
        raise InputError(f"{where}.table", given["table"], "is no name of a table", "Name the table.")
    path = given["src"]
    if not path or not os.path.isabs(path):
        raise InputError(f"{where}.src", path, "is no absolute path", "Write it from the root on.")
    _export.check_text(given, where)
    if given["report"] < 1:
        raise InputError(f"{where}.report", given["report"], "is no number of rows", "Give 1 or more.")
    form = given["format"] or _export.by_name(path)
    if form == "json" and given["on_bad_rows"] == "skip":
        raise InputError(f"{where}.on_bad_rows", "skip", "needs one row a line", "Use the format jsonl.")
    limits = given["limits"]
    return Task(
        item, given, path, form, limits.get("rows"),
        None if limits.get("bytes") is None else units.size(limits["bytes"], f"{where}.limits.bytes"),
        None if limits.get("seconds") is None else units.duration(limits["seconds"], f"{where}.limits.seconds"),
        units.duration(given["lock_timeout"], f"{where}.lock_timeout"),
    )  # fmt: skip


def run(tasks: t.Sequence[Task], state_dir: str | None, commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope; an import that fails keeps no other from being made."""
    results = [_one(task, state.directory(state_dir), commands, dry) for task in tasks]
    diff = {
        "before": "",
        "after": "".join(
            f"{task.item.subject}.{task.options['table']}: {r[2]} rows written\n"
            for task, r in zip(tasks, results)
            if r[2]
        ),
    }
    return envelope([each[0] for each in results], any(each[1] for each in results), diff=diff)


def _one(task: Task, state_dir: str, commands: Commands, dry: bool) -> tuple[dict[str, t.Any], bool, int]:
    work = Work(commands, None if task.seconds is None else time.monotonic() + task.seconds, task.lock_seconds)
    started = time.monotonic()
    name = f"import_{task.item.name}_{hashlib.sha256(task.options['table'].encode()).hexdigest()[:16]}"
    tally = Tally(task.options["report"])
    try:
        if dry:
            kept = _import(task, work, tally, True)
        else:
            with lock.hold(os.path.join(state_dir, "locks"), name):
                kept = _import(task, work, tally, False)
    except Busy as error:
        return outcome(task.item.subject, STAGE, "warning", f"not started: {error}", details={"busy": True}), False, 0
    except (RunbookError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return (
            outcome(task.item.subject, STAGE, "critical", f"not imported: {text}", details=_details(task, tally)),
            False,
            0,
        )
    return (*_told(task, tally, kept, dry, time.monotonic() - started), tally.written if kept else 0)


def _details(task: Task, tally: Tally) -> dict[str, t.Any]:
    return {"src": task.path, "bad_rows": tally.told, "bad": dict(tally.kinds)}


def _told(task: Task, tally: Tally, kept: bool, dry: bool, seconds: float) -> tuple[dict[str, t.Any], bool]:
    table = task.options["table"]
    left = tally.rows - tally.bad - tally.written
    if kept:
        text = f"{tally.written} of {tally.rows} rows {'would be ' if dry else ''}written to {table}"
        if left:
            text += f", {left} were there already"
    else:
        text = f"nothing {'would be' if dry else 'was'} written to {table}"
    if tally.bad:
        kinds = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(tally.kinds.items()))
        first = tally.told[0]
        text += f"; {tally.bad} of {tally.rows} rows are bad ({kinds}), first line {first['line']}: {first['reason']}"
    metrics = {
        "rows": tally.rows, "rows_written": tally.written if kept else 0, "rows_bad": tally.bad,
        "rows_unchanged": left if kept else 0, "duration_seconds": round(seconds, 3),
    }  # fmt: skip
    status = ("warning" if kept else "critical") if tally.bad else "ok"
    summary = f"{text}, in {show_duration(seconds)}"
    result = outcome(task.item.subject, STAGE, status, summary, metrics=metrics, details=_details(task, tally))
    return result, kept and tally.written > 0


def _import(task: Task, work: Work, tally: Tally, dry: bool) -> bool:
    """Import all of the file in one transaction; return whether it was kept (in check mode: would have been)."""
    if not os.path.isfile(task.path):
        raise RunbookError(f"src: there is no file {task.path}.")
    size = os.path.getsize(task.path)
    if task.limit_bytes is not None and size > task.limit_bytes:
        raise RunbookError(f"limits.bytes: {task.path} has {show_size(size)}. Raise it, or cut the file.")
    source, engine = task.item.source, task.item.engine
    # A session that outlives failing statements says nothing when it cannot be had; this one does.
    table = engine.connect(
        source, work, lambda session: session.describe(task.options["table"], task.options["schema"])
    )
    kept = False

    def body(session: Session) -> None:
        session.begin("write")

        def each(pieces: t.Iterator[bytes]) -> None:
            for columns, lines_, rows in _rows(task, work, table, tally, pieces):
                _insert(task, session, table, columns, lines_, rows, tally)

        _files.pieces(work.commands, task.path, each, work.seconds())
        nonlocal kept
        kept = not tally.bad or task.options["on_bad_rows"] == "skip"
        if kept and not dry:
            session.commit()
        else:
            session.rollback()

    engine.connect(source, work, body, keep_on=True)
    return kept


def _rows(
    task: Task, work: Work, table: Table, tally: Tally, pieces: t.Iterator[bytes]
) -> t.Iterator[tuple[list[Column], list[int], list[Row]]]:
    """Batches of rows that can be tried, with the line of each."""
    records = _records(task, _parse.lines(pieces, task.options["encoding"]))
    reader = _import_rows.reader(task.format, task.options, table)
    numbers: list[int] = []
    rows: list[Row] = []
    size = 0
    for record in itertools.chain(reader.head(records), records):
        if task.format == "csv" and len(reader.names) > 1 and record.cells == [""] and not record.quoted:
            continue
        tally.rows += 1
        if task.limit_rows is not None and tally.rows > task.limit_rows:
            raise RunbookError(f"limits.rows: there are more than {task.limit_rows} rows. Raise it, or cut the file.")
        problem = (record.kind, record.reason) if record.kind else None
        if problem is None:
            problem, row = reader.row(record)
            if problem is None:
                numbers.append(record.line)
                rows.append(row)
                size += sum(len(cell) if isinstance(cell, (str, bytes)) else 8 for cell in row)
        if problem is not None:
            tally.blame(record.line, *problem)
        if len(rows) >= BATCH or size >= BATCH_CHARACTERS:
            yield reader.columns, numbers, rows
            numbers, rows, size = [], [], 0
            work.seconds()
    if rows:
        yield reader.columns, numbers, rows


def _records(task: Task, lines_: t.Iterator[_parse.Line]) -> t.Iterator[_parse.Record]:
    if task.format == "csv":
        return _parse.csv_records(lines_, task.options["delimiter"])
    return _parse.json_records(lines_) if task.format == "jsonl" else _parse.array_records(lines_)


def _insert(
    task: Task, session: Session, table: Table, columns: list[Column], numbers: list[int], rows: list[Row], tally: Tally
) -> None:
    how = task.options["on_duplicate"]
    key: t.Sequence[str] = task.options["key"] or _import_rows.key(table, columns)
    if how == "update" and tuple(sorted(key)) not in [tuple(sorted(each)) for each in table.uniques]:
        raise RunbookError(
            f"key: {', '.join(key) or 'nothing'} is no unique key of {table.name} among the file's columns. Name one."
        )
    written, rejected = session.insert(table, columns, rows, how, key)
    tally.written += written
    for each in rejected:
        tally.blame(numbers[each.place], "duplicate" if each.duplicate else "refused", each.reason)
