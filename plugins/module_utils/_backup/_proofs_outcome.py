# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification says of one name: what is wrong first, then what was proven, then what a recovery would take."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _choice, _packing, _recovery
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._proofs_settings import Settings

STAGE = "verify"
# Files that a summary names, and that wait for the next run and stand in the details.
_SHOWN = 3
_LISTED = 10
Document = dict[str, t.Any]
Finding = tuple[str, str]


class Proof(t.NamedTuple):
    """One verification of this run; `ok` is None for one that check mode would make, `seconds` is then expected."""

    copy: _catalog.Copy
    level: str
    ok: bool | None
    seconds: float
    problem: str | None = None

    def shown(self, name: str) -> dict[str, t.Any]:
        """As the module returns it."""
        return {
            "name": name,
            "path": self.copy.path,
            "level": self.level,
            "ok": self.ok,
            "duration_seconds": round(self.seconds, 3),
            "problem": self.problem,
        }


@dataclasses.dataclass
class Case:
    """What is known of one name, before and after; `problems` are verifications that could not be made."""

    name: str
    found: _catalog.Folder
    documents: list[tuple[_catalog.Copy, Document]]
    candidates: list[_choice.Candidate]
    proofs: list[Proof] = dataclasses.field(default_factory=list)
    postponed: list[_choice.Postponed] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    swept: list[str] = dataclasses.field(default_factory=list)
    engines_swept: set[str] = dataclasses.field(default_factory=set)
    busy: str | None = None


def build(case: Case, settings: Settings, dry: bool) -> dict[str, t.Any]:
    """The outcome of one name."""
    now = time.time()
    refuted = {proof.copy.path for proof in case.proofs if proof.ok is False}
    documents = [(copy, document) for copy, document in case.documents if copy.path not in refuted]
    recovery = _recovery.measure(documents, settings.level, now)
    target = settings.target(case.name)
    findings = [*_broken(case), *_obstacles(case, settings), *_odd(case, settings.level, now)]
    passed = _recovery.passed(recovery, target) if case.found.copies else []
    findings += [("warning", text) for text in passed]
    findings.sort(key=_severity)
    text = [text for _status, text in findings]
    if case.found.copies:
        text += [_done(case, settings, dry), *_rest(case), *([] if passed else _outlook(recovery))]
    left = [os.path.basename(path) for path in case.found.leftovers]
    details = {
        "missing": [os.path.basename(path) for path in case.found.missing],
        "failed": {os.path.basename(copy.path): copy.problem for copy in case.found.copies if copy.failed},
        "postponed": {os.path.basename(each.candidate.copy.path): each.reason for each in case.postponed[:_LISTED]},
        "problems": case.problems,
        "without_manifest": left,
        "swept": case.swept,
    }
    shown = {key: value for key, value in details.items() if value}
    return outcome(
        _subject(case),
        STAGE,
        worst(["ok", *(status for status, _text in findings)]),
        "; ".join(text),
        metrics=_metrics(case, recovery, now, dry),
        details={**shown, **_recovery.details(recovery, target)},
    )


def _broken(case: Case) -> t.Iterator[Finding]:
    """What speaks against the backups of this name."""
    if case.found.missing:
        names = _names([os.path.basename(path) for path in case.found.missing])
        yield (
            "critical",
            f"{names}: the manifest is there, the data file is gone. Restore the file, or remove its manifest",
        )
    failed = {os.path.basename(copy.path): copy.problem for copy in case.found.copies if copy.failed}
    # What could not be written into a manifest is true nevertheless.
    for proof in case.proofs:
        if proof.ok is False:
            failed.setdefault(os.path.basename(proof.copy.path), proof.problem)
    if failed:
        name = min(failed)
        yield "critical", f"{len(failed)} of {len(case.found.copies)} copies failed: {name}: {failed[name]}"
    if not case.found.copies and not case.found.missing:
        left = len(case.found.leftovers)
        yield "critical", "there is no backup" + (f", {left} data files have no manifest" if left else "")


def _obstacles(case: Case, settings: Settings) -> t.Iterator[Finding]:
    """What kept this run from verifying."""
    if case.problems:
        more = f" (and {len(case.problems) - 1} more)" if len(case.problems) > 1 else ""
        yield "unknown", f"could not be verified: {case.problems[0]}{more}"
    locked = [copy for copy, _document in case.documents if copy.path.endswith(_packing.ENCRYPTED)]
    if locked and settings.level != "checksum" and settings.identity_of(case.name) is None:
        text = f"{len(locked)} copies are encrypted and cannot be read here, so that only checksums are compared"
        yield "unknown", f"{text}. Set encryption.identity to the file with the secret key"
    if case.busy is not None:
        yield "warning", f"not verified: {case.busy}"
    never = [each for each in case.postponed if each.never]
    if never:
        first = f"{os.path.basename(never[0].candidate.copy.path)}: {never[0].reason}"
        yield "warning", f"{len(never)} copies do not fit into the budget: {first}. Raise the budget"


def _odd(case: Case, level: str, now: float) -> t.Iterator[Finding]:
    copies = [copy for copy in case.found.copies if not copy.failed]
    future = [os.path.basename(copy.path) for copy in copies if copy.created > now]
    if future:
        yield "warning", f"{_names(future)}: a time stamp in the future counts for nothing"
    if copies and not any(copy.good(level) and copy.created <= now for copy in copies):
        proven = any(copy.level and copy.created <= now for copy in copies)
        yield "warning" if proven else "critical", f"no copy is proven as {level}"


def _done(case: Case, settings: Settings, dry: bool) -> str:
    total = len(case.found.copies)
    seconds = show_duration(sum(proof.seconds for proof in case.proofs))
    if dry:
        size = sum(proof.copy.size_bytes for proof in case.proofs)
        return f"would verify {len(case.proofs)} of {total} copies as {settings.level} ({show_size(size)}), about {seconds}"
    passed = [proof for proof in case.proofs if proof.ok]
    if passed:
        levels = " and ".join(sorted({proof.level for proof in passed}))
        return f"{len(passed)} of {total} copies proven as {levels} in {seconds}"
    if case.proofs or case.postponed or case.busy or case.problems:
        return "no copy was proven anew"
    return f"nothing to do: each of the {total} copies was verified as {settings.level} within the interval"


def _rest(case: Case) -> t.Iterator[str]:
    waiting = [each for each in case.postponed if not each.never]
    if waiting:
        yield f"{len(waiting)} wait for the next run: {waiting[0].reason}"
    if case.swept:
        yield f"removed {len(case.swept)} left by a run that was killed"


def _outlook(recovery: _recovery.Recovery) -> t.Iterator[str]:
    if recovery.point_seconds is None:
        return
    text = f"the newest good one is {show_duration(recovery.point_seconds)} old"
    if recovery.time_seconds is not None:
        text += f", a restore takes {show_duration(recovery.time_seconds)}"
    yield text


def _metrics(case: Case, recovery: _recovery.Recovery, now: float, dry: bool) -> dict[str, float]:
    found = _recovery.metrics(recovery)
    found["copies"] = len(case.found.copies)
    found["failed_copies"] = sum(copy.failed for copy in case.found.copies) + len(case.found.missing)
    found["verified_copies"] = 0 if dry else len(case.proofs)
    found["postponed_copies"] = len(case.postponed)
    found["verify_seconds"] = 0.0 if dry else round(sum(proof.seconds for proof in case.proofs), 3)
    return found


def _subject(case: Case) -> str:
    """As the backup of this name is called; the newest copy decides where copies of several engines lie."""
    engine = next((copy.engine for copy in case.found.copies if copy.engine != "unknown"), "backup")
    return f"{engine}:{case.name}"


def _severity(finding: Finding) -> int:
    return -STATUSES.index(finding[0])


def _names(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
