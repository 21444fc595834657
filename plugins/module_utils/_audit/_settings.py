# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list `audits` as the user writes it, read and checked before anything is looked at."""

from __future__ import annotations

import re
import time
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._audit import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

if t.TYPE_CHECKING:
    from types import ModuleType

ACCEPTED: dict[str, t.Any] = {
    "id": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
    "until": {"type": "str"},
}
COMMON: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "accepted": {"type": "list", "elements": "dict", "default": [], "options": ACCEPTED},
    "timeout": {"type": "str", "default": "120s"},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Accepted(t.NamedTuple):
    """Findings whose id matches this pattern are no problem here, until the end of that day (`YYYY-MM-DD`, UTC; empty: always)."""

    id: str
    reason: str
    until: str


class Audit(t.NamedTuple):
    """One audit as the user wants it; `timeout` in seconds."""

    name: str
    type: str
    kind: ModuleType
    options: dict[str, t.Any]
    accepted: tuple[Accepted, ...]
    timeout: float

    def subject(self, target: str = "") -> str:
        """`<type>:<name>:<target>`, without repeating a name that equals the type."""
        parts = [self.type, "" if self.name == self.type else self.name, target]
        return ":".join(part for part in parts if part)


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[Audit]:
    """Read the option `audits`."""
    found: list[Audit] = []
    for index, entry in enumerate(entries):
        audit = _audit(entry, index)
        if any(audit.subject() == other.subject() for other in found):
            raise InputError(
                f"audits[{index}].name", audit.name, f"is used twice for type {audit.type}",
                "Give each audit a name of its own.",
            )  # fmt: skip
        found.append(audit)
    return found


def _audit(entry: t.Mapping[str, t.Any], index: int) -> Audit:
    name, kind = entry.get("name"), entry.get("type")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"audits[{index}].name", name, "is no name", "Use letters, digits, dots, dashes and underscores."
        )
    where = f"audits.{name}"
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.type", kind, "is no kind of audit", f"Use one of {', '.join(_registry.NAMES)}.")
    module = _registry.load(kind)
    result = ArgumentSpecValidator({**COMMON, **module.OPTIONS}).validate(dict(entry))
    if result.error_messages:
        raise RunbookError(f"{where} (type {kind}): {'; '.join(result.error_messages)}")
    options = result.validated_parameters
    timeout = units.duration(options["timeout"], f"{where}.timeout")
    if timeout <= 0:
        raise InputError(f"{where}.timeout", options["timeout"], "is no time", "Give more than 0 seconds.")
    accepted = tuple(_accepted(each, f"{where}.accepted[{n}]") for n, each in enumerate(options["accepted"]))
    if hasattr(module, "refuse"):
        module.refuse(options, where)
    return Audit(name, kind, module, options, accepted, timeout)


def _accepted(given: t.Mapping[str, t.Any], where: str) -> Accepted:
    """One that accepts everything, gives no reason or never ends by mistake is refused."""
    if not given["id"].strip("*?"):
        raise InputError(
            f"{where}.id", given["id"], "would accept everything", "Name findings as the report shows them."
        )
    if not given["reason"].strip():
        raise InputError(f"{where}.reason", given["reason"], "is empty", "Say why this is no problem here.")
    until = given["until"] or ""
    if until:
        try:
            if not _DAY.fullmatch(until):
                raise ValueError
            time.strptime(until, "%Y-%m-%d")
        except ValueError:
            raise InputError(f"{where}.until", until, "is no day", "Write it as 2027-01-31.") from None
    return Accepted(given["id"], given["reason"].strip(), until)
