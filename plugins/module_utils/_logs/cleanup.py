# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clean-up run: look, plan, act, and say what came of it."""

from __future__ import annotations

import collections
import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import report, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import ACTIONS, CHANGED, Left, Tools
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import FolderError, Look, open_folder
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import (
    OPEN,
    Block,
    Chooser,
    Folder,
    Plan,
    passed_limits,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits, Policy

RunCommand = t.Callable[..., tuple[int, str, str]]
FAILURES = 10


class Done:
    """What came of one policy.

    Files acted on, their bytes and those freed, files left (reason to number), failures (`FAILURES` told at most).
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.freed = 0
        self.left: collections.Counter[str] = collections.Counter()
        self.faults = 0
        self.failures: list[str] = []

    def fail(self, path: str, reason: str) -> None:
        """Note a file that somebody should see to."""
        self.faults += 1
        if len(self.failures) < FAILURES:
            self.failures.append(f"{report.show(path)}: {reason}")


def run(
    policies: t.Sequence[Policy], limits: Limits, state_dir: str | None, run_command: RunCommand, check_mode: bool
) -> dict[str, t.Any]:
    """Clean up by `policies` and return the envelope with a `diff`; `Busy` while another run does."""
    if check_mode:
        return _run(policies, limits, run_command, True)
    with lock.hold(state.directory(state_dir), "log_cleanup"), writers.lease_breaks_ignored():
        return _run(policies, limits, run_command, False)


def _run(policies: t.Sequence[Policy], limits: Limits, run_command: RunCommand, check_mode: bool) -> dict[str, t.Any]:
    now = time.time()
    missing = _missing_programs(policies)
    open_files = writers.look()
    plan = observe(policies, now, open_files)
    results = [Done() for _each in policies]
    refusal = passed_limits(plan, limits)
    swept = 0
    if not check_mode and not refusal:
        swept = _rounds(plan, now, run_command, results, missing)
    outcomes = [
        report.tell(policy, tally, None if check_mode else done, refusal, missing.get(rank, ""), open_files.hidden)
        for rank, (policy, tally, done) in enumerate(zip(policies, plan.tallies, results))
    ]
    if check_mode:
        changed = not refusal and bool(plan.leftovers or _possible(plan, missing))
    else:
        changed = bool(swept or any(done.files for done in results))
    return outcome.envelope(outcomes, changed, diff=report.difference(plan, bool(refusal)))


def _possible(plan: Plan, missing: t.Mapping[int, str]) -> int:
    return sum(tally.chosen_files for rank, tally in enumerate(plan.tallies) if rank not in missing)


def _missing_programs(policies: t.Sequence[Policy]) -> dict[int, str]:
    """Policies (by number) that cannot work on this host, with the reason."""
    missing = {}
    for rank, policy in enumerate(policies):
        if policy.action == "compress" and policy.compression == "zstd":
            try:
                require("zstd")
            except MissingProgram as error:
                missing[rank] = str(error)
    return missing


def observe(policies: t.Sequence[Policy], now: float, open_files: writers.Writers, capacity: int | None = None) -> Plan:
    """Look through the folders and plan; nothing is changed. `now` is in seconds since the epoch."""
    plan = Plan(policies) if capacity is None else Plan(policies, capacity)
    Look(plan, Chooser(plan, now, open_files.files)).run()
    return plan


def _rounds(
    plan: Plan, now: float, run_command: RunCommand, results: t.Sequence[Done], missing: t.Mapping[int, str]
) -> int:
    """Act, and look again for what did not fit into the plan or came back from a killed run; return files swept.

    The limits held for the first look at everything; later rounds never act on more files than that found.
    """
    allowance, swept_all = plan.chosen_files, 0
    while True:
        before = sum(done.files for done in results)
        swept, restored = sweep(plan)
        swept_all += swept
        allowance += restored
        if plan.blocks:
            apply(plan, run_command, results, missing, allowance - before)
        acted = sum(done.files for done in results) - before
        if not restored and not (plan.truncated and acted):
            return swept_all
        plan = observe(plan.policies, now, writers.look(), None)


def sweep(plan: Plan) -> tuple[int, int]:
    """Clear away what killed runs left; return how many files, and how many of them are sources put back."""
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import compress

    swept = restored = 0
    for folder, name in plan.leftovers:
        with contextlib.suppress(OSError, FolderError, Left), _opened(folder) as descriptor:
            back = compress.sweep(descriptor, name)
            restored += back
            swept += not os.path.lexists(f"/proc/self/fd/{descriptor}/{name}")
    return swept, restored


def apply(
    plan: Plan,
    run_command: RunCommand,
    results: t.Sequence[Done],
    missing: t.Mapping[int, str] | None = None,
    allowance: int | None = None,
) -> None:
    """Act on the plan's files, each looked at once more, and count in `results` what came of it."""
    # Looked at again: the first look at the folders can have taken minutes.
    written = writers.look().files
    room = plan.chosen_files if allowance is None else allowance
    for block in plan.blocks:
        if missing and block.rank in missing:
            continue
        if room <= 0:
            return
        done = results[block.rank]
        before = done.files
        try:
            with _opened(block.folder) as descriptor:
                _block(descriptor, block, plan.policies[block.rank], Acting(run_command, written, room), done)
        except Left as error:
            done.left[str(error)] += len(block.inodes)
        except FolderError as error:
            done.fail(block.folder.path, str(error))
        room -= done.files - before


class Acting(t.NamedTuple):
    """What acting on a block needs to know: files open for writing by (device, inode), and how many may be acted on."""

    run_command: RunCommand
    written: frozenset[tuple[int, int]]
    room: int


def _block(descriptor: int, block: Block, policy: Policy, acting: Acting, done: Done) -> None:
    act, tools, device = ACTIONS[policy.action], Tools(acting.run_command, policy.compression), block.device
    inodes = {inode for _device, inode in acting.written}
    files, acted_bytes, freed = 0, 0, 0
    for name, known in block.files():
        if files >= acting.room:
            break
        if known[0] in inodes and (device, known[0]) in acting.written:
            done.left[OPEN] += 1
            continue
        try:
            freed += act(descriptor, name, known, tools)
            files += 1
            acted_bytes += known[2]
        except FileNotFoundError:
            done.left["gone"] += 1
        except Left as error:
            if error.fault:
                done.fail(f"{block.folder.path}/{name}", str(error))
            else:
                done.left[str(error)] += 1
        except OSError as error:
            done.fail(f"{block.folder.path}/{name}", error.strerror or str(error))
        except RunbookError as error:
            done.fail(f"{block.folder.path}/{name}", str(error))
    done.files += files
    done.bytes += acted_bytes
    done.freed += freed


@contextlib.contextmanager
def _opened(folder: Folder) -> t.Iterator[int]:
    """The folder of the plan; `Left` when another one has its place now."""
    descriptor = open_folder(folder.path)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (folder.device, folder.inode):
            raise Left(f"folder {CHANGED}")
        yield descriptor
    finally:
        os.close(descriptor)
