# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the store of incidents writes while the history store cannot be used: JSON lines that the next run takes in.

Beside the spool lies what this controller last knew of the incidents that are not closed, so that a run can go on with them.
Files are for their owner alone (0600), locked by flock, and flushed to the disk before anybody is told that they are written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, lock
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import make_private_folder
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event, Incident, fold

LOCK_SECONDS = 10.0
Entry = tuple[str, Event]
"""The id of an incident and one event of it."""


class Spool:
    """The spool of one history store; `folder` is made when it is first written to."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        # Of another store nothing may be taken in.
        self._name = f"incidents-{hashlib.sha256(store.encode()).hexdigest()[:8]}"
        self.path = folder / f"{self._name}.jsonl"
        self.refused = folder / f"{self._name}.refused.jsonl"
        self._known = folder / f"{self._name}.known.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the spool for this process; raises OSError or RunbookError where the folder cannot be used."""
        make_private_folder(self._folder)
        with lock.hold(str(self._folder), self._name, LOCK_SECONDS):
            yield

    def entries(self) -> tuple[list[Entry], list[str]]:
        """Return what is spooled, the oldest first, and the lines that cannot be read (a writer was killed in one)."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return [], []
        found: list[Entry] = []
        bad = []
        for line in filter(None, lines):
            try:
                said = json.loads(line)
                found.append((str(said["incident"]), Event(**said["event"])))
            except (ValueError, KeyError, TypeError):
                bad.append(line)
        return found, bad

    def add(self, entries: Iterable[Entry]) -> None:
        """Append `entries` in one write and flush them."""
        lines = [json.dumps({"incident": id_, "event": dataclasses.asdict(event)}) + "\n" for id_, event in entries]
        if not lines:
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A writer that was killed may have left half a line.
            start = "\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else ""
            data = (start + "".join(lines)).encode()
            if os.write(descriptor, data) != len(data):
                os.ftruncate(descriptor, size)
                raise OSError(28, "No space left on device", str(self.path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clear(self, refused: Iterable[str]) -> None:
        """Empty the spool, all of which is in the store now but for the lines `refused`, which are kept aside."""
        lines = "".join(f"{line}\n" for line in refused)
        if lines:
            descriptor = os.open(
                self.refused, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "a", encoding="utf-8") as stream:
                stream.write(lines)
                stream.flush()
                os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def known(self) -> dict[str, Incident]:
        """Return the incidents as this controller knew them last, with what is spooled added."""
        found: dict[str, Incident] = {}
        try:
            for said in json.loads(self._known.read_text(encoding="utf-8")):
                incident = incident_of(said)
                found[incident.id] = incident
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            found = {}
        for id_, event in self.entries()[0]:
            found[id_] = fold(found.get(id_), event, id_)
        return found

    def remember(self, incidents: Iterable[Incident]) -> None:
        """Keep what is known of `incidents` for a time in which the store cannot be used."""
        text = json.dumps([dataclasses.asdict(each) for each in incidents])
        with contextlib.suppress(FileNotFoundError):
            if self._known.read_text(encoding="utf-8") == text:
                return
        files.write(str(self._known), text.encode(), 0o600)


def incident_of(said: Mapping[str, t.Any]) -> Incident:
    """Return the incident of which `said` is the JSON form; raises TypeError."""
    known = {field.name for field in dataclasses.fields(Incident)}
    values = {name: value for name, value in said.items() if name in known}
    return Incident(**{**values, "hosts": tuple(values.get("hosts", ())), "told": tuple(values.get("told", ()))})
