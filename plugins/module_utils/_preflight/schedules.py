# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Schedules and maintenance windows: whether what is planned would be done, and only when it may (C5, C8)."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "schedule_outside_window": "stages that keep windows are skipped each time that the run begins outside one",
    "schedule_too_late": "a stage is not begun, for it needs longer than is left of the window when the run begins",
    "stages_over_window": "the stages of one run need longer together than the window lasts: the last ones are not begun",
    "stage_over_window": "a stage needs longer than any window lasts: it is never begun",
    "window_never": "a window that does not open any more keeps nothing out and lets nothing in",
    "no_window": "what disrupts is never begun, for the host has no window for it",
    "schedule_never": "a schedule that does not come any more runs nothing",
    "schedules_collide": "two runs at one moment work on the same host, and wait for, or disturb, each other",
    "schedule_for_nobody": "no host fits the pattern of the schedule",
    "host_unscheduled": "there are schedules, and none of them has this host: nothing is ever run there",
    "playbook_unknown": "the collection has no playbook of this name: the run fails each time",
    "tags_unknown": "no stage of the playbook has the tag: it chooses nothing",
}

Plan = t.Mapping[str, t.Any]


def look(inventory: Inventory, _host: Host) -> Looked:
    """Judge what the controller has counted."""
    plans = inventory.plans
    schedules: t.Sequence[Plan] = plans.get("schedules") or []
    windows: t.Sequence[Plan] = plans.get("windows") or []
    findings = [
        *(each for plan in schedules for each in _schedule(plan, windows)),
        *(_never(each) for each in windows if not each["lasts"]),
        *_ungated(plans, schedules),
        *(_collision(each) for each in plans.get("collisions") or []),
        *(_nobody(name) for name in plans.get("for_nobody") or []),
    ]
    if plans.get("scheduled") and not schedules:
        text = "none of the schedules has this host"
        findings.append(
            Finding("schedules", "warning", "host_unscheduled", text, "Widen hosts of a schedule, or add one")
        )
    times = ", ".join(f"{each['name']} next on {each['starts'][0]}" for each in schedules if each["starts"])
    text = f"{len(schedules)} schedules, {len(windows)} windows: they agree"
    return Looked(findings, f"{text}; {times}" if times else text)


def _schedule(plan: Plan, windows: t.Sequence[Plan]) -> t.Iterator[Finding]:
    subject = f"schedule:{plan['name']}"
    if not plan["known"]:
        text = f"there is no playbook {plan['playbook']} in the collection"
        yield Finding(
            subject,
            "critical",
            "playbook_unknown",
            text,
            "Correct playbook, or name the file or collection that has it",
        )
        return
    if plan["strange_tags"]:
        text = f"{', '.join(plan['strange_tags'])}: no stage of {plan['playbook']} is called so"
        yield Finding(subject, "critical", "tags_unknown", text, "Correct tags and skip_tags")
    if not plan["starts"]:
        yield Finding(
            subject, "warning", "schedule_never", "it does not come any more", "Remove it, or let it end later"
        )
    elif plan["windows"] and plan["gated"]:
        yield from _in_window(subject, plan, _longest(plan, windows))


def _longest(plan: Plan, windows: t.Sequence[Plan]) -> float:
    """Seconds that the longest window for the playbook usually lasts: a night in which the clocks change is no measure."""
    usual = [
        sorted(each["lasts"])[len(each["lasts"]) // 2]
        for each in windows
        if each["lasts"] and (not each["for"] or plan["playbook"] in each["for"])
    ]
    return float(max(usual, default=0.0))


def _in_window(subject: str, plan: Plan, longest: float) -> t.Iterator[Finding]:
    """Whether each start is in a window, and early enough in it for what is to be done."""
    gated: t.Mapping[str, float] = plan["gated"]
    outside = [start for start, left in zip(plan["starts"], plan["left"]) if left is None]
    if outside:
        often = (
            f"{len(outside)} of its next {len(plan['left'])} starts are"
            if len(outside) < len(plan["left"])
            else "each of its starts is"
        )
        yield Finding(
            subject, "critical" if len(outside) == len(plan["left"]) else "warning", "schedule_outside_window",
            f"{often} outside the windows for {plan['playbook']} ({outside[0]} is): {', '.join(gated)} would be skipped",
            "Let it begin in a window, or move the window",
        )  # fmt: skip
    never = [stage for stage, needs in gated.items() if needs > longest]
    for stage in never:
        yield Finding(
            subject, "critical", "stage_over_window",
            f"{stage} needs {show_duration(gated[stage])}, the longest window lasts {show_duration(longest)}",
            f"Lengthen the window, or correct runbooks_stage_needs.{stage}",
        )  # fmt: skip
    inside = [(left, start) for start, left in zip(plan["starts"], plan["left"]) if left is not None]
    if not inside:
        return
    least, start = min(inside)
    late = [stage for stage, needs in gated.items() if needs > least and stage not in never]
    together = sum(gated.values())
    if late:
        yield Finding(
            subject, "warning", "schedule_too_late",
            f"on {start} {show_duration(least)} are left of the window, {' and '.join(late)} need {show_duration(max(gated[each] for each in late))}",
            "Let it begin earlier in the window, or lengthen the window",
        )  # fmt: skip
    elif together > least and not never:
        yield Finding(
            subject, "warning", "stages_over_window",
            f"on {start} {show_duration(least)} are left of the window, {', '.join(gated)} need {show_duration(together)} together",
            "Lengthen the window, or divide the stages among schedules by tags",
        )  # fmt: skip


def _never(window: Plan) -> Finding:
    return Finding(
        f"window:{window['label']}",
        "warning",
        "window_never",
        "it does not open any more",
        "Remove it, or give a new one",
    )


def _ungated(plans: Plan, schedules: t.Sequence[Plan]) -> t.Iterator[Finding]:
    """Cadences that would disrupt at any time; those that are not scheduled are run by hand, if there are no schedules at all."""
    ungated: t.Mapping[str, t.Sequence[str]] = plans.get("ungated") or {}
    planned = {each["playbook"]: each["gated"] for each in schedules}
    stages = {
        playbook: list(planned.get(playbook, gated))
        for playbook, gated in ungated.items()
        if (playbook in planned if plans.get("scheduled") else True)
    }
    stages = {playbook: gated for playbook, gated in stages.items() if gated}
    if stages:
        told = "; ".join(f"{playbook}: {', '.join(gated)}" for playbook, gated in stages.items())
        yield Finding(
            "windows", "warning", "no_window", f"no window holds here for what disrupts ({told})",
            'Add to runbooks_windows_*: {at: "Sunday 02:00-04:00", zone: Europe/Madrid}',
        )  # fmt: skip


def _collision(each: Plan) -> Finding:
    return Finding(
        f"schedule:{each['other']}", "warning", "schedules_collide",
        f"it begins at the same moment as {each['name']}, {each['times']} times in 100 days, first on {each['first']}",
        "Move one of them by the time that the other takes",
    )  # fmt: skip


def _nobody(name: str) -> Finding:
    return Finding(
        f"schedule:{name}", "warning", "schedule_for_nobody", "no host fits its hosts", "Correct hosts, or remove it"
    )
