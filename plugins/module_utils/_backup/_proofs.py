# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verify copies that lie in backup folders: what was proven longest ago first, inside a budget.

Observe and plan over all names; in check mode that is all. Each copy is proven under the lock of its name, which a backup
holds as well, and its manifest says afterwards what was found. A copy that cannot be verified keeps no other from it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _apply,
    _catalog,
    _choice,
    _packing,
    _proofs_outcome,
    _recovery,
    _registry,
    _shape,
    _verify,
    _work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._backup._proofs_outcome import Case, Proof
from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._proofs_settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

STAGE = _proofs_outcome.STAGE
# In the state folder: after how many seconds the last attempt at a copy was given up.
STATE = "backup_verify"
# Options that say how a server is reached. What the copy holds of it is told by its manifest alone.
CONNECTION = ("host", "port", "socket", "user", "password", "run_as", "container", "database")


def run(settings: Settings, commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope with `proofs`; RunbookError when the folder cannot be read at all."""
    # Programs that a pipeline starts make files too; none of them is for other users.
    umask = os.umask(0o077)
    try:
        verification = _Verification(settings, commands, dry)
        outcomes = verification.outcomes()
    finally:
        os.umask(umask)
    proofs = [proof.shown(case.name) for case in verification.cases for proof in case.proofs]
    return envelope(outcomes, any(proof["ok"] is not None for proof in proofs), proofs=proofs)


class _Verification:
    """One run over all names."""

    def __init__(self, settings: Settings, commands: Commands, dry: bool) -> None:
        self.settings, self.commands, self.dry = settings, commands, dry
        self.now = time.time()
        seconds = settings.budget.seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.interrupted = state.load(settings.state_dir, STATE)
        self.cases = [self._case(name) for name in self._names()]

    def outcomes(self) -> list[dict[str, t.Any]]:
        """Verify, and say what came of it for each name."""
        if not self.cases:
            text = f"{self.settings.directory} holds no backup"
            return [outcome(f"backups:{self.settings.directory}", STAGE, "critical", text)]
        if not self.dry:
            for case in self.cases:
                self._sweep(case)
        of = {candidate.copy.path: case for case in self.cases for candidate in case.candidates}
        ordered = _choice.due(
            [candidate for case in self.cases for candidate in case.candidates], self.settings.interval, self.now
        )

        def prove(candidate: _choice.Candidate) -> _choice.Cost | None:
            return self._prove(of[candidate.copy.path], candidate)

        for postponed in _choice.spend(ordered, self.settings.budget, prove):
            of[postponed.candidate.copy.path].postponed.append(postponed)
        if not self.dry:
            for case in self.cases:
                self._look_again(case)
        return [_proofs_outcome.build(case, self.settings, self.dry) for case in self.cases]

    def _names(self) -> list[str]:
        """Those asked for; else all that have copies, and all that should have."""
        if self.settings.names is not None:
            return sorted(self.settings.names)
        there = [
            name
            for name in _catalog.folders(self.settings.directory)
            if any(_catalog.folder(self.settings.directory, name))
        ]
        return sorted({*there, *self.settings.given, *self.settings.targets.names})

    def _case(self, name: str) -> Case:
        found = _catalog.folder(self.settings.directory, name)
        documents = _documents(found)
        candidates = []
        for copy, document in documents:
            level = self._level(copy)
            given_up = self.interrupted.get(copy.path)
            cost = _choice.cost(
                document,
                level,
                [each for _copy, each in documents],
                float(given_up) if isinstance(given_up, (int, float)) else 0.0,
            )
            candidates.append(_choice.Candidate(copy, _choice.attempted(document, level, self.now), cost))
        return Case(name, found, documents, candidates)

    def _look_again(self, case: Case) -> None:
        """Read what the manifests say now."""
        case.found = _catalog.folder(self.settings.directory, case.name)
        case.documents = _documents(case.found)

    def _level(self, copy: _catalog.Copy) -> str:
        """A copy that nobody here can decrypt is proven as far as its bytes."""
        locked = copy.path.endswith(_packing.ENCRYPTED) and self.settings.identity_of(copy.name) is None
        return "checksum" if locked else self.settings.level

    def _prove(self, case: Case, candidate: _choice.Candidate) -> _choice.Cost | None:
        """Prove one copy; return what that took, None when nothing was done."""
        copy = candidate.copy
        level = self._level(copy)
        if case.busy is not None:
            return None
        if self.dry:
            case.proofs.append(Proof(copy, level, None, candidate.cost.seconds))
            return candidate.cost
        started = time.monotonic()

        def work() -> None:
            document = _document(copy)
            if document is not None:
                try:
                    record = self._record(case, copy, document, level)
                    ok, problem = record["ok"], record["figures"].get("problem")
                except Mismatch as error:
                    ok, problem = False, str(error)
                case.proofs.append(Proof(copy, level, ok, time.monotonic() - started, problem))
                self._remember(copy, None)

        self._locked(case, copy, work)
        return _choice.Cost(time.monotonic() - started, candidate.cost.bytes)

    def _locked(self, case: Case, copy: _catalog.Copy | None, work: t.Callable[[], None]) -> None:
        """Hold the lock of a name; what goes wrong meanwhile is a finding of that name and no end of the run."""
        started = time.monotonic()
        try:
            with lock.hold(os.path.join(self.settings.directory, _work.LOCKS), case.name):
                work()
        except Busy as error:
            case.busy = str(error)
        except (RunbookError, OSError) as error:
            text = _reason(error)
            if copy is not None and self.deadline is not None and time.monotonic() >= self.deadline:
                seconds = time.monotonic() - started
                self._remember(copy, seconds)
                text = f"not done within budget.seconds, given up after {show_duration(seconds)}. Raise it."
            case.problems.append(text if copy is None else f"{os.path.basename(copy.path)}: {text}")

    def _record(self, case: Case, copy: _catalog.Copy, document: dict[str, t.Any], level: str) -> dict[str, t.Any]:
        """Climb to `level`; the record that stands in the manifest now."""
        if level == "checksum":
            return _verify.prove_bytes(copy.path, document)
        work = _work.reader(
            self.commands, self.settings.directory, case.name, level,
            deadline=self.deadline, identity=self.settings.identity_of(case.name),
        )  # fmt: skip
        try:
            item = self._item(case.name, document)
        except Mismatch as error:
            return _verify.condemn(copy, str(error), level)
        lack = _lack(item, work, document) if level == "restored" else None
        if lack is not None:
            # As far as it can be proven.
            record = _verify.prove_bytes(copy.path, document)
            if record["ok"]:
                raise RunbookError(lack)
            return record
        if level == "restored" and item.engine_name not in case.engines_swept:
            case.swept += item.engine.sweep(item.source, work)
            case.engines_swept.add(item.engine_name)
        return _verify.prove(item.engine, item.source, copy.path, document, work)

    def _item(self, name: str, document: t.Mapping[str, t.Any]) -> entries.Item:
        """The source as the manifest has it, reached as the user says now; Mismatch for a manifest that names none."""
        engine = document["engine"]
        given = self.settings.given.get(name)
        if given is not None and given.engine_name != engine:
            given = None
        options = document.get("source")
        if options is None:
            if given is None:
                raise RunbookError("its manifest does not say how its source is reached. Give it in sources.")
            return given
        if given is not None:
            now = {key: given.source[key] for key in CONNECTION if key in given.engine.OPTIONS}
            options = {key: value for key, value in {**options, **now}.items() if value is not None}
        try:
            (item,), _secrets = entries.read([{**options, "name": name, "engine": engine}], "source", _registry)
        except RunbookError as error:
            if given is not None:
                return given
            raise Mismatch(f"the source in its manifest cannot be used: {error}") from error
        return item

    def _sweep(self, case: Case) -> None:
        """Remove what killed runs left in the folder, before anything needs the room."""

        def work() -> None:
            found = _catalog.folder(self.settings.directory, case.name)
            case.swept += _apply.sweep(found._replace(leftovers=[]), self.settings.level)

        if case.found.partials:
            self._locked(case, None, work)

    def _remember(self, copy: _catalog.Copy, seconds: float | None) -> None:
        """Keep how long an attempt was that had to be given up, so that the next run knows that it takes longer."""
        known = {path: value for path, value in self.interrupted.items() if path != copy.path}
        if seconds is not None:
            known[copy.path] = seconds
        if known != self.interrupted:
            self.interrupted = {path: value for path, value in known.items() if os.path.exists(path)}
            state.save(self.settings.state_dir, STATE, self.interrupted)


def _lack(item: entries.Item, work: Work, document: t.Mapping[str, t.Any]) -> str | None:
    """Why the restored copy would not fit; None when it does. Who has a database restores into one of the server."""
    needed, free = _choice.room(document), shutil.disk_usage(work.folder).free
    if "database" in item.engine.OPTIONS or needed <= free:
        return None
    return (
        f"{work.folder}: the restored copy needs {show_size(needed)}, {show_size(free)} are free. "
        "Make room, or choose level: archive."
    )


def _reason(error: RunbookError | OSError) -> str:
    if isinstance(error, RunbookError):
        return str(error)
    return f"{error.filename or 'the backup folder'}: {error.strerror or error}. Make room, or give access."


def _documents(found: _catalog.Folder) -> list[tuple[_catalog.Copy, dict[str, t.Any]]]:
    """The copies with what matters of their manifests, those left out whose manifest is none."""
    pairs = []
    for copy in found.copies:
        document = _document(copy)
        if document is not None:
            pairs.append((copy, _recovery.essence(document)))
    return pairs


def _document(copy: _catalog.Copy) -> dict[str, t.Any] | None:
    """The manifest of a copy, None when it is gone or not to be believed."""
    if not os.path.lexists(copy.path):
        return None
    with contextlib.suppress(RunbookError):
        document = _catalog.manifest(copy)
        if _shape.problem(document, copy.name, os.path.basename(copy.path)) is None:
            return document
    return None
