# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clean-up run: look, plan, act, and say what came of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram
from ansible_collections.sre.runbooks.plugins.module_utils._logs import report, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.acting import EXACT, Acting, Done, RunCommand, opened
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import Left
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import FolderError, Look, open_folder
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import (
    Chooser,
    Plan,
    passed_limits,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.caps import Cap
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.containers import Containers, Wish
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits, Policy

WORKERS = 4


class Work(t.NamedTuple):
    """What a user asks of a run."""

    policies: t.Sequence[Policy]
    limits: Limits
    containers: Wish | None = None


def run(work: Work, state_dir: str | None, run_command: RunCommand, check_mode: bool) -> dict[str, t.Any]:
    """Clean up and return the envelope with a `diff`; `Busy` while another run does."""
    if check_mode:
        return _run(work, run_command, True)
    with lock.hold(state.directory(state_dir), "log_cleanup"), writers.lease_breaks_ignored():
        return _run(work, run_command, False)


def _run(work: Work, run_command: RunCommand, check_mode: bool) -> dict[str, t.Any]:
    now, policies = time.time(), work.policies
    missing = _missing_means(policies)
    open_files = writers.look()
    plan = observe(policies, now, open_files)
    containers = _containers(work.containers, run_command)
    results = [Done() for _each in policies]
    refusal = passed_limits(plan, work.limits, containers.planned_bytes if containers else 0)
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
    if containers:
        told, pruned = containers.tell(refusal, check_mode)
        outcomes.append(told)
        changed = changed or pruned
    return outcome.envelope(outcomes, changed, diff=report.difference(plan, bool(refusal)))


def _containers(wish: Wish | None, run_command: RunCommand) -> Containers | None:
    if wish is None:
        return None
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import containers

    return containers.Containers(wish, run_command)


def _possible(plan: Plan, missing: t.Mapping[int, str]) -> int:
    return sum(tally.chosen_files for rank, tally in enumerate(plan.tallies) if rank not in missing)


def _missing_means(policies: t.Sequence[Policy]) -> dict[int, str]:
    """Policies (by number) that cannot work on this host, with the reason."""
    missing = {}
    for rank, policy in enumerate(policies):
        if policy.action == "compress" and policy.compression == "zstd":
            try:
                require("zstd")
            except MissingProgram as error:
                missing[rank] = str(error)
        if policy.archive_dir is not None and os.path.lexists(policy.archive_dir):
            try:
                os.close(open_folder(policy.archive_dir))
            except FolderError as error:
                missing[rank] = str(error)
    return missing


def observe(policies: t.Sequence[Policy], now: float, open_files: writers.Writers, capacity: int | None = None) -> Plan:
    """Look through the folders and plan; nothing is changed. `now` is in seconds since the epoch.

    Where a policy caps a sum of sizes, a look before the look finds out where the cap cuts.
    """
    caps = _caps(policies, now, open_files) if any(policy.max_total is not None for policy in policies) else {}
    plan = Plan(policies) if capacity is None else Plan(policies, capacity)
    Look(plan, Chooser(plan, now, open_files.files, caps)).run()
    return plan


def _caps(policies: t.Sequence[Policy], now: float, open_files: writers.Writers) -> dict[int, Cap | None]:
    plan = Plan(policies, 0)
    chooser = Chooser(plan, now, open_files.files)
    Look(plan, chooser).run()
    return {rank: sizes.cap(policies[rank].max_total or 0) for rank, sizes in chooser.sizes.items()}


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
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import retire

    swept = restored = 0
    for folder, name in plan.leftovers:
        with contextlib.suppress(OSError, FolderError, Left), opened(folder) as descriptor:
            back = retire.sweep(descriptor, name)
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
    blocks = [block for block in plan.blocks if block.rank not in (missing or {})]
    acting = Acting(plan, run_command, results, plan.chosen_files if allowance is None else allowance)
    # What is looked at waits for nobody, what is deleted waits for the disk: in several folders at once that is half the
    # time. In one folder the kernel lets one in after the other anyway, and the waiting makes it slower.
    folders = [list(group) for _folder, group in itertools.groupby(blocks, key=lambda block: block.folder)]
    deleting = all(plan.policies[block.rank].action == "delete" for block in blocks)
    workers = min(WORKERS, os.cpu_count() or 1, len(folders)) if deleting and plan.chosen_files > EXACT else 1
    if workers < 2:
        acting.work(folders)
        return
    threads = [threading.Thread(target=acting.work, args=(folders[number::workers],)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if acting.problem is not None:
        raise acting.problem
