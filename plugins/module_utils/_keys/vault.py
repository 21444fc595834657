# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in HashiCorp Vault or OpenBao (K3): a field of a KV version 2 secret, which services read there.

Each key is a version of the secret, its id the version's number; label and number are in a field of the version itself, so that they come into
being with it, and stay with what is copied from it after it has made room for others (max_versions). The other fields are taken over. To
revoke a key is to destroy all versions that hold it. Where the newest version was given up, the one in use is written again, for what asks
for no version gets the newest.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import typing as t
from urllib.parse import quote

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import (
    MINIMUM_BYTES,
    Known,
    New,
    Options,
    Work,
    fingerprint,
    random_value,
)
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds

OPTIONS: dict[str, t.Any] = {
    **web.OPTIONS,
    "namespace": {"type": "str"},
    "mount": {"type": "str", "default": "secret"},
    "path": {"type": "str", "required": True},
    "field": {"type": "str", "default": "value"},
    "label_field": {"type": "str", "default": "sre_runbooks_label"},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "token_variable": {"type": "str", "no_log": False},
    "prefix": {"type": "str", "default": ""},
    "bytes": {"type": "int", "default": MINIMUM_BYTES},
    "timeout": {"type": "str", "default": "10s"},
}
VARIABLES = ("VAULT_TOKEN", "BAO_TOKEN")
BODY_LIMIT = 4 * 2**20
REDIRECTS = (301, 302, 303, 307, 308)
# Another writer came in between: begin anew with what it wrote.
TRIES = 5
_PART = re.compile(r"[^\x00-\x1f?#]+")
_PREFIX = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,31})?")


class _Version(t.NamedTuple):
    """A version whose data can be read; `origin` is the first version that held its key."""

    number: int
    origin: int
    label: str
    data: dict[str, t.Any]
    created: float | None
    ends: float | None

    def value(self, options: Options) -> str | None:
        """The key that it holds."""
        value = self.data.get(options["field"])
        return value if isinstance(value, str) and value else None


class _Secret(t.NamedTuple):
    """The secret as it is: the number of its newest version, the versions that are readable, those that are not destroyed."""

    newest: int
    readable: list[_Version]
    there: set[int]


def check(options: dict[str, t.Any], where: str) -> None:
    """Address, path, and one way to a token."""
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")
    web.refuse(options)
    for name in ("mount", "path"):
        options[name] = options[name].strip("/")
        if not _PART.fullmatch(options[name]) or {"", ".", ".."} & set(options[name].split("/")):
            raise InputError(f"{where}.{name}", options[name], "is no path", "Write it as in team/app, without data/.")
    given = [name for name in ("token", "token_file", "token_variable") if options[name]]
    if len(given) > 1:
        raise InputError(f"{where}.{given[1]}", given[1], "is one token too many", f"Keep {given[0]} alone.")
    if not options["field"] or options["field"] == options["label_field"] or not options["label_field"]:
        raise InputError(f"{where}.field", options["field"], "is no place of its own", "Name two different fields.")
    if options["bytes"] < MINIMUM_BYTES:
        raise InputError(f"{where}.bytes", options["bytes"], "can be guessed", f"Give at least {MINIMUM_BYTES}.")
    if not _PREFIX.fullmatch(options["prefix"]):
        raise InputError(
            f"{where}.prefix", options["prefix"], "is no prefix", "Use up to 32 letters, digits, dots, dashes, underscores."
        )  # fmt: skip


def observe(options: Options, work: Work) -> list[Known]:
    """The versions that can be read; one that somebody else wrote is the key that was there before."""
    found: list[Known] = []
    for version in _secret(options, work).readable:
        value = version.value(options)
        if value is not None:
            mark = fingerprint(work.name, value)
            # A key that was written again is that key, and the first of its versions its id.
            if not any(each.fingerprint == mark for each in found):
                found.append(
                    Known(str(version.origin), version.created, version.ends, mark, False, version.label or work.name)
                )
    return found


def create(options: Options, work: Work) -> New:
    """Write one version more, with all other fields as they are."""
    value = options["prefix"] + random_value(options["bytes"])
    for _number in range(TRIES):
        secret = _secret(options, work)
        data = dict(secret.readable[-1].data) if secret.readable else {}
        data.update({options["field"]: value, options["label_field"]: f"{work.label} {secret.newest + 1}"})
        written = _write(options, work, secret.newest, data)
        if written is not None:
            return New(str(written), value)
    raise RunbookError(f"key {work.name}: {_shown(options)} is written by others all the time. Run again.")


def revoke(options: Options, key: str, work: Work) -> None:
    """Destroy all versions that hold the key; what then is the newest must hold the one in use."""
    if not key.isdecimal():
        raise RunbookError(f"key {work.name}: {key} is no version of {_shown(options)}. Correct provider.adopt.")
    for _number in range(TRIES):
        secret = _secret(options, work)
        values = {each.value(options) for each in secret.readable if key in (str(each.origin), str(each.number))}
        used = {each.value(options) for each in secret.readable if work.current in (str(each.origin), str(each.number))}
        if work.current not in (None, key) and values & used:
            raise RunbookError(f"key {work.name}: version {key} holds the key in use and is not destroyed. Rotate it.")
        doomed = {each.number for each in secret.readable if each.value(options) in values - {None}}
        doomed |= {int(key)} & secret.there
        if doomed:
            _asked(options, work, "POST", "destroy", {"versions": sorted(doomed)}, (200, 204))
            continue
        if not secret.readable or secret.readable[-1].number == secret.newest:
            return
        # The newest cannot be read: whoever asks for no version would get nothing.
        using = [each for each in secret.readable if str(each.origin) == work.current] or secret.readable[-1:]
        label = {options["label_field"]: f"{using[0].label or work.name} {using[0].origin}"}
        if _write(options, work, secret.newest, {**using[0].data, **label}) is not None:
            return
    raise RunbookError(f"key {work.name}: {_shown(options)} is written by others all the time. Run again.")


# --- The service ---


def _secret(options: Options, work: Work) -> _Secret:
    status, document = _asked(options, work, "GET", "metadata", None, (200, 404))
    if status == 404:
        return _Secret(0, [], set())
    told, newest = web.find(document, "data.versions"), web.find(document, "data.current_version")
    if not isinstance(told, dict) or not isinstance(newest, int):
        raise RunbookError(
            f"key {work.name}: {_shown(options)} is no secret of a KV version 2 engine. Correct provider.mount and provider.path."
        )
    there = {int(number) for number, each in told.items() if not each.get("destroyed")}
    readable = []
    for number in sorted(there):
        each = told[str(number)]
        status, document = _asked(options, work, "GET", "data", None, (200, 404), f"?version={number}")
        data = web.find(document, "data.data")
        # One that was deleted answers 404, and can be brought back until it is destroyed.
        if status == 200 and isinstance(data, dict):
            label, _space, origin = str(data.get(options["label_field"]) or "").partition(" ")
            first = int(origin) if origin.isdecimal() else number
            times = seconds(each.get("created_time")), seconds(each.get("deletion_time"))
            readable.append(_Version(number, first, label, data, *times))
    return _Secret(newest, readable, there)


def _write(options: Options, work: Work, newest: int, data: t.Mapping[str, t.Any]) -> int | None:
    """Write a version after `newest`; its number, None when another one was written meanwhile."""
    body = {"options": {"cas": newest}, "data": data}
    status, document = _asked(options, work, "POST", "data", body, (200, 400))
    number = web.find(document, "data.version")
    if status == 200 and isinstance(number, int):
        return number
    if status == 400 and "check-and-set" in json.dumps(web.find(document, "errors")):
        return None
    raise RunbookError(f"key {work.name}: {_shown(options)} was not written: the answer ({status}) tells no version.")


def _asked(
    options: Options, work: Work, method: str, what: str, body: t.Any, expected: t.Collection[int], query: str = ""
) -> tuple[int, t.Any]:
    """Status and JSON of the answer; RunbookError without any of its content where it is another than expected."""
    place = "/".join(quote(each, safe="") for each in f"{options['mount']}/{what}/{options['path']}".split("/"))
    url = f"{options['url'].rstrip('/')}/v1/{place}{query}"
    headers = {"X-Vault-Token": _token(options, work), "X-Vault-Request": "true"}
    if options["namespace"]:
        headers["X-Vault-Namespace"] = options["namespace"]
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    deadline = time.monotonic() + min(options["timeout"], work.seconds())
    with web.ask(options, deadline, url, method, data, headers, stop=REDIRECTS) as answer:
        raw = answer.body(BODY_LIMIT, f"the body is larger than {units.show_size(BODY_LIMIT)}")
        if answer.status not in expected:
            raise RunbookError(
                f"key {work.name}: {method} {web.shown(url)} answered {answer.status}. {_remedy(answer.status)}"
            )
    try:
        return answer.status, json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return answer.status, None


def _remedy(status: int) -> str:
    if status == 403:
        return (
            "Check the token and its policy: read on data and metadata, create and update on data, update on destroy."
        )
    if status in REDIRECTS:
        return "Name the address of the active node (provider.url)."
    if status == 503:
        return "Unseal it."
    return "See its log."


def _token(options: Options, work: Work) -> str:
    if options["token"]:
        return str(options["token"])
    if options["token_file"]:
        return _read(options["token_file"], work)
    names = (options["token_variable"],) if options["token_variable"] else VARIABLES
    for name in names:
        if os.environ.get(name):
            return os.environ[name]
    path = os.path.expanduser("~/.vault-token")
    if not options["token_variable"] and os.path.exists(path):
        return _read(path, work)
    raise RunbookError(
        f"key {work.name}: there is no token. Set provider.token or provider.token_file, or {' or '.join(names)} on this host."
    )


def _read(path: str, work: Work) -> str:
    text = ""
    with contextlib.suppress(UnicodeDecodeError):
        try:
            with open(path, encoding="ascii") as stream:
                text = stream.read(4096).strip()
        except OSError as error:
            raise RunbookError(f"key {work.name}: {path}: {error.strerror}. Write the token there.") from error
    if not text.isprintable() or not text:
        raise RunbookError(f"key {work.name}: {path} holds no token. Write the token there, and nothing else.")
    return text


def _shown(options: Options) -> str:
    return f"{options['mount']}/{options['path']}"
