# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is switched, for how long and by whom, read and checked before anything is looked at."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _registry, _silence

MOST_SECONDS = 7 * 86400.0
SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "required": True, "choices": ["on", "off", "status"]},
    "name": {"type": "str", "default": "maintenance"},
    "owner": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "lease": {"type": "str", "default": "1h"},
    "switch": {"type": "dict"},
    "alertmanager": {"type": "dict"},
    "force": {"type": "bool", "default": False},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Switch(t.NamedTuple):
    """What switches: a kind and its checked options."""

    kind: str
    options: dict[str, t.Any]

    @property
    def target(self) -> str:
        """What is switched."""
        return str(_registry.load(self.kind).target(self.options))


class Settings(t.NamedTuple):
    """All of it; `lease` in seconds."""

    state: str
    name: str
    owner: str
    reason: str
    lease: float
    switch: Switch | None
    alertmanager: dict[str, t.Any] | None
    force: bool


def read(options: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in them."""
    if not _NAME.fullmatch(options["name"]):
        raise InputError("name", options["name"], "is no name", "Use letters, digits, dots, dashes, at most 64.")
    if options["state"] != "status" and not options["owner"].strip():
        raise InputError("owner", options["owner"], "says not who does this", "Give a name: others are told.")
    if options["state"] == "on" and not (options["switch"] or options["alertmanager"]):
        raise InputError("switch", options["switch"], "switches nothing", "Give switch, alertmanager, or both.")
    secrets: set[str] = set()
    switch = read_switch(options["switch"], "switch", secrets) if options["switch"] else None
    alertmanager = _read_alertmanager(options["alertmanager"], secrets) if options["alertmanager"] else None
    return Settings(
        options["state"], options["name"], options["owner"].strip(), options["reason"], length(options["lease"], "lease"),
        switch, alertmanager, options["force"],
    ), secrets  # fmt: skip


def read_switch(given: t.Mapping[str, t.Any], where: str, secrets: set[str]) -> Switch:
    """Check a switch by the spec of its kind."""
    kind = given.get("kind")
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.kind", kind, "is no kind of switch", f"Use one of {', '.join(_registry.NAMES)}.")
    family = _registry.load(kind)
    options = _validated(family.OPTIONS, {key: value for key, value in given.items() if key != "kind"}, where, secrets)
    family.check(options, where)
    return Switch(kind, options)


def length(text: str, option: str) -> float:
    """Seconds of a lease."""
    seconds = units.duration(text, option)
    if not 1 <= seconds <= MOST_SECONDS:
        raise InputError(option, text, "is no length of a lease", "Give 1s to 7d; it can be renewed.")
    return seconds


def _read_alertmanager(given: t.Mapping[str, t.Any], secrets: set[str]) -> dict[str, t.Any]:
    options = _validated(_silence.OPTIONS, given, "alertmanager", secrets)
    _silence.check(options, "alertmanager")
    return options


def _validated(
    spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any], where: str, secrets: set[str]
) -> dict[str, t.Any]:
    result = ArgumentSpecValidator(dict(spec)).validate(dict(given))
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    secrets |= set(result._no_log_values)
    return dict(result.validated_parameters)
