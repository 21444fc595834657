# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of this host as the user writes them, read and checked before anything is looked at."""

from __future__ import annotations

import os
import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _registry, _verify

if t.TYPE_CHECKING:
    from types import ModuleType

# Shorter words of options that may hold secrets, such as the body of a request, are no secrets.
SHORTEST_SECRET = 8
STAGES = ("status", "create", "distribute", "prove", "promote", "rollback", "revoke", "prove_dead")
FORMATS = ("env", "yaml", "json", "ini")
CONSUMER: dict[str, t.Any] = {
    "type": {"type": "str", "choices": ["env_file"], "default": "env_file"},
    "hosts": {"type": "raw"},
    "path": {"type": "path", "required": True},
    "variable": {"type": "str", "required": True, "no_log": False},
    "format": {"type": "str", "choices": list(FORMATS), "default": "env"},
    "template": {"type": "str"},
    "user_variable": {"type": "str"},
    "restart": {"type": "str"},
    "reload": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
    "timeout": {"type": "str", "default": "60s"},
}
KEY: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "provider": {"type": "dict"},
    "provider_host": {"type": "str"},
    "expected": {"type": "list", "elements": "str", "default": []},
    "max_age": {"type": "str", "default": "90d"},
    "overlap": {"type": "str", "default": "24h"},
    "consumers": {"type": "list", "elements": "dict", "options": CONSUMER, "default": []},
    "verify": {"type": "dict"},
}
SPEC: dict[str, t.Any] = {
    "keys": {"type": "list", "elements": "dict", "required": True, "no_log": False},
    "stage": {"type": "str", "choices": list(STAGES), "default": "status"},
    "run": {"type": "str", "default": ""},
    "actor": {"type": "str", "default": ""},
    "values": {"type": "dict", "default": {}, "no_log": True},
    "orders": {"type": "dict", "default": {}},
    "reports": {"type": "dict", "default": {}},
    "force": {"type": "list", "elements": "str", "default": []},
    "compromised": {"type": "list", "elements": "str", "default": []},
    "limit": {"type": "int", "default": 10},
    "timeout": {"type": "str", "default": "60s"},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Consumer(t.NamedTuple):
    """A variable of a file that a program of this host reads; `action` makes the program read it again.

    The variable holds the key, or `template` with the key and its user filled in; the user may have a variable of its own.
    """

    path: str
    variable: str
    format: str
    action: str
    what: t.Any
    seconds: float
    template: str = ""
    user_variable: str = ""

    def place(self, key: str) -> str:
        """What the journal calls it."""
        return f"{key} {self.path} {self.variable}"


class Key(t.NamedTuple):
    """A key: `provider` on the host that makes it, `consumers` on those that use it; times in seconds."""

    name: str
    provider: ModuleType | None
    provider_type: str
    options: dict[str, t.Any]
    adopt: str | None
    expected: tuple[str, ...]
    max_age: float
    overlap: float
    consumers: tuple[Consumer, ...]
    verify: _verify.Verify | None

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"key:{self.name}"


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Key], set[str]]:
    """Read the list `keys`; return its entries and the secrets that stand in them."""
    found: list[Key] = []
    secrets: set[str] = set()
    for index, entry in enumerate(entries):
        key, hidden = _key(entry, index)
        if any(key.name == other.name for other in found):
            raise InputError(f"keys[{index}].name", key.name, "is used twice", "Give each key a name of its own.")
        found.append(key)
        secrets |= hidden
    return found, secrets


def _key(entry: t.Mapping[str, t.Any], index: int) -> tuple[Key, set[str]]:
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"keys[{index}].name", name, "is no name", "Use up to 64 letters, digits, dots, dashes and underscores."
        )
    where = f"keys.{name}"
    given, secrets = validated(KEY, entry, where)
    provider, kind, options, hidden = _provider(given["provider"], f"{where}.provider")
    verify, more = _verify.read(given["verify"], f"{where}.verify")
    consumers = tuple(_consumer(each, f"{where}.consumers[{n}]") for n, each in enumerate(given["consumers"]))
    if consumers and verify is None:
        raise InputError(
            f"{where}.verify", None, "is missing", "Say how a consumer proves its key, as in {type: http, url: …}."
        )
    return Key(
        name, provider, kind, options, (given["provider"] or {}).get("adopt"), tuple(given["expected"]),
        _duration(given["max_age"], f"{where}.max_age"), units.duration(given["overlap"], f"{where}.overlap"), consumers, verify,
    ), secrets | hidden | long_ones(more)  # fmt: skip


def _duration(text: str, where: str) -> float:
    seconds = units.duration(text, where)
    if seconds <= 0:
        raise InputError(where, text, "would rotate the key in every run", "Give a duration, as in 90d.")
    return seconds


def _provider(given: dict[str, t.Any] | None, where: str) -> tuple[t.Any, str, dict[str, t.Any], set[str]]:
    if given is None:
        return None, "", {}, set()
    kind = given.get("type")
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.type", kind, "is no provider", f"Use one of {', '.join(_registry.NAMES)}.")
    module = _registry.load(kind)
    own = {"type": {"type": "str"}, "host": {"type": "str"}, "adopt": {"type": "str"}}
    if "host" in module.OPTIONS:
        # `host` is the one of the inventory that makes the key: the server of its database is `server`.
        own["server"] = {"type": "str"}
    options, secrets = validated({**module.OPTIONS, **own}, given, where)
    if "server" in own:
        options["host"] = options.pop("server")
    module.check(options, where)
    return module, kind, options, secrets


def _consumer(given: t.Mapping[str, t.Any], where: str) -> Consumer:
    actions = [(name, given[name]) for name in ("restart", "reload", "command") if given[name]]
    if len(actions) > 1:
        raise InputError(
            f"{where}.{actions[1][0]}", actions[1][1], "is one action too many", f"Keep {actions[0][0]} alone."
        )
    if not os.path.isabs(given["path"]):
        raise InputError(f"{where}.path", given["path"], "is no absolute path", "Write it from the root on.")
    if not given["variable"].strip():
        raise InputError(f"{where}.variable", given["variable"], "is no name", "Name the variable that holds the key.")
    template, user_variable = given["template"] or "", (given["user_variable"] or "").strip()
    if template and (template.count("{value}") != 1 or template.count("{id}") > 1 or "\n" in template):
        raise InputError(
            f"{where}.template",
            template,
            "has no single place for the key",
            "Write {value} once, and {id} where the user belongs.",
        )
    if user_variable and (template or user_variable == given["variable"]):
        raise InputError(
            f"{where}.user_variable",
            user_variable,
            "is no second place for the user",
            "Give it alone, with a name of its own.",
        )
    action, what = actions[0] if actions else ("", None)
    seconds = units.duration(given["timeout"], f"{where}.timeout")
    return Consumer(given["path"], given["variable"], given["format"], action, what, seconds, template, user_variable)


def validated(
    spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any], where: str
) -> tuple[dict[str, t.Any], set[str]]:
    """The options with their types and defaults, and the secrets among them."""
    result = ArgumentSpecValidator(spec).validate(given)
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    return result.validated_parameters, long_ones(result._no_log_values)


def long_ones(secrets: t.Iterable[str]) -> set[str]:
    """Those that are blotted out of the result: a `90` of some body would make stars of every 90 of a time or fingerprint."""
    return {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
