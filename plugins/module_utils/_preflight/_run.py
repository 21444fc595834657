# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prove an inventory: every kind looks, what is to be ignored is, and each thing becomes one outcome."""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _inventory, _registry
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

STAGE = "preflight"
IGNORE: dict[str, t.Any] = {
    "subject": {"type": "str", "default": "*"},
    "rule": {"type": "str", "default": "*"},
    "reason": {"type": "str", "required": True},
}


class Ignore(t.NamedTuple):
    """Findings whose subject and rule match these patterns are told as skipped, with the reason."""

    subject: str
    rule: str
    reason: str


def ignores(given: t.Sequence[t.Mapping[str, t.Any]]) -> list[Ignore]:
    """Read the option `ignore`; one that would silence everything, or gives no reason, is refused."""
    found = [Ignore(each["subject"], each["rule"], each["reason"].strip()) for each in given]
    for number, each in enumerate(found):
        if not each.reason:
            raise InputError(f"ignore[{number}].reason", "", "is empty", "Say why this is no problem here.")
        if not each.subject.strip("*") and not each.rule.strip("*"):
            raise InputError(
                f"ignore[{number}]", given[number], "would silence everything",
                "Name a subject or a rule, as the report shows them.",
            )  # fmt: skip
    return found


def run(
    inventory: _inventory.Inventory,
    broken: t.Sequence[Finding],
    kinds: t.Sequence[str] | None,
    ignored: t.Sequence[Ignore],
    host: Host,
) -> dict[str, t.Any]:
    """Return the envelope: one outcome for each thing with a finding, one for each kind that found none."""
    wanted = list(dict.fromkeys(kinds if kinds is not None else _registry.NAMES))
    looks = {kind: _look(kind, inventory, host) for kind in wanted}
    findings = [*broken, *[each for looked in looks.values() for each in looked.findings]]
    outcomes = _outcomes(findings, ignored)
    for kind, looked in looks.items():
        if not any(_ignored(each, ignored) is None for each in looked.findings):
            outcomes.append(outcome(f"preflight:{kind}", STAGE, "ok", looked.summary, details=looked.details))
    return envelope(outcomes)


def _look(kind: str, inventory: _inventory.Inventory, host: Host) -> Looked:
    """One kind that cannot look keeps no other from it."""
    try:
        looked: Looked = _registry.load(kind).look(inventory, host)
        return looked
    except (RunbookError, OSError) as error:
        text = f"could not be looked at: {error}"
        return Looked([Finding(f"preflight:{kind}", "unknown", "failed", text)], "")


def _ignored(finding: Finding, ignored: t.Sequence[Ignore]) -> Ignore | None:
    for each in ignored:
        if fnmatch.fnmatchcase(finding.subject, each.subject) and fnmatch.fnmatchcase(finding.rule, each.rule):
            return each
    return None


def _outcomes(findings: t.Sequence[Finding], ignored: t.Sequence[Ignore]) -> list[dict[str, t.Any]]:
    """A thing with several findings is one outcome with the worst status, for subjects are unique."""
    by_subject: dict[str, list[Finding]] = {}
    for finding in findings:
        by_subject.setdefault(finding.subject, []).append(_silenced(finding, _ignored(finding, ignored)))
    outcomes = []
    for subject, found in by_subject.items():
        loud = [each for each in found if each.status != "skipped"] or found
        status = worst(each.status for each in loud)
        details: dict[str, t.Any] = {"rules": sorted({each.rule for each in found})}
        for each in found:
            details.update(each.details)
        text = "; ".join(dict.fromkeys(each.text.rstrip(".") for each in loud))
        outcomes.append(outcome(subject, STAGE, status, text, details=details))
    return outcomes


def _silenced(finding: Finding, by: Ignore | None) -> Finding:
    if by is None:
        return finding
    text = f"ignored, for {by.reason} ({finding.summary})"
    return finding._replace(status="skipped", summary=text, remedy="")
