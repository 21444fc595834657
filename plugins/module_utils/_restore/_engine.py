# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restoring for real means for an engine, and what it may use.

An engine is a module beside this one, called as the one that makes its copies, with
  aim(source, to)        the options of the source with the target `to` in place of the original
  target(source) -> str  what is replaced, the same for every restore of it: the name of its lock and journal
  look(job) -> Look      looks at target and copy without changing anything; RunbookError when it cannot be restored
  recover(job) -> list   ends or undoes what a killed run of the same target began; returns what was done
  taken(job) -> bool     whether an old one is kept under this job's stamp already
  build(job) -> dict     restores beside the target and compares with the figures of the dump; returns figures, raises
                         Mismatch for a difference (with `force` it returns it as `problem`)
  swap(job) -> list      puts what was built in the target's place in one short step; returns where the old is now
  safety(job) -> dict    where it is not the source as it is: options of the source that is backed up before, None for none
  damage(source) -> str|None
                         where an engine can tell: why what is there cannot be read, so that no backup of it can be made
  discard(job)           removes what `build` has made, after a failure
  prune(job, keep) -> list
                         removes all but the newest `keep` of the old ones that restores have kept; returns their names

Killed between any two of them, the target is whole, the old or the new, and `recover` needs nothing but the journal.
"""

from __future__ import annotations

import contextlib
import glob
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, state

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work

JOURNALS = "restore"


class Journal:
    """What a restore is about to do, on disk before it does it. One document for each target."""

    def __init__(self, state_dir: str, key: str) -> None:
        self._folder = os.path.join(state_dir, JOURNALS)
        self._key = key

    def read(self) -> dict[str, t.Any]:
        """The document; an empty one when nothing is under way."""
        return state.load(self._folder, self._key)

    def write(self, document: t.Mapping[str, t.Any]) -> None:
        """Replace the document, durably."""
        state.save(self._folder, self._key, document)

    def file(self, part: str) -> str:
        """The path of a file that goes with the document, such as a script; who makes it removes it."""
        return os.path.join(self._folder, f"{self._key}.{part}")

    def clear(self) -> None:
        """Nothing is under way any more; what killed runs left of their writing goes too."""
        path = os.path.join(self._folder, f"{self._key}.json")
        left = glob.glob(os.path.join(glob.escape(self._folder), f".{self._key}.json.*{files.PARTIAL}"))
        for each in (path, *left):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)


class Job(t.NamedTuple):
    """One restore: `source` holds the engine's options aimed at the target, `path` the copy, `manifest` its manifest.

    `token` tells this host's scratch things for this target from all others, `stamp` names what is kept. `access` holds owner,
    group and mode of what is put in place where they were given, `promised` what earlier restores of a dry run would bring.
    """

    name: str
    source: dict[str, t.Any]
    path: str
    manifest: dict[str, t.Any]
    work: Work
    journal: Journal
    token: str
    stamp: str
    to: str | None = None
    disconnect: bool = False
    owners: bool = True
    force: bool = False
    access: t.Mapping[str, str] = {}
    promised: t.AbstractSet[str] = frozenset()


class Look(t.NamedTuple):
    """What is there now: `exists` the target, `users` who uses it, `shape` what a diff shows of it.

    `room` is (place, free bytes, needed bytes) for every file system that must hold the new beside the old, `brings` what
    other restores of the same call may count on once this one is made.
    """

    exists: bool
    size_bytes: int = 0
    users: tuple[str, ...] = ()
    room: tuple[tuple[str, int, int], ...] = ()
    warnings: tuple[str, ...] = ()
    shape: t.Mapping[str, t.Any] = {}
    brings: tuple[str, ...] = ()
