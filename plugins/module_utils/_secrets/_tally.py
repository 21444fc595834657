# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan has counted and found so far (K4)."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _noise

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._examine import Finding
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._guard import Readable

# Of one scan; what is beyond is counted alone.
_MOST = 10_000


class Tally:
    """Counts and findings of one scan."""

    def __init__(self) -> None:
        self.files = self.scanned = self.unchanged = self.binary = self.vanished = self.links = self.mounts = 0
        self.read_bytes = self.guarded = self.kept = self.noise = self.allowed = self.quiet = self.beyond = 0
        self.seconds = 0.0
        self.stopped = ""
        self.rewritten = False
        # What makes the outcome unknown; what is only told.
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.unscanned: dict[str, str] = {}
        self.keepers: set[str] = set()
        # Files that are not clean: they are looked at again in the next run.
        self.dirty: set[str] = set()
        self.readable: dict[str, Readable] = {}
        # The finding of each line, as {(path, line): finding}.
        self._found: dict[tuple[str, int], Finding] = {}

    def add(self, findings: t.Iterable[Finding], keeper: bool) -> None:
        """Count findings of a file; in a `keeper` secrets are in their place."""
        for each in findings:
            if keeper:
                self.kept += 1
                self.dirty.add(each.path)
            elif each.noise:
                self.noise += 1
            elif each.allowed:
                self.allowed += 1
                self.dirty.add(each.path)
            else:
                self.dirty.add(each.path)
                self._keep(each)

    def _keep(self, finding: Finding) -> None:
        key = (finding.path, finding.line)
        before = self._found.get(key)
        if before is None and len(self._found) >= _MOST:
            self.beyond += 1
        elif before is None or _rank(finding) < _rank(before):
            self._found[key] = finding

    def quieten(self, quiet: t.Callable[[str, str, str], bool]) -> None:
        """Take out what a baseline knows."""
        for key, each in list(self._found.items()):
            if quiet(each.path, each.kind, each.digest):
                del self._found[key]
                self.quiet += 1

    def drop_empty(self) -> None:
        """Take out files that others can read, whose names say that there may be a secret, and in which none was found."""
        for path, each in list(self.readable.items()):
            if not each.sure and path not in self.dirty and path not in self.unscanned:
                del self.readable[path]

    def shown(self) -> list[Finding]:
        """The findings, the worst first."""
        return sorted(self._found.values(), key=_order)


def severity(kind: str) -> str:
    """A kind that is known by its form alone is critical; what is guessed by names or randomness is a warning."""
    return "warning" if kind in _noise.WARNING else "critical"


def _rank(finding: Finding) -> tuple[bool, bool, str]:
    """Of several findings in one line the one that says most is told, always the same."""
    return severity(finding.kind) == "warning", finding.kind in _noise.ENTROPY, finding.kind


def _order(finding: Finding) -> tuple[str, str, int]:
    return severity(finding.kind), finding.path, finding.line
