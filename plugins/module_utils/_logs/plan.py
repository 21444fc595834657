# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a clean-up will do: pure functions over names and stat results, and a plan that stays small for any tree."""

from __future__ import annotations

import collections
import heapq
import os
import typing as t
from array import array

from ansible_collections.sre.runbooks.plugins.module_utils._logs.caps import Sizes

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.caps import Cap
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits, Policy

COMPRESSED = (".7z", ".br", ".bz2", ".gz", ".lz4", ".lzma", ".tbz2", ".tgz", ".txz", ".xz", ".zip", ".zst")
BLOCK = 4096  # files
CAPACITY = 22 << 20  # bytes; what does not fit is planned in a further round
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
    def st_blocks(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...


class Folder(t.NamedTuple):
    """A folder as it was looked at."""

    path: str
    device: int
    inode: int


class Block(t.NamedTuple):
    """Up to `BLOCK` files of one folder that one policy chose; 16 bytes and the name for each.

    Inode and time of change tell a file from any other and from itself after a change: whoever may write to the file can
    set its time of modification back, its time of change nobody can.
    """

    rank: int
    folder: Folder
    device: int
    names: bytes
    inodes: array[int]
    ctimes_ns: array[int]

    def files(self) -> t.Iterator[tuple[str, int, int]]:
        """Name of each file, its inode and its time of change (ns)."""
        return zip(os.fsdecode(self.names).split("/"), self.inodes, self.ctimes_ns)


class _Pending(t.NamedTuple):
    """What will be a block: names, inodes, times of change."""

    names: list[str]
    inodes: array[int]
    ctimes_ns: array[int]


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
        self.before_ns: t.Sequence[int | None] = [None] * len(policies)  # what is older is old enough
        self._room = capacity
        self._folder = Folder("", 0, 0)
        self._pending: dict[tuple[int, int], _Pending] = {}

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
        pending = self._pending.get((rank, stat.st_dev))
        if pending is None:
            pending = self._pending[rank, stat.st_dev] = _Pending([], array("Q"), array("q"))
        pending.names.append(name)
        pending.inodes.append(stat.st_ino)
        pending.ctimes_ns.append(stat.st_ctime_ns)
        if len(pending.names) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Pack what was chosen since the last call."""
        for (rank, device), pending in self._pending.items():
            names = os.fsencode("/".join(pending.names))
            self.blocks.append(Block(rank, self._folder, device, names, pending.inodes, pending.ctimes_ns))
            self._room -= len(names) + 16 * len(pending.names) + 500
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

    def __init__(
        self,
        plan: Plan,
        now: float,
        writing: t.AbstractSet[tuple[int, int]],
        caps: t.Mapping[int, Cap | None] | None = None,
    ) -> None:
        """`now` is in seconds since the epoch; `writing` holds (device, inode) of what processes write to.

        `caps` says by policy where its `max_total` cuts. Without them the files that a cap is about are counted in
        `sizes` and left alone.
        """
        self._plan = plan
        self._policies = plan.policies
        self.before_ns = [
            None if each.older_than is None else int((now - each.older_than) * 1e9) for each in plan.policies
        ]
        self._writing = writing
        self._written_inodes = {inode for _device, inode in writing}
        self._caps = caps
        plan.before_ns = self.before_ns
        self.sizes = {rank: Sizes() for rank, each in enumerate(plan.policies) if each.max_total is not None}
        self._newest: dict[int, list[tuple[int, str, Stat, t.Sequence[int]]]] = {}

    def plain(self, rank: int) -> bool:
        """Whether a policy leaves every file alone that is not old enough, whatever else there is."""
        policy = self._policies[rank]
        return policy.older_than is not None and not policy.keep_newest and policy.max_total is None

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
                if rank in self.sizes:
                    self._over(rank, stat)  # it stays, yet takes its part of the room
                self.offer(name, stat, rest)

    def _wants(self, rank: int, name: str, stat: Stat) -> bool:
        policy, tally = self._policies[rank], self._plan.tallies[rank]
        tally.files += 1
        tally.bytes += stat.st_size
        if not self._meant(rank, stat) and not (policy.max_total is not None and self._over(rank, stat)):
            return False
        reason = self._unsafe(policy, name, stat)
        if reason:
            tally.skipped[reason] += 1
        return not reason

    def _meant(self, rank: int, stat: Stat) -> bool:
        """Whether age and size are those that the policy asks for; a policy with a cap alone asks for none."""
        policy, before_ns = self._policies[rank], self.before_ns[rank]
        if before_ns is not None and stat.st_mtime_ns > before_ns:
            return False
        if policy.larger_than is not None:
            return held(policy, stat) > policy.larger_than
        return before_ns is not None or policy.max_total is None

    def _over(self, rank: int, stat: Stat) -> bool:
        if self._caps is None:
            self.sizes[rank].add(stat.st_mtime_ns, stat.st_size)
            return False
        cap = self._caps[rank]
        return cap is not None and cap.passed(stat.st_mtime_ns, stat.st_size)

    def _unsafe(self, policy: Policy, name: str, stat: Stat) -> str:
        if stat.st_nlink != 1:
            return HARD_LINK
        if policy.action == "truncate":
            return "" if stat.st_size else EMPTY
        if stat.st_ino in self._written_inodes and (stat.st_dev, stat.st_ino) in self._writing:
            return OPEN
        if policy.action == "compress":
            if name.endswith(COMPRESSED):
                return ALREADY
            if not stat.st_size:
                return EMPTY
        return ""


def still_meant(policy: Policy, before_ns: int | None, stat: Stat) -> bool:
    """Whether age and size, where the policy asks for them, still are what it asks for."""
    if before_ns is None and policy.larger_than is None:
        return False
    old = before_ns is None or stat.st_mtime_ns <= before_ns
    return old and (policy.larger_than is None or held(policy, stat) > policy.larger_than)


def held(policy: Policy, stat: Stat) -> int:
    """The size that `larger_than` is about, in bytes.

    A file that was truncated below a writer without O_APPEND has its old size and a hole where the lines were: emptying
    it again would gain nothing.
    """
    return min(stat.st_size, stat.st_blocks * 512) if policy.action == "truncate" else stat.st_size


def passed_limits(plan: Plan, limits: Limits, more_bytes: int = 0) -> list[str]:
    """Which limits the plan and `more_bytes` that are no files pass, each as a phrase for a person."""
    files, size = plan.chosen_files, plan.chosen_bytes + more_bytes
    percent = 100 * files / plan.files if plan.files else 0.0
    passed = []
    if files > limits.files:
        passed.append(f"{files} files (limits.files: {limits.files})")
    if size > limits.bytes:
        passed.append(f"{size} bytes (limits.bytes: {limits.bytes})")
    if percent > limits.percent:
        passed.append(f"{percent:.1f} % of the {plan.files} files that match (limits.percent: {limits.percent:g})")
    return passed
