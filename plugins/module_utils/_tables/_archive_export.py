# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The export of old rows: how it is written, what its manifest says, and how it is proven."""

from __future__ import annotations

import contextlib
import csv
import glob
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _files, _formats
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_plan import TIME, Plan, prepare
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_settings import Settings, Task
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Column, Row, Session, Work

MANIFEST = ".manifest.json"
_STAMP = "%Y%m%dT%H%M%SZ"


class Manifest(t.NamedTuple):
    """An export that was finished: its file, and what its manifest says."""

    path: str
    document: dict[str, t.Any]

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self.document["rows"])

    @property
    def columns(self) -> list[Column]:
        """The columns of the table at the time of the export."""
        return [Column(each["name"], each["kind"], each["type"]) for each in self.document["columns"]]

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [each["name"] for each in self.document["columns"]]


def load(path: str) -> Manifest | None:
    """The manifest of the export `path`; None when there is none, or the export itself is gone."""
    try:
        with open(path + MANIFEST, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunbookError(
            f"{path}{MANIFEST}: cannot be read: {error}. Repair it; rows may exist in that export only."
        ) from error
    if not _whole(document):
        raise RunbookError(
            f"{path}{MANIFEST}: is no manifest of an export. Repair it; rows may exist in that export only."
        )
    if not os.path.isfile(path):
        raise RunbookError(
            f"{path}: this export is gone, its manifest is not. Bring it back, or remove the manifest too."
        )
    return Manifest(path, document)


_SHAPE: dict[str, type] = {
    "columns": list, "key": list, "rows": int, "format": str, "table": str, "created": str, "cutoff": str,
    "sha256": str, "content_sha256": str, "keys_sha256": str,
}  # fmt: skip


def _whole(document: t.Any) -> bool:
    """A manifest may have been edited by hand; what is read of it later is there."""
    if not isinstance(document, dict) or not all(isinstance(document.get(key), kind) for key, kind in _SHAPE.items()):
        return False
    columns = document["columns"]
    if not all(isinstance(each, dict) and {"name", "type", "kind"} <= each.keys() for each in columns):
        return False
    return bool(document["key"]) and {*map(str, document["key"])} <= {str(each["name"]) for each in columns}


def format_of(name: str, columns: t.Sequence[Column]) -> _formats.Csv | _formats.JsonLines:
    """The format of an archive; it must write the same row alike at any time."""
    return _formats.Csv(columns) if name == "csv" else _formats.JsonLines(columns)


def export(settings: Settings, task: Task, work: Work, journal: str) -> tuple[Plan, Manifest | None]:
    """Export what is old in one consistent view; None when there is nothing, or it is refused."""
    now = time.time()
    # Whole seconds, so that what the manifest says is what was asked.
    cutoff = float(int(now - task.age))
    folder = os.path.join(settings.directory, task.item.name)
    path = _path(folder, task, now)

    def body(session: Session) -> tuple[Plan, Manifest | None]:
        session.begin("read")
        plan = prepare(task, session, cutoff)
        if not plan.rows or plan.refusal(task):
            return plan, None
        files.make_directory(folder)
        state.save(settings.state_dir, journal, {"path": path, "position": 0})
        return plan, _write(task, work, session, plan, path, now)

    return t.cast(
        "tuple[Plan, Manifest | None]", task.item.engine.connect(task.item.source, work, body, read_only=True)
    )


def _path(folder: str, task: Task, now: float) -> str:
    """A name that no other export of the table has; two can begin in the same second."""
    while True:
        path = os.path.join(folder, f"{task.slug}_{time.strftime(_STAMP, time.gmtime(now))}.{task.format}.zst")
        if not os.path.lexists(path) and not os.path.lexists(path + MANIFEST):
            return path
        now += 1


def _write(task: Task, work: Work, session: Session, plan: Plan, path: str, now: float) -> Manifest:
    target = format_of(task.format, plan.table.columns)
    at = [plan.table.columns.index(t.cast("Column", plan.table.column(name))) for name in plan.table.key]
    keys = _Keys()

    def fill(feed: _files.Feed) -> int:
        feed(target.begin())
        for batch in session.stream(plan.table, plan.condition):
            feed(target.rows(batch))
            keys.add(_key_texts(batch, at))
            work.seconds()
        return keys.rows

    partial = files.partial_name(path)
    written = _files.write(work.commands, partial, "zstd", "utf-8", fill, work.seconds())
    document = {
        "version": 1, "engine": task.item.engine_name, "name": task.item.name, "table": task.table, "schema": task.schema,
        "source": {
            key: value for key, value in task.item.source.items()
            if key in task.item.engine.OPTIONS and not task.item.engine.OPTIONS[key].get("no_log") and value is not None
        },
        "columns": [{"name": each.name, "type": each.declared, "kind": each.kind} for each in plan.table.columns],
        "key": list(plan.table.key), "column": task.column, "cutoff": plan.cutoff_text, "where": task.where,
        "format": task.format, "created": time.strftime(TIME, time.gmtime(now)), "rows": written.rows,
        "first_key": keys.first, "last_key": keys.last, "keys_sha256": keys.digest.hexdigest(),
        "sha256": written.sha256, "content_sha256": written.content_sha256, "content_bytes": written.content_bytes,
    }  # fmt: skip
    if written.rows != plan.rows:
        os.unlink(partial)
        raise RunbookError(
            f"{written.rows} rows were exported, but {plan.rows} were counted in the same view of the table."
        )
    files.publish(partial, path)
    files.write(path + MANIFEST, json.dumps(document, indent=1, ensure_ascii=False).encode())
    return Manifest(path, document)


class _Keys:
    """What the manifest says about the keys of the rows: first, last, and a sum of all in their order."""

    def __init__(self) -> None:
        self.rows = 0
        self.first: t.Any = None
        self.last: t.Any = None
        self.digest = hashlib.sha256()

    def add(self, keys: t.Sequence[t.Sequence[str]]) -> None:
        """Add the keys of some rows, each some texts."""
        if not keys:
            return
        self.first = list(keys[0]) if self.first is None else self.first
        self.last = list(keys[-1])
        self.rows += len(keys)
        self.digest.update("\x1e".join(map("\x1f".join, keys)).encode() + b"\x1e")


def _key_texts(rows: t.Sequence[Row], at: t.Sequence[int]) -> list[tuple[str, ...]]:
    """Keys alike for what a server gave and what stands in a file."""
    columns = []
    for index in at:
        values = [row[index] for row in rows]
        plain = set(map(type, values)) <= {int, str}
        columns.append(list(map(str, values)) if plain else list(map(_key_text, values)))
    return list(zip(*columns))


def _key_text(value: t.Any) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value if isinstance(value, str) else repr(value)


def verify(manifest: Manifest, work: Work) -> None:
    """Read the export back from the disk: checksums, the number of rows and all keys must be those of its manifest."""
    document = manifest.document
    if files.sha256(manifest.path) != document["sha256"]:
        raise RunbookError(_damaged(manifest, "its checksum is not that of its manifest"))
    digest = hashlib.sha256()
    keys = _Keys()

    def body(texts: t.Iterator[str]) -> None:
        for batch in rows_of(manifest, texts, 1000):
            keys.add(batch.keys)

    try:
        _files.read(work.commands, manifest.path, body, digest.update, work.seconds())
    except (ValueError, LookupError, csv.Error) as error:
        raise RunbookError(_damaged(manifest, f"its rows cannot be read: {error}")) from error
    if digest.hexdigest() != document["content_sha256"]:
        raise RunbookError(_damaged(manifest, "what was written is not what can be read"))
    if keys.rows != manifest.rows or keys.digest.hexdigest() != document["keys_sha256"]:
        raise RunbookError(_damaged(manifest, f"{keys.rows} rows can be read of {manifest.rows}, or other keys"))


def _damaged(manifest: Manifest, problem: str) -> str:
    return f"{manifest.path}: {problem}. Nothing more is deleted. When the rows are all in the table still, remove it with its manifest."


def rows_of(manifest: Manifest, texts: t.Iterable[str], batch: int) -> t.Iterator[_formats.Records]:
    """The rows of an export's text, at most `batch` at a time."""
    document = manifest.document
    head = 1 if document["format"] == "csv" else 0
    return _formats.records(document["format"], texts, manifest.names, document["key"], batch, head)


def finish(manifest: Manifest, figures: t.Mapping[str, t.Any]) -> None:
    """Note in the manifest that all of it has been dealt with."""
    done = {**figures, "at": time.strftime(TIME, time.gmtime())}
    document = {**manifest.document, "deletion": done}
    files.write(manifest.path + MANIFEST, json.dumps(document, indent=1, ensure_ascii=False).encode())


def _own(folder: str, task: Task) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), f"{task.slug}_*Z.*.zst{MANIFEST}")))


def sweep(folder: str, task: Task) -> None:
    """Remove what killed runs left half written; the lock of this table is ours."""
    for path in glob.glob(os.path.join(glob.escape(folder), f".{task.slug}_*{files.PARTIAL}")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def retire(folder: str, task: Task, pending: t.Any) -> int:
    """Remove exports older than `keep_exports` whose rows have all been dealt with; return how many."""
    if task.keep_seconds is None:
        return 0
    bound = time.strftime(TIME, time.gmtime(time.time() - task.keep_seconds))
    removed = 0
    for name in _own(folder, task):
        path = name[: -len(MANIFEST)]
        try:
            with open(name, encoding="utf-8") as stream:
                document = json.load(stream)
        except (OSError, ValueError):
            continue
        if not _whole(document) or "deletion" not in document or document["table"] != task.table or path == pending:
            continue
        if document["created"] < bound:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.unlink(name)
            removed += 1
    return removed
