# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delete the rows of an export that was verified, a batch in each transaction.

A batch's rows are locked by their keys and written as the export has them; those that come out the same, byte for byte, are
deleted by their keys. A row that is another now stays, and so does one that is not in the export.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _files, _formats
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_export import Manifest, format_of, rows_of
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_settings import Task
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Session, Table, Work

SHOWN = 20  # changed rows whose keys are told
JOURNAL_SECONDS = 1.0


class _Stop(RunbookError):
    """The time for this run is up; what is done is done."""


class Progress:
    """How far the deletion has come, over all runs that worked on the export."""

    def __init__(self, journal: t.Mapping[str, t.Any]) -> None:
        self.path = journal["path"]
        self.position = int(journal.get("position", 0))
        self.deleted = int(journal.get("deleted", 0))
        self.gone = int(journal.get("gone", 0))
        self.changed = int(journal.get("changed", 0))
        self.keys: list[t.Any] = list(journal.get("changed_keys", []))
        self.stopped = ""

    def details(self) -> dict[str, t.Any]:
        """Its figures."""
        return {"deleted": self.deleted, "gone": self.gone, "changed": self.changed, "changed_keys": self.keys}

    def document(self) -> dict[str, t.Any]:
        """The journal."""
        return {"path": self.path, "position": self.position, **self.details()}


def delete(
    task: Task, work: Work, manifest: Manifest, journal: t.Mapping[str, t.Any], state_dir: str, name: str
) -> Progress:
    """Delete what the export holds from where the journal says; save the journal as it goes."""
    progress = Progress(journal)
    saved = time.monotonic()
    # The deadline ends the run between two batches, not a statement.
    own = work._replace(deadline=None)

    def each(session: Session, table: Table, content: t.Iterator[str]) -> None:
        nonlocal saved
        skip = progress.position
        for batch in rows_of(manifest, content, task.batch):
            texts, keys = batch.texts[skip:], batch.keys[skip:]
            skip = max(0, skip - len(batch.texts))
            if not texts:
                continue
            if work.deadline is not None and time.monotonic() > work.deadline:
                raise _Stop("limits.seconds has passed")
            _batch(session, table, manifest, _formats.Records(texts, keys), progress)
            if time.monotonic() - saved > JOURNAL_SECONDS:
                state.save(state_dir, name, progress.document())
                saved = time.monotonic()
            if task.pause:
                time.sleep(task.pause)

    def body(session: Session) -> None:
        table = session.describe(task.table, task.schema)
        _same(manifest, table)
        _files.read(work.commands, manifest.path, lambda content: each(session, table, content))

    try:
        task.item.engine.connect(task.item.source, own, body)
    except _Stop as stop:
        progress.stopped = str(stop)
    finally:
        state.save(state_dir, name, progress.document())
    return progress


def _same(manifest: Manifest, table: Table) -> None:
    """A row can be compared with its export only while the table has the same columns."""
    then = [(each["name"], each["type"], each["kind"]) for each in manifest.document["columns"]]
    now = [(each.name, each.declared, each.kind) for each in table.columns]
    if then != now or manifest.document["key"] != list(table.key):
        raise RunbookError(
            f"{manifest.path}: the columns of {table.name} are not what they were at this export, so that its rows cannot be "
            f"compared. Nothing more is deleted. Remove it with its manifest when all rows are in the table, then run again."
        )


def _batch(session: Session, table: Table, manifest: Manifest, batch: _formats.Records, progress: Progress) -> None:
    """One transaction."""
    document = manifest.document
    session.begin("write")
    now = format_of(document["format"], table.columns).rows(session.current(table, batch.keys))
    keys = batch.keys
    gone, changed = 0, []
    if now != "\n".join([*batch.texts, ""]):
        found = _by_key(document["format"], now, manifest)
        keys = []
        for key, text in zip(batch.keys, batch.texts):
            current = found.get(key)
            if current is None:
                gone += 1
            elif current == text:
                keys.append(key)
            else:
                changed.append(key)
    if keys:
        number = session.delete(table, keys)
        if number != len(keys):
            raise RunbookError(
                f"table {table.name}: {number} rows were deleted where {len(keys)} were meant; that was undone. "
                "See what its triggers and rules do."
            )
    session.commit()
    progress.position += len(batch.keys)
    progress.deleted += len(keys)
    progress.gone += gone
    progress.changed += len(changed)
    room = SHOWN - len(progress.keys)
    progress.keys += [list(key) for key in changed[:room]]


def _by_key(format_name: str, text: str, manifest: Manifest) -> dict[t.Any, str]:
    found: dict[t.Any, str] = {}
    for batch in _formats.records(format_name, [text] if text else [], manifest.names, manifest.document["key"]):
        found.update(zip(batch.keys, batch.texts))
    return found
