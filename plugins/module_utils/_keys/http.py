# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that a service creates and revokes through its admin API (K2); what the API is like stands in the options."""

from __future__ import annotations

import json
import time
import typing as t
from urllib.parse import quote

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import Known, New, Options, Work, usable
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds

_REQUEST: dict[str, t.Any] = {
    "path": {"type": "str", "required": True},
    "body": {"type": "dict", "no_log": True},
    "status": {"type": "list", "elements": "int"},
}
OPTIONS: dict[str, t.Any] = {
    **web.OPTIONS,
    "timeout": {"type": "str", "default": "10s"},
    "create": {
        "type": "dict",
        "required": True,
        "options": {
            **_REQUEST,
            "method": {"type": "str", "default": "POST"},
            "key": {"type": "str", "default": "key", "no_log": False},
            "id": {"type": "str", "default": "id"},
            "expires": {"type": "str", "default": "expires_at"},
        },
    },
    "revoke": {
        "type": "dict",
        "required": True,
        "options": {**_REQUEST, "method": {"type": "str", "default": "DELETE"}},
    },
    "list": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "items": {"type": "str", "default": ""},
            "id": {"type": "str", "default": "id"},
            "label": {"type": "str", "default": "name"},
            "created": {"type": "str", "default": "created_at"},
            "expires": {"type": "str", "default": "expires_at"},
            "revoked": {"type": "str", "default": "revoked_at"},
        },
    },
}
CREATED = (200, 201)
REVOKED = (200, 202, 204)
GONE = (404, 410)
BODY_LIMIT = 4 * 2**20
REDIRECTS = (301, 302, 303, 307, 308)


def check(options: dict[str, t.Any], where: str) -> None:
    """Addresses, and a place for the id in the request that revokes."""
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")
    web.refuse(options)
    for name in ("create", "revoke", "list"):
        part = options[name]
        if part is None:
            continue
        if not part["path"].startswith(("/", "http://", "https://")):
            raise InputError(
                f"{where}.{name}.path", part["path"], "is no path", "Begin it with /, or write the whole address."
            )
        try:
            web.refuse({**options, "url": _address(options, part["path"], "0", "label", "name")})
        except InputError as error:
            raise InputError(f"{where}.{name}.path", part["path"], "makes no address", str(error)) from error
    revoking = options["revoke"]
    if "{id}" not in revoking["path"] and "{id}" not in json.dumps(revoking["body"]):
        raise InputError(
            f"{where}.revoke.path", revoking["path"], "does not say which key", "Write {id} where its id belongs."
        )


def observe(options: Options, work: Work) -> list[Known]:
    """The keys that the service lists; none when it cannot list them."""
    listing = options["list"]
    if listing is None:
        return []
    document = _asked(options, work, "GET", listing["path"], None, (200,), "list keys")
    items = web.find(document, listing["items"]) if listing["items"] else document
    if isinstance(items, dict):
        items = list(items.values())
    if not isinstance(items, list):
        place = listing["items"] or "the top"
        raise RunbookError(
            f"key {work.name}: the answer of {listing['path']} holds no list at {place}. Correct provider.list.items."
        )
    return [each for each in (_known(listing, item) for item in items) if each is not None]


def _known(listing: t.Mapping[str, t.Any], item: t.Any) -> Known | None:
    found = {name: web.find(item, listing[name]) if listing[name] else None for name in listing if name != "path"}
    if not isinstance(found["id"], (str, int)) or isinstance(found["id"], bool):
        return None
    label = found["label"]
    revoked = found["revoked"]
    dead = str(revoked).lower() in ("revoked", "inactive", "disabled") if isinstance(revoked, str) else bool(revoked)
    return Known(
        str(found["id"]),
        seconds(found["created"]),
        seconds(found["expires"]),
        None,
        dead or (isinstance(revoked, str) and seconds(revoked) is not None),
        label if isinstance(label, str) else None,
    )


def create(options: Options, work: Work) -> New:
    """Ask for a key. An answer without one is an error, whatever its status says, and what it made is revoked."""
    asking = options["create"]
    body = _filled(asking["body"], "", work)
    expected = asking["status"] or CREATED
    document = _asked(options, work, asking["method"], asking["path"], body, expected, "create a key")
    key, value = web.find(document, asking["id"]), web.find(document, asking["key"])
    known = isinstance(key, (str, int)) and not isinstance(key, bool) and str(key) != ""
    if not usable(value):
        if known:
            revoke(options, str(key), work)
        raise RunbookError(
            f"key {work.name}: {_shown(options, asking['path'])} answered without a key at {asking['key']!r}. "
            "Nothing was changed. Correct provider.create.key, or see what the service logged."
        )
    if not known:
        raise RunbookError(
            f"key {work.name}: {_shown(options, asking['path'])} answered without an id at {asking['id']!r}, by which the new key "
            "could be revoked; it is not used. Correct provider.create.id, and revoke that key by hand where provider.list is not given."
        )
    return New(str(key), value, seconds(web.find(document, asking["expires"])) if asking["expires"] else None)


def revoke(options: Options, key: str, work: Work) -> None:
    """Revoke a key; one that the service does not know any more is revoked."""
    asking = options["revoke"]
    expected = (*(asking["status"] or REVOKED), *GONE)
    body = _filled(asking["body"], key, work)
    _asked(options, work, asking["method"], asking["path"], body, expected, "revoke a key", key)
    if any(each.id == key and not each.revoked for each in observe(options, work)):
        raise RunbookError(
            f"key {work.name}: {_shown(options, asking['path'])} said that {key} is revoked, yet {options['list']['path']} lists it "
            "as active. See what the service logged."
        )


def _asked(
    options: Options,
    work: Work,
    method: str,
    path: str,
    body: t.Any,
    expected: t.Collection[int],
    purpose: str,
    key: str = "",
) -> t.Any:
    """The JSON of the answer, None where it is none; RunbookError without any of its content, for that may be a key."""
    url = _address(options, path, key, work.label, work.name)
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    deadline = time.monotonic() + min(options["timeout"], work.seconds())
    with web.ask(options, deadline, url, method, data, headers, stop=REDIRECTS) as answer:
        raw = answer.body(BODY_LIMIT, f"the body is larger than {units.show_size(BODY_LIMIT)}")
        if answer.status not in expected:
            raise RunbookError(
                f"key {work.name}: cannot {purpose}: {method} {web.shown(url)} answered {answer.status}, expected "
                f"{' or '.join(map(str, expected))}. Check the address and the credentials in provider.headers."
            )
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _address(options: Options, path: str, key: str, label: str, name: str) -> str:
    filled = path.replace("{id}", quote(key, safe="")).replace("{label}", quote(label, safe=""))
    filled = filled.replace("{name}", quote(name, safe=""))
    return filled if filled.startswith("http") else options["url"].rstrip("/") + filled


def _shown(options: Options, path: str) -> str:
    return web.shown(path if path.startswith("http") else options["url"].rstrip("/") + path)


def _filled(body: t.Any, key: str, work: Work) -> t.Any:
    """The body with `{id}`, `{label}` and `{name}` filled in, however deep they stand."""
    if isinstance(body, dict):
        return {name: _filled(value, key, work) for name, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, key, work) for value in body]
    if isinstance(body, str):
        return body.replace("{id}", key).replace("{label}", work.label).replace("{name}", work.name)
    return body
