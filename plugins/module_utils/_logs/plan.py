# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a clean-up will do: pure functions over names and stat results, and a plan that stays small for any tree."""

from __future__ import annotations

import collections
import heapq
import itertools
import os
import typing as t
from array import array

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits, Policy

COMPRESSED = (".7z", ".br", ".bz2", ".gz", ".lz4", ".lzma", ".tbz2", ".tgz", ".txz", ".xz", ".zip", ".zst")
BLOCK = 4096  # files
CAPACITY = 20 << 20  # bytes; what does not fit is planned in a further round
EXAMPLES = 10

HARD_LINK = "has other hard links"
OPEN = "open for writing"
ALREADY = "compressed already"
EMPTY = "empty"


class Stat(t.Protocol):
    """The part of `os.stat_result` that a plan reads."""

    @property
    def st_ino(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...


class Folder(t.NamedTuple):
    """A folder as it was looked at."""

    path: str
    device: int
    inode: int


class Block(t.NamedTuple):
    """Up to `BLOCK` files of one folder that one policy chose; 24 bytes and the name for each."""

    rank: int
    folder: Folder
    device: int
    names: bytes
    inodes: array[int]
    mtimes_ns: array[int]
    sizes: array[int]

    def files(self) -> t.Iterator[tuple[str, tuple[int, int, int, int]]]:
        """Name of each file, and its inode, time of modification (ns), size and device."""
        known = zip(self.inodes, self.mtimes_ns, self.sizes, itertools.repeat(self.device))
        return zip(os.fsdecode(self.names).split("/"), known)


class Tally:
    """What one policy's look at its folders came to."""

    def __init__(self) -> None:
        self.files = 0  # that match the policy, chosen or not
        self.bytes = 0
        self.chosen_files = 0
        self.chosen_bytes = 0
        self.skipped: collections.Counter[str] = collections.Counter()
        self.examples: list[str] = []
        self.problems: list[str] = []


class Plan:
    """What the policies chose, folder by folder, in at most about `capacity` bytes.

    `truncated` says that there is more to do than fits; the tallies count all of it.
    """

    def __init__(self, policies: t.Sequence[Policy], capacity: int = CAPACITY) -> None:
        self.policies = policies
        self.tallies = [Tally() for _each in policies]
        self.blocks: list[Block] = []
        self.leftovers: list[tuple[Folder, str]] = []
        self.files = 0  # that match any policy
        self.truncated = False
        self._room = capacity
        self._folder = Folder("", 0, 0)
        self._pending: dict[tuple[int, int], list[tuple[str, Stat]]] = {}

    def enter(self, folder: Folder) -> None:
        """From now on names are names in `folder`."""
        self.flush()
        self._folder = folder

    def choose(self, rank: int, name: str, stat: Stat) -> None:
        """Take the file `name` for the policy number `rank`."""
        tally = self.tallies[rank]
        tally.chosen_files += 1
        tally.chosen_bytes += stat.st_size
        if len(tally.examples) < EXAMPLES:
            tally.examples.append(f"{self._folder.path}/{name}")
        if self._room <= 0:
            self.truncated = True
            return
        pending = self._pending.setdefault((rank, stat.st_dev), [])
        pending.append((name, stat))
        if len(pending) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Pack what was chosen since the last call."""
        for (rank, device), chosen in self._pending.items():
            names = os.fsencode("/".join([name for name, _stat in chosen]))
            block = Block(
                rank, self._folder, device, names,
                array("Q", [stat.st_ino for _name, stat in chosen]),
                array("q", [stat.st_mtime_ns for _name, stat in chosen]),
                array("q", [stat.st_size for _name, stat in chosen]),
            )  # fmt: skip
            self.blocks.append(block)
            self._room -= len(names) + 24 * len(chosen) + 500
        self._pending.clear()

    @property
    def chosen_files(self) -> int:
        """Files of the whole run to act on."""
        return sum(tally.chosen_files for tally in self.tallies)

    @property
    def chosen_bytes(self) -> int:
        """Bytes of the whole run to act on."""
        return sum(tally.chosen_bytes for tally in self.tallies)


class Chooser:
    """Offers each file of a folder to the policies in their order; the first that wants it gets it."""

    def __init__(self, plan: Plan, now: float, writing: t.AbstractSet[tuple[int, int]]) -> None:
        """`now` is in seconds since the epoch; `writing` holds (device, inode) of what processes write to."""
        self._plan = plan
        self._policies = plan.policies
        self._before_ns = [
            None if each.older_than is None else int((now - each.older_than) * 1e9) for each in plan.policies
        ]
        self._writing = writing
        self._written_inodes = {inode for _device, inode in writing}
        self._newest: dict[int, list[tuple[int, str, Stat, t.Sequence[int]]]] = {}

    def offer(self, name: str, stat: Stat, ranks: t.Sequence[int]) -> None:
        """Offer a regular file to the policies `ranks` that match its name."""
        if len(ranks) == 1 and not self._policies[ranks[0]].keep_newest:  # the usual case, a million times
            if self._wants(ranks[0], name, stat):
                self._plan.choose(ranks[0], name, stat)
            return
        for position, rank in enumerate(ranks):
            keep = self._policies[rank].keep_newest
            rest = ranks[position + 1 :]
            if keep:
                heap = self._newest.setdefault(rank, [])
                heapq.heappush(heap, (stat.st_mtime_ns, name, stat, rest))
                if len(heap) <= keep:
                    return
                _mtime, name, stat, rest = heapq.heappop(heap)
            if self._wants(rank, name, stat):
                self._plan.choose(rank, name, stat)
                for other in rest:
                    self._plan.tallies[other].skipped[f"taken by policy {self._policies[rank].name}"] += 1
                return
            if keep:
                self.offer(name, stat, rest)
                return

    def finish(self) -> None:
        """End a folder: what is still among the newest stays, as far as the policy that keeps it is concerned."""
        for rank in range(len(self._policies)):
            for _mtime, name, stat, rest in self._newest.pop(rank, ()):
                tally = self._plan.tallies[rank]
                tally.files += 1
                tally.bytes += stat.st_size
                self.offer(name, stat, rest)

    def _wants(self, rank: int, name: str, stat: Stat) -> bool:
        policy, tally, before_ns = self._policies[rank], self._plan.tallies[rank], self._before_ns[rank]
        tally.files += 1
        tally.bytes += stat.st_size
        if before_ns is not None and stat.st_mtime_ns > before_ns:
            return False
        if policy.larger_than is not None and stat.st_size <= policy.larger_than:
            return False
        reason = self._unsafe(policy, name, stat)
        if reason:
            tally.skipped[reason] += 1
        return not reason

    def _unsafe(self, policy: Policy, name: str, stat: Stat) -> str:
        if stat.st_nlink != 1:
            return HARD_LINK
        if stat.st_ino in self._written_inodes and (stat.st_dev, stat.st_ino) in self._writing:
            return OPEN
        if policy.action == "compress":
            if name.endswith(COMPRESSED):
                return ALREADY
            if not stat.st_size:
                return EMPTY
        return ""


def passed_limits(plan: Plan, limits: Limits) -> list[str]:
    """Which limits the plan passes, each as a phrase for a person."""
    files, size = plan.chosen_files, plan.chosen_bytes
    percent = 100 * files / plan.files if plan.files else 0.0
    passed = []
    if files > limits.files:
        passed.append(f"{files} files (limits.files: {limits.files})")
    if size > limits.bytes:
        passed.append(f"{size} bytes (limits.bytes: {limits.bytes})")
    if percent > limits.percent:
        passed.append(f"{percent:.1f} % of the {plan.files} files that match (limits.percent: {limits.percent:g})")
    return passed
