# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One scan after the other: walk, stage, look, judge, remember (K4)."""

from __future__ import annotations

import contextlib
import hashlib
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, priority
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _engine, _guard, _outcomes, _staging
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._baseline import Baseline
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._examine import Examiner
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import STAGE
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._seen import Seen
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._tally import Tally
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import File, Walk

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import Scan, Settings

# Rules and filters of the collection: when they change, files that were clean are looked at again.
_RULES = "1"
_NICE = 10
# Marks are kept after so many batches, so that a killed run is not for nothing.
_SAVE_BATCHES = 16


def run(settings: Settings, commands: Commands, state_dir: str, check_mode: bool) -> dict[str, t.Any]:
    """Do all scans and return the envelope. In check mode no state, lock or baseline is written."""
    _guard.forget()
    with contextlib.ExitStack() as held:
        note, keep = "", not check_mode
        if keep:
            try:
                held.enter_context(lock.hold(state_dir, STAGE))
            except Busy:
                raise
            except RunbookError as error:
                # A full disk: what lies open is told all the same.
                note, keep = str(error), False
        result = _run(settings, commands, state_dir, keep, check_mode)
        if note:
            for each in result["outcomes"]:
                each["details"].setdefault("notes", []).append(note)
        return result


def _run(settings: Settings, commands: Commands, state_dir: str, keep: bool, check_mode: bool) -> dict[str, t.Any]:
    deadline = time.monotonic() + settings.timeout
    engine, problem = None, ""
    try:
        engine = _engine.find(settings.engine, settings.program, state_dir, commands)
    except _engine.NoEngine as error:
        problem = str(error)
    examiner = Examiner(engine, problem, deadline, commands)
    outcomes: list[dict[str, t.Any]] = []
    changed = False
    with priority.gently(_NICE, "best-effort", commands), _staging.Staging(state_dir, keep, commands) as staging:
        for scan in settings.scans:
            each = _Scan(scan, settings, examiner, staging, deadline)
            tally = each.run(state_dir, _fingerprint(engine, scan), keep, check_mode)
            changed |= tally.rewritten
            outcomes += _outcomes.of(scan, tally, settings.show, engine, examiner.problem)
    return outcome.envelope(outcomes, changed)


def _fingerprint(engine: _engine.Engine | None, scan: Scan) -> str:
    """What decides whether a file is clean, besides its content."""
    parts = (_RULES, engine and (engine.kind, engine.version), sorted(scan.disabled), scan.max_file_size)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _Scan:
    """One entry of `scans`."""

    def __init__(
        self, scan: Scan, settings: Settings, examiner: Examiner, staging: _staging.Staging, deadline: float
    ) -> None:
        self._scan = scan
        self._settings = settings
        self._examiner = examiner
        self._staging = staging
        self._deadline = deadline
        self._tally = Tally()
        # Looked at as a whole as far as staging goes; clean unless the engine says otherwise.
        self._whole: list[File] = []

    def run(self, state_dir: str, fingerprint: str, keep: bool, check_mode: bool) -> Tally:
        """Look at all files; the tally tells what came of it."""
        started = time.monotonic()
        tally, scan = self._tally, self._scan
        self._examiner.failed.clear()
        baseline = self._baseline()
        try:
            seen = Seen(state_dir, scan.name, fingerprint)
        except RunbookError as error:
            tally.notes.append(str(error))
            seen = Seen(state_dir, scan.name, fingerprint, empty=True)
        walk = Walk(scan)
        try:
            self._files(walk, seen, keep)
            self._flush(seen)
        except RunbookError as error:
            # No room to stage in, or an expression of `allow` without end.
            self._staging.clear()
            tally.problems.append(str(error))
        tally.unscanned.update(walk.problems)
        tally.links, tally.mounts = walk.links, walk.mounts
        self._save(seen, not tally.stopped and not tally.problems, keep)
        if self._examiner.usable:
            tally.drop_empty()
        self._quieten(baseline, check_mode)
        tally.seconds = time.monotonic() - started
        return tally

    def _files(self, walk: Walk, seen: Seen, keep: bool) -> None:
        tally, batches = self._tally, 0
        for file in walk:
            tally.stopped = self._limit()
            if tally.stopped:
                return
            tally.files += 1
            self._file(file, seen)
            if self._staging.full:
                self._flush(seen)
                batches += 1
                if batches % _SAVE_BATCHES == 0:
                    self._save(seen, False, keep)

    def _limit(self) -> str:
        """Which limit is reached; empty when none is."""
        if self._tally.files >= self._scan.max_files:
            return "limits.files"
        if self._tally.read_bytes >= self._scan.max_bytes:
            return "limits.bytes"
        return "timeout" if time.monotonic() > self._deadline else ""

    def _baseline(self) -> Baseline | None:
        if self._scan.baseline is None:
            return None
        try:
            return Baseline(self._scan.baseline)
        except RunbookError as error:
            self._tally.problems.append(str(error))
            return None

    def _file(self, file: File, seen: Seen) -> None:
        """Who can read it, and, unless it is as it was when it was clean, its content to the staging folder."""
        tally = self._tally
        if _guard.keeps_secrets(file, self._scan.secret_files):
            self._guarded(file)
        if not self._examiner.usable or file.status.st_size == 0:
            return
        if seen.clean(file):
            tally.unchanged += 1
            return
        try:
            self._stage(file, seen)
            tally.scanned += 1
            self._whole.append(file)
        except _staging.Vanished:
            tally.vanished += 1
        except _staging.Skipped as error:
            if error.expected:
                tally.binary += 1
                seen.add(file)
            else:
                tally.unscanned[file.path] = str(error)

    def _stage(self, file: File, seen: Seen) -> None:
        tally = self._tally
        for piece, text in self._staging.add(file, self._scan.max_file_size):
            head = text[:65536].encode("utf-8", "replace") if piece.first == 0 else b""
            if file.path not in tally.keepers and _guard.keeps_secrets(file, (), head):
                self._guarded(file)
            tally.read_bytes += len(text)
            tally.add(self._examiner.own(self._scan, piece, text), file.path in tally.keepers)
            if self._staging.full:
                self._flush(seen)

    def _guarded(self, file: File) -> None:
        self._tally.guarded += 1
        self._tally.keepers.add(file.path)
        if self._scan.world_readable:
            found = _guard.readable(file, self._settings.groups)
            if found is not None:
                self._tally.readable[file.path] = found

    def _flush(self, seen: Seen) -> None:
        """Let the engine look at what is staged, then remember what is clean."""
        for finding in self._examiner.look(self._scan, self._staging):
            self._tally.add([finding], finding.path in self._tally.keepers)
        self._staging.clear()
        self._tally.unscanned.update(self._examiner.failed)
        for file in self._whole:
            if file.path not in self._tally.dirty and file.path not in self._examiner.failed:
                seen.add(file)
        self._whole.clear()

    def _save(self, seen: Seen, whole: bool, keep: bool) -> None:
        """A full disk costs the next run its time, and this one nothing."""
        if not keep:
            return
        try:
            seen.save(whole and self._examiner.usable)
        except RunbookError as error:
            self._tally.notes.append(str(error))

    def _quieten(self, baseline: Baseline | None, check_mode: bool) -> None:
        tally = self._tally
        if baseline is not None and self._settings.write_baseline:
            found = {(each.path, each.kind, each.digest): each.line for each in tally.shown()}

            def looked_at(path: str) -> bool:
                return not tally.stopped and path not in tally.unscanned and self._examiner.usable

            tally.rewritten = baseline.rewrite(found, looked_at, check_mode)
            if not check_mode:
                baseline = Baseline(baseline.path)
        if baseline is not None:
            tally.quieten(baseline.quiet)
