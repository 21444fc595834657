# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of anything else (K3): programs that make, revoke and list them.

A program gets a JSON object on its input: `action` (create, revoke, list), `name`, and `label` or `id`; with `generate` also `value`. The
same stands, but the value, in the environment as SRE_RUNBOOKS_KEY_…, and is filled in where its arguments have `{label}`, `{name}`, `{id}`.
`create` answers {"id": …, "value": …, "expires": …} (no value where it was given one), `list` a list of
{"id", "label", "created", "expires", "revoked"}; what `revoke` writes does not matter, its exit status does.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import TIMED_OUT, Completed, Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import (
    MINIMUM_BYTES,
    Known,
    New,
    Options,
    Work,
    random_value,
    usable,
)
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds

OPTIONS: dict[str, t.Any] = {
    "create": {"type": "list", "elements": "str", "required": True},
    "revoke": {"type": "list", "elements": "str", "required": True},
    "list": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "run_as": {"type": "str"},
    "timeout": {"type": "str", "default": "30s"},
    "gone": {"type": "list", "elements": "int", "default": []},
    "generate": {"type": "bool", "default": False},
    "bytes": {"type": "int", "default": MINIMUM_BYTES},
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PREFIX = "SRE_RUNBOOKS_KEY_"


def check(options: dict[str, t.Any], where: str) -> None:
    """Programs, and enough randomness."""
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")
    if options["timeout"] <= 0:
        raise InputError(f"{where}.timeout", options["timeout"], "leaves no time", "Give a duration, as in 30s.")
    for name in ("create", "revoke", "list"):
        argv = options[name]
        if argv is not None and (not argv or not argv[0]):
            raise InputError(f"{where}.{name}", argv, "names no program", "Give the program and its arguments.")
    for name in options["environment"]:
        if not _VARIABLE.fullmatch(str(name)):
            raise InputError(
                f"{where}.environment", name, "is no name of a variable", "Use letters, digits and underscores."
            )
    if options["bytes"] < MINIMUM_BYTES:
        raise InputError(f"{where}.bytes", options["bytes"], "can be guessed", f"Give at least {MINIMUM_BYTES}.")


def observe(options: Options, work: Work) -> list[Known]:
    """The keys that the program lists; none where there is no such program."""
    if options["list"] is None:
        return []
    done = _called(options, work, "list", {})
    if done.rc != 0:
        raise RunbookError(f"key {work.name}: cannot list keys: {_why(options, 'list', done)}")
    listed = _document(done.stdout)
    if not isinstance(listed, list):
        raise RunbookError(f"key {work.name}: what {options['list'][0]} wrote is no JSON list. Correct provider.list.")
    return [each for each in map(_known, listed) if each is not None]


def create(options: Options, work: Work) -> New:
    """Have a key made. What a failed program wrote is never shown, for the key may be in it."""
    value = random_value(options["bytes"]) if options["generate"] else None
    done = _called(options, work, "create", {"label": work.label, **({"value": value} if value else {})})
    answer = _document(done.stdout)
    answer = answer if isinstance(answer, dict) else {}
    key, given = answer.get("id"), value or answer.get("value")
    known = isinstance(key, (str, int)) and not isinstance(key, bool) and str(key) != ""
    program = options["create"][0]
    if done.rc == 0 and known and usable(given):
        return New(str(key), str(given), seconds(answer.get("expires")))
    if known:
        revoke(options, str(key), work)
    if done.rc == TIMED_OUT:
        problem = f"did not end within {options['timeout']:g} s"
    elif done.rc != 0:
        problem = f"ended with status {done.rc}; what it wrote may hold the key, and is not shown"
    elif not answer:
        problem = "answered without a JSON object"
    else:
        problem = f"answered without {'a value' if known else 'an id, by which the key could be revoked'}"
    hint = (
        ""
        if known or options["list"]
        else " What it may have made is not known here, for provider.list is not given: see there."
    )
    raise RunbookError(f"key {work.name}: {program} {problem}. Nothing was changed. Correct provider.create.{hint}")


def revoke(options: Options, key: str, work: Work) -> None:
    """Have a key revoked; one of those statuses in `gone` says that there is none."""
    done = _called(options, work, "revoke", {"id": key})
    if done.rc != 0 and done.rc not in options["gone"]:
        raise RunbookError(f"key {work.name}: {key} could not be revoked: {_why(options, 'revoke', done)}")
    if any(each.id == key and not each.revoked for each in observe(options, work)):
        raise RunbookError(
            f"key {work.name}: {options['revoke'][0]} said that {key} is revoked, yet {options['list'][0]} lists it as active. "
            "Correct provider.revoke."
        )


def _called(options: Options, work: Work, action: str, told: dict[str, str]) -> Completed:
    """Run the program; its standard error is not read for `create`."""
    told = {"action": action, "name": work.name, **told}
    shown = {name: value for name, value in told.items() if name != "value"}
    places = {"{" + name + "}": value for name, value in shown.items()}
    program, *arguments = options[action]
    argv = [
        program,
        *[re.sub(r"\{(?:name|label|id)\}", lambda match: places.get(match[0], match[0]), each) for each in arguments],
    ]
    return work.commands.run(
        argv, target=Target(options["run_as"]), check=False, timeout=min(options["timeout"], work.seconds()), data=json.dumps(told),
        environment={PREFIX + name.upper(): value for name, value in shown.items()},
        secrets={str(name): str(value) for name, value in options["environment"].items()},
    )  # fmt: skip


def _why(options: Options, action: str, done: Completed) -> str:
    return f"{CommandFailed(options[action][0], done.rc, done.stderr, options['timeout'])}. Correct provider.{action}."


def _document(text: str) -> t.Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _known(item: t.Any) -> Known | None:
    if not isinstance(item, dict) or not isinstance(item.get("id"), (str, int)) or isinstance(item.get("id"), bool):
        return None
    label = item.get("label")
    return Known(
        str(item["id"]), seconds(item.get("created")), seconds(item.get("expires")), None, bool(item.get("revoked")),
        label if isinstance(label, str) else None,
    )  # fmt: skip
