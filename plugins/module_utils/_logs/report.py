# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a clean-up did, as outcomes and as a difference."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import SUFFIXES

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.acting import Done
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import Plan, Tally
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Policy

STAGE = "log_cleanup"
NAMES = 100  # in a difference
_DONE = {"delete": "deleted", "compress": "compressed", "archive": "archived", "truncate": "emptied"}
_REMAIN = ("truncate",)  # actions after which the files are still there

_HOLES = (
    "have a writer without O_APPEND: a hole takes the place of its old lines; let the service open its log to append"
)


def show(name: str) -> str:
    """A file name that any terminal and any JSON reader takes: what is no printable text is escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def tell(
    policy: Policy, tally: Tally, done: Done | None, refusal: t.Sequence[str], missing: str, hidden: int
) -> dict[str, t.Any]:
    """The outcome of one policy; `done` is None in check mode, `hidden` the number of processes not looked at."""
    refused = bool(refusal) and tally.chosen_files > 0
    if done is None or refused or missing:
        files, size = (0, 0) if refused or missing else (tally.chosen_files, tally.chosen_bytes)
        # What compressing would free nobody knows; what archiving frees depends on where to.
        freed = size if policy.action in ("delete", "truncate") else 0
    else:
        files, size, freed = done.files, done.bytes, done.freed
    metrics = {
        "files": files,
        "freed_bytes": freed,
        # An archive is no longer counted: it has another name, and no policy compresses it again.
        "remaining_files": tally.files - (0 if policy.action in _REMAIN else files),
        "remaining_bytes": tally.bytes - size,
        "failed_files": done.faults if done else 0,
    }
    parts, status = [], "ok"
    if refused:
        status = "critical"
        parts.append(
            f"refused, nothing was touched: the run would act on {' and '.join(refusal)}; "
            f"{tally.chosen_files} files, {show_size(tally.chosen_bytes)} of them by this policy. "
            "Correct the policy or raise the limit"
        )
    elif missing:
        status = "unknown"
        parts.append(missing)
    else:
        parts.append(_done(policy, files, freed, done is None))
        if done and done.faults:
            status = "warning" if done.files else "critical"
            parts.append(f"{done.faults} failed, such as {done.failures[0]}")
        if done and done.holes:
            parts.append(f"{done.holes} of them {_HOLES}")
        parts.append(f"{metrics['remaining_files']} remain, {show_size(metrics['remaining_bytes'])}")
    if tally.problems:
        status = outcome.worst([status, "unknown"])
        parts = [*tally.problems, *parts]
    return outcome.outcome(
        f"logs:{policy.name}", STAGE, status, "; ".join(show(part) for part in parts), metrics=metrics,
        details=_details(policy, tally, done, refused, hidden),
    )  # fmt: skip


def _done(policy: Policy, files: int, freed: int, check_mode: bool) -> str:
    if not files:
        return "nothing to do"
    verb = f"would {policy.action}" if check_mode else _DONE[policy.action]
    gain = "" if freed <= 0 else f", {show_size(freed)}" + ("" if check_mode else " freed")
    return f"{verb} {files} file{'s' if files != 1 else ''}{gain}"


def _details(policy: Policy, tally: Tally, done: Done | None, refused: bool, hidden: int) -> dict[str, t.Any]:
    details: dict[str, t.Any] = {"action": policy.action, "examples": [show(path) for path in tally.examples]}
    skipped = tally.skipped + done.left if done else tally.skipped
    details["skipped"] = {show(reason): number for reason, number in sorted(skipped.items())}
    if refused:
        details["plan"] = {
            "files": tally.chosen_files,
            "bytes": tally.chosen_bytes,
            "first": [show(path) for path in tally.examples],
        }
    if done and done.failures:
        details["failures"] = done.failures
    if tally.problems:
        details["problems"] = [show(problem) for problem in tally.problems]
    if hidden:
        details["open_files"] = f"{hidden} processes of other users could not be looked at for files open for writing"
    return details


def difference(plan: Plan, refused: bool) -> dict[str, str]:
    """The plan as a difference: names that go, names that come, `NAMES` at most."""
    if refused:
        return {"before": "", "after": ""}
    before: list[str] = []
    after: list[str] = []
    for block in plan.blocks:
        policy = plan.policies[block.rank]
        for name, *_rest in block.files():
            if len(before) == NAMES:
                break
            path = show(f"{block.folder.path}/{name}")
            before.append(path)
            if policy.action == "compress":
                after.append(path + SUFFIXES[policy.compression])
            elif policy.action == "archive":
                after.append(show(f"{policy.archive_dir}/{name}"))
            elif policy.action == "truncate":
                after.append(f"{path} (empty)")
        if len(before) == NAMES:
            break
    more = plan.chosen_files - len(before)
    if more > 0:
        before.append(f"... and {more} more")
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
