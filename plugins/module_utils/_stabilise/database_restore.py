# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore a database or files from a copy, as the module restore does: beside, compared, swapped, the old kept (D5)."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import SHARED
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _units
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {"restore": {"type": "dict", "required": True}, **_units.OPTIONS}
LIMIT = "1/d"


def check(options: dict[str, t.Any], where: str) -> None:
    """The options of the module restore, under `restore`."""
    result = ArgumentSpecValidator(
        _settings.SPEC, mutually_exclusive=[("name", "restores")], required_one_of=[("name", "restores")]
    ).validate(options["restore"])
    if result.error_messages:
        raise InputError(
            f"{where}.restore", "(options)", f"cannot be used: {'; '.join(result.error_messages)}", "Correct them."
        )
    given = result.validated_parameters
    options["restore"] = (_settings.settings(given), _settings.requests(given, SHARED))
    _units.check(options, where, needed=False)


def target(options: Options) -> str:
    """What is restored."""
    return ",".join(request.name for request in options["restore"][1])


def look(options: Options, work: Work) -> Look:
    """What the module restore says in check mode."""
    if options["units"]:
        _units.known(options["units"], work)
    return Look({}, "; ".join(each["summary"] for each in _restored(options, work, dry=True)))


def apply(options: Options, before: Options, work: Work) -> str:
    """Stop the services, restore, start them whatever came of it."""
    for name in reversed(options["units"]):
        _units.stop(name, options, work)
    try:
        done = _restored(options, work, dry=False)
    finally:
        for name in options["units"]:
            _units.start(name, options, work)
    return "; ".join(each["summary"] for each in done)


def _restored(options: Options, work: Work, dry: bool) -> list[dict[str, t.Any]]:
    settings, requests = options["restore"]
    result = _run.run(settings, requests, _run.Host(work.commands, work.state_dir, dry, work.hide, set()))
    if result.get("failed"):
        raise RunbookError(result["msg"])
    outcomes: list[dict[str, t.Any]] = result["outcomes"]
    return outcomes
