# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An admin API asked for its users, page by page, and told to change one. No answer's content is ever repeated in a message."""

from __future__ import annotations

import json
import time
import typing as t
from urllib.parse import quote, urljoin, urlsplit

from ansible_collections.sre.runbooks.plugins.module_utils._access._settings import PLACEHOLDERS, Service
from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds

BODY_LIMIT = 16 * 2**20
PAGES = 1000
REDIRECTS = (301, 302, 303, 307, 308)
_FALSE = ("", "0", "false", "no", "active", "enabled", "none", "null")


class Account(t.NamedTuple):
    """A user as the service lists it; times in seconds since 1970, None where it does not tell."""

    id: str
    name: str
    role: str
    disabled: bool
    last_login: float | None
    created: float | None
    tells_logins: bool


def accounts(service: Service) -> dict[str, Account]:
    """All users by name; RunbookError when one page of them cannot be read as a list."""
    options = service.options
    listing = options["list"]
    address = options["url"].rstrip("/") + listing["path"]
    found: dict[str, Account] = {}
    seen: set[str] = set()
    for _page in range(PAGES):
        if address in seen:
            raise RunbookError(f"{web.shown(address)}: its pages go in a circle. Correct list.next.")
        seen.add(address)
        document = _asked(service, "GET", address, None, (200,))
        for account in _items(document, listing, address):
            if account.name in found and found[account.name].id != account.id:
                raise RunbookError(f"{web.shown(address)}: two users are called {account.name!r}. Correct list.user.")
            found[account.name] = account
        following = web.find(document, listing["next"]) if listing["next"] else None
        if not following:
            return found
        address = urljoin(address, str(following))
        if urlsplit(address)[:2] != urlsplit(options["url"])[:2]:
            raise RunbookError(
                f"{web.shown(options['url'])}: the next page is at {web.shown(address)}, which must not get the headers. Correct list.next."
            )
    raise RunbookError(f"{web.shown(address)}: more than {PAGES} pages. Ask for larger ones in list.path.")


def _items(document: t.Any, listing: t.Mapping[str, t.Any], address: str) -> t.Iterator[Account]:
    items = web.find(document, listing["items"]) if listing["items"] else document
    if not isinstance(items, list):
        place = listing["items"] or "the top"
        raise RunbookError(f"{web.shown(address)} answered 200 without a list at {place}. Correct list.items.")
    for item in items:
        key, name, role = (web.find(item, listing[part]) for part in ("id", "user", "role"))
        known = isinstance(key, (str, int)) and not isinstance(key, bool) and str(key) != ""
        if not known or not isinstance(name, str) or not name or not isinstance(role, str):
            raise RunbookError(
                f"{web.shown(address)} lists a user without id, name or role. Correct list.id, list.user, list.role."
            )
        last = web.find(item, listing["last_login"]) if listing["last_login"] else None
        tells = isinstance(item, dict) and listing["last_login"].split(".")[0] in item
        # `!active` is disabled where `active` is false.
        field = listing["disabled"]
        disabled = (str(web.find(item, field.lstrip("!"))).lower() not in _FALSE) != field.startswith("!")
        created = seconds(web.find(item, listing["created"])) if listing["created"] else None
        yield Account(str(key), name, role, disabled, seconds(last), created, tells)


def tell(service: Service, what: str, name: str, role: str, account: Account | None) -> None:
    """Make one change; what the service says of it is not believed, the caller lists the users again."""
    request = service.options[what]
    filled = {
        **service.users.get(name, {}).get("attributes", {}),
        "name": name, "role": role, "id": account.id if account else "",
    }  # fmt: skip
    path = PLACEHOLDERS.sub(lambda match: quote(str(filled.get(match[1], "")), safe=""), request["path"])
    body = _filled(request["body"], filled)
    _asked(service, request["method"], service.options["url"].rstrip("/") + path, body, request["status"])


def _filled(body: t.Any, values: t.Mapping[str, t.Any]) -> t.Any:
    if isinstance(body, dict):
        return {name: _filled(value, values) for name, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, values) for value in body]
    if isinstance(body, str):
        return PLACEHOLDERS.sub(lambda match: str(values.get(match[1], "")), body)
    return body


def _asked(service: Service, method: str, address: str, body: t.Any, expected: t.Collection[int]) -> t.Any:
    options = service.options
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    deadline = time.monotonic() + options["timeout"]
    with web.ask(options, deadline, address, method, data, headers, stop=REDIRECTS) as answer:
        raw = answer.body(BODY_LIMIT, f"the body is larger than {units.show_size(BODY_LIMIT)}")
        if answer.status not in expected:
            hint = "Check the credentials in headers" if answer.status in (401, 403) else "See what the service logged"
            raise RunbookError(
                f"{method} {web.shown(address)} answered {answer.status}, expected {' or '.join(map(str, expected))}. {hint}."
            )
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
