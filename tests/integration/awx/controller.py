# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server that stands where AWX would: its API v2 as far as the modules of awx.awx use it here, objects kept in memory.

It refuses what AWX refuses (`rules.py`) in AWX's words, and counts the calls that would change something.
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ansible_collections.sre.runbooks.tests.integration.awx import rules
from ansible_collections.sre.runbooks.tests.integration.awx.checks import ENCRYPTED, Checks, Item, RefusedError
from ansible_collections.sre.runbooks.tests.integration.awx.kinds import (
    KINDS,
    MANAGED_TYPES,
    NOTIFICATIONS,
    UNIFIED,
    Kind,
)

API = "/api/v2/"
PAGE = 25


class Controller(Checks):
    """The objects, by endpoint and number. `files` is the folder that a project's checkout would be; `token` lets in."""

    def __init__(self, files: Path, token: str) -> None:
        self.files, self.token = files, token
        self.objects: dict[str, dict[int, Item]] = {name: {} for name in KINDS}
        self.surveys: dict[int, Item] = {}
        self.links: dict[tuple[int, str], list[int]] = {}
        self.changes: list[str] = []
        self._next = 0
        for name, (kind, fields) in MANAGED_TYPES.items():
            listed = [{"id": field, "secret": secret} for field, secret in fields.items()]
            self._add(
                "credential_types",
                {"name": name, "kind": kind, "inputs": {"fields": listed}, "injectors": {}, "managed": True},
            )
        self._add("instance_groups", {"name": "default", "is_container_group": False})

    # --- What tests ask ---------------------------------------------------------------------------------------------

    def one(self, endpoint: str, name: str) -> Item:
        """The object of that name, with the names of what is associated with it."""
        found = next(
            item for item in self.objects[endpoint].values() if name in (item.get("name"), item.get("identifier"))
        )
        linked = {link: self._linked(found["id"], link, to) for link, to in KINDS[endpoint].associations.items()}
        names = {link: [each.get("name") or each["identifier"] for each in items] for link, items in linked.items()}
        return {**copy.deepcopy(found), **names, "survey": self.surveys.get(found["id"], {})}

    def names(self, endpoint: str) -> set[str]:
        return {
            item.get("name") or item["identifier"]
            for item in self.objects[endpoint].values()
            if not item.get("managed")
        }

    # --- Requests ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], data: Item) -> tuple[int, Any]:
        """Status and body of a request below /api/v2/."""
        words = [unquote(word) for word in path.removeprefix(API).strip("/").split("/")]
        if method != "GET":
            self.changes.append(f"{method} {'/'.join(words)}")
        endpoint, *rest = words
        if endpoint == "project_updates" and method == "GET":
            return 200, {
                "id": int(rest[0]),
                "status": "successful",
                "finished": "2026-01-01T00:00:00Z",
                "failed": False,
            }
        if endpoint not in (*KINDS, "unified_job_templates"):
            raise RefusedError(404, {"detail": "The requested resource could not be found."})
        if not rest:
            return (201, self._create(endpoint, data)) if method == "POST" else (200, self._listing(endpoint, query))
        item = self.objects.get(endpoint, {}).get(int(rest[0]))
        if item is None:
            raise RefusedError(404, {"detail": "Not found."})
        if len(rest) == 1:
            return self._single(method, endpoint, item, data)
        return self._below(method, endpoint, item, rest[1], data)

    def _single(self, method: str, endpoint: str, item: Item, data: Item) -> tuple[int, Any]:
        if method == "DELETE":
            del self.objects[endpoint][item["id"]]
            return 204, None
        if method == "PATCH":
            self._change(endpoint, item, data)
        return 200, self._shown(endpoint, item)

    def _below(self, method: str, endpoint: str, item: Item, name: str, data: Item) -> tuple[int, Any]:
        """What is under one object: its survey, what is associated with it, the making of an approval."""
        kind = KINDS[endpoint]
        if name == "survey_spec" and endpoint in ("job_templates", "workflow_job_templates"):
            if method == "POST":
                if error := rules.survey_error(data):
                    raise RefusedError(400, {"error": error})
                self.surveys[item["id"]] = data
                return 200, {}
            return 200, self.surveys.get(item["id"], {})
        if name == "create_approval_template" and endpoint == "workflow_job_template_nodes":
            made = self._create("workflow_approval_templates", data)
            item["unified_job_template"] = made["id"]
            return 201, made
        if name not in kind.associations:
            raise RefusedError(404, {"detail": "The requested resource could not be found."})
        if method == "POST":
            self._associate(item, name, kind.associations[name], data)
            return 204, None
        return 200, self._page(
            [
                self._shown(kind.associations[name], each)
                for each in self._linked(item["id"], name, kind.associations[name])
            ],
            {},
            "",
        )

    # --- Objects ----------------------------------------------------------------------------------------------------

    def _add(self, endpoint: str, fields: Item) -> Item:
        self._next += 1
        item = {**copy.deepcopy(KINDS[endpoint].fields), **fields, "id": self._next, "type": KINDS[endpoint].type}
        self.objects[endpoint][self._next] = item
        return item

    def _create(self, endpoint: str, data: Item) -> Item:
        kind = KINDS[endpoint]
        missing = {name: ["This field is required."] for name in kind.required if data.get(name) in (None, "")}
        if missing:
            raise RefusedError(400, missing)
        accepted = self._accepted(endpoint, {**copy.deepcopy(kind.fields), **data}, None)
        item = self._add(endpoint, accepted)
        shown = self._shown(endpoint, item)
        if endpoint == "projects" and item["scm_type"]:
            shown["summary_fields"]["current_update"] = {"id": item["id"]}
        return shown

    def _change(self, endpoint: str, item: Item, data: Item) -> None:
        accepted = self._accepted(endpoint, {**{name: item[name] for name in KINDS[endpoint].fields}, **data}, item)
        item.update(accepted)

    def _accepted(self, endpoint: str, data: Item, item: Item | None) -> Item:
        """The writable fields of `data`, checked; raises RefusedError."""
        kind = KINDS[endpoint]
        fields = {name: value for name, value in data.items() if name in kind.fields}
        errors: dict[str, Any] = {}
        for name, choices in kind.choices.items():
            if fields[name] not in choices:
                errors[name] = [f'"{fields[name]}" is not a valid choice.']
        for name, target in kind.references.items():
            if fields.get(name) not in (None, "") and self._find(target, fields[name]) is None:
                errors[name] = [f'Invalid pk "{fields[name]}" - object does not exist.']
        if errors:
            raise RefusedError(400, errors)
        special: Callable[[Item, Item | None], None] | None = getattr(self, f"_check_{endpoint}", None)
        if special:
            special(fields, item)
        self._check_unique(endpoint, kind, fields, item)
        return fields

    def _check_unique(self, endpoint: str, kind: Kind, fields: Item, item: Item | None) -> None:
        key = [fields.get(name) for name in kind.unique]
        for other in self.objects[endpoint].values():
            if kind.unique and other is not item and [other.get(name) for name in kind.unique] == key:
                what = " and ".join(name.replace("_", " ").capitalize() for name in kind.unique)
                raise RefusedError(
                    400, {"__all__": [f"{kind.type.replace('_', ' ').capitalize()} with this {what} already exists."]}
                )

    def _find(self, endpoint: str, number: Any) -> Item | None:
        endpoints = (*UNIFIED, "workflow_approval_templates") if endpoint == "unified_job_templates" else (endpoint,)
        return next((self.objects[name][int(number)] for name in endpoints if int(number) in self.objects[name]), None)

    # --- Associations -----------------------------------------------------------------------------------------------

    def _linked(self, number: int, name: str, endpoint: str) -> list[Item]:
        return [
            self.objects[endpoint][each]
            for each in self.links.get((number, name), [])
            if each in self.objects[endpoint]
        ]

    def _associate(self, item: Item, name: str, endpoint: str, data: Item) -> None:
        linked = self.links.setdefault((item["id"], name), [])
        other = self._find(endpoint, data["id"])
        if other is None:
            raise RefusedError(400, {"msg": f"{endpoint} {data['id']} does not exist"})
        if data.get("disassociate"):
            linked.remove(other["id"])
            return
        if name == "credentials":
            types = self.objects["credential_types"]
            kind = types[other["credential_type"]]
            if kind["kind"] not in ("ssh", "vault", "cloud", "net", "kubernetes"):
                raise RefusedError(400, {"error": f"Cannot assign a Credential of kind `{kind['kind']}`."})
            if kind["kind"] != "vault" and kind["id"] in {
                self.objects["credentials"][each]["credential_type"] for each in linked
            }:
                raise RefusedError(400, {"error": f"Cannot assign multiple {kind['name']} credentials."})
        linked.append(other["id"])

    # --- What is shown ----------------------------------------------------------------------------------------------

    def _shown(self, endpoint: str, item: Item) -> Item:
        """An object as the API shows it: no secret, with its address and those of what belongs to it."""
        shown = copy.deepcopy(item)
        url = f"{API}{endpoint}/{item['id']}/"
        related = {"survey_spec": f"{url}survey_spec/", "update": f"{url}update/"}
        if endpoint == "workflow_job_template_nodes" and item["unified_job_template"]:
            target = next(
                name
                for name in (*UNIFIED, "workflow_approval_templates")
                if item["unified_job_template"] in self.objects[name]
            )
            related["unified_job_template"] = f"{API}{target}/{item['unified_job_template']}/"
        if endpoint == "credentials":
            fields = self.objects["credential_types"][item["credential_type"]]["inputs"]["fields"]
            secret = {field["id"] for field in fields if field.get("secret")}
            shown["inputs"] = {
                name: ENCRYPTED if name in secret and value else value for name, value in item["inputs"].items()
            }
        if endpoint == "notification_templates":
            for name in NOTIFICATIONS[item["notification_type"]][1]:
                if item["notification_configuration"].get(name):
                    shown["notification_configuration"][name] = ENCRYPTED
        if endpoint == "credential_types":
            shown.setdefault("managed", False)
        if endpoint == "projects":
            shown["scm_revision"] = "0" * 40
        return {**shown, "url": url, "related": related, "summary_fields": {}}

    def _listing(self, endpoint: str, query: dict[str, str]) -> Item:
        endpoints = (*UNIFIED, "workflow_approval_templates") if endpoint == "unified_job_templates" else (endpoint,)
        shown = [self._shown(name, item) for name in endpoints for item in self.objects[name].values()]
        filters = {name: value for name, value in query.items() if name not in ("page", "page_size", "order_by")}
        for name in filters:
            plain = name.removeprefix("or__")
            if shown and not any(plain in item for item in shown):
                raise RefusedError(400, {"detail": f"{endpoint} has no field named '{plain}'"})
        either = {name.removeprefix("or__"): value for name, value in filters.items() if name.startswith("or__")}
        every = {name: value for name, value in filters.items() if not name.startswith("or__")}
        found = [
            item
            for item in shown
            if all(_matches(item, *pair) for pair in every.items())
            and (not either or any(_matches(item, *pair) for pair in either.items()))
        ]
        return self._page(found, query, endpoint)

    @staticmethod
    def _page(items: list[Item], query: dict[str, str], endpoint: str) -> Item:
        number, size = int(query.get("page", 1)), int(query.get("page_size", PAGE)) if endpoint else len(items) + 1
        more = "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items() if name != "page")
        following = f"{API}{endpoint}/?page={number + 1}&{more}" if len(items) > number * size else None
        return {
            "count": len(items),
            "next": following,
            "previous": None,
            "results": items[(number - 1) * size : number * size],
        }


def _matches(item: Item, name: str, wanted: str) -> bool:
    value = item.get(name)
    return str("" if value is None else value) == ("" if wanted == "None" else wanted)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    controller: Controller
    turn: threading.Lock

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        try:
            if self.headers.get("Authorization") != f"Bearer {self.controller.token}":
                raise RefusedError(401, {"detail": "Authentication credentials were not provided."})
            with self.turn:
                status, answer = self.controller.answer(
                    self.command, parts.path, dict(parse_qsl(parts.query)), json.loads(body or b"{}")
                )
        except RefusedError as refusal:
            status, answer = refusal.status, refusal.body
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


# The names by which http.server finds what answers a method.
for _method in ("GET", "POST", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._respond)


@contextlib.contextmanager
def serve(controller: Controller) -> Iterator[str]:
    """Serve `controller` on loopback; yields its address."""
    handler = type("Handler", (_Handler,), {"controller": controller, "turn": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
