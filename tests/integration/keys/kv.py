# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A KV version 2 engine of Vault on loopback, as its HTTP API is documented: enough for hvac and community.hashi_vault, which prove it.

Versions with check-and-set, soft deletion, undelete, destroy, custom metadata, max_versions; 403 without a token that is known in its namespace; 503
while it is sealed. `https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2` is what it follows.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

MAX_VERSIONS = 10


class Secret:
    """A secret: its versions by number."""

    def __init__(self):
        self.versions, self.current, self.custom, self.cas_required = {}, 0, None, False


class Kv:
    """The server; `mount` is the engine's place, `tokens` {token: namespace}; `before` is called with method and path of each request."""

    def __init__(self, mount="secret"):
        self.mount, self.tokens, self.secrets, self.sealed = mount, {"root-Token-0123456789": ""}, {}, False
        self.requests, self.lock, self.before = [], threading.RLock(), lambda method, path: None
        kv = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                kv.before(self.command, self.path)
                with kv.lock:
                    status, document = kv.asked(self.command, self.path, self.headers, json.loads(raw) if raw else {})
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Cache-Control", "no-store")
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = answer  # noqa: N815 - called by these names

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # --- What the tests look at ---

    def alive(self, path, field="value"):
        """The values that a service which reads this secret would accept."""
        with self.lock:
            return [
                version["data"][field]
                for version in self.secrets[path].versions.values()
                if version["data"] is not None and not self.dead(version)
            ]

    # --- The API ---

    def asked(self, method, target, headers, body):
        parts = urlsplit(target)
        path, query = unquote(parts.path), parse_qs(parts.query)
        self.requests.append((method, target))
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        token = headers.get("X-Vault-Token", "")
        if token not in self.tokens or self.tokens[token] != headers.get("X-Vault-Namespace", "").strip("/"):
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/auth/token/lookup-self":
            return 200, self.envelope({"id": token, "policies": ["root"], "ttl": 0})
        prefix = f"/v1/{self.mount}/"
        what, _slash, name = path[len(prefix) :].partition("/")
        if not path.startswith(prefix) or not name or what not in self.PATHS:
            return 404, {"errors": [f"no handler for route {path[4:]!r}. route entry not found."]}
        handler = self.PATHS[what].get(method)
        if handler is None:
            return 405, {"errors": ["1 error occurred:\n\t* unsupported operation\n\n"]}
        return handler(self, name, query, body)

    @staticmethod
    def envelope(data):
        return {
            "request_id": "0b0e6e5f-0000-0000-0000-000000000000", "lease_id": "", "renewable": False, "lease_duration": 0,
            "data": data, "wrap_info": None, "warnings": None, "auth": None,
        }  # fmt: skip

    @staticmethod
    def dead(version):
        return version["destroyed"] or version["deletion_time"] != ""

    def told(self, secret, number):
        version = secret.versions[number]
        return {
            "created_time": version["created_time"], "custom_metadata": secret.custom, "deletion_time": version["deletion_time"],
            "destroyed": version["destroyed"], "version": number,
        }  # fmt: skip

    def read(self, name, query, _body):
        secret = self.secrets.get(name)
        number = int(query.get("version", ["0"])[0]) or (secret.current if secret else 0)
        if secret is None or number not in secret.versions:
            return 404, {"errors": []}
        version = secret.versions[number]
        if self.dead(version):
            return 404, self.envelope({"data": None, "metadata": self.told(secret, number)})
        return 200, self.envelope({"data": version["data"], "metadata": self.told(secret, number)})

    def write(self, name, _query, body):
        secret = self.secrets.get(name) or Secret()
        if not isinstance(body.get("data"), dict):
            return 400, {"errors": ["no data provided"]}
        cas = (body.get("options") or {}).get("cas")
        if cas is None and secret.cas_required:
            return 400, {"errors": ["check-and-set parameter required for this call"]}
        if cas is not None and int(cas) != secret.current:
            return 400, {"errors": ["check-and-set parameter did not match the current version"]}
        self.secrets[name] = secret
        secret.current += 1
        now = time.time()
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z"
        secret.versions[secret.current] = {
            "data": body["data"], "created_time": created, "deletion_time": "", "destroyed": False,
        }  # fmt: skip
        for number in sorted(secret.versions)[:-MAX_VERSIONS]:
            del secret.versions[number]
        return 200, self.envelope(self.told(secret, secret.current))

    def metadata(self, name, _query, _body):
        secret = self.secrets.get(name)
        if secret is None:
            return 404, {"errors": []}
        versions = {
            str(number): {each: version[each] for each in ("created_time", "deletion_time", "destroyed")}
            for number, version in secret.versions.items()
        }
        return 200, self.envelope(
            {
                "cas_required": secret.cas_required,
                "created_time": "",
                "current_version": secret.current,
                "custom_metadata": secret.custom,
                "delete_version_after": "0s",
                "max_versions": 0,
                "oldest_version": min(secret.versions, default=0),
                "updated_time": "",
                "versions": versions,
            }
        )

    def configure(self, name, _query, body):
        secret = self.secrets.setdefault(name, Secret())
        secret.custom = body.get("custom_metadata", secret.custom)
        secret.cas_required = body.get("cas_required", secret.cas_required)
        return 204, None

    def forget(self, name, _query, _body):
        self.secrets.pop(name, None)
        return 204, None

    def change(self, name, numbers, destroy, deletion):
        for number in map(int, numbers):
            version = self.secrets[name].versions.get(number) if name in self.secrets else None
            if version is None or version["destroyed"]:
                continue
            version["deletion_time"] = deletion
            if destroy:
                version.update(data=None, destroyed=True, deletion_time="")
        return 204, None

    @staticmethod
    def now():
        return time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())

    def remove_newest(self, name, _query, _body):
        return self.change(name, [self.secrets[name].current] if name in self.secrets else [], False, self.now())

    def remove(self, name, _query, body):
        return self.change(name, body["versions"], False, self.now())

    def undelete(self, name, _query, body):
        return self.change(name, body["versions"], False, "")

    def destroy(self, name, _query, body):
        return self.change(name, body["versions"], True, "")

    PATHS: ClassVar = {
        "data": {"GET": read, "POST": write, "PUT": write, "DELETE": remove_newest},
        "metadata": {"GET": metadata, "POST": configure, "PUT": configure, "DELETE": forget},
        "delete": {"POST": remove, "PUT": remove},
        "undelete": {"POST": undelete, "PUT": undelete},
        "destroy": {"POST": destroy, "PUT": destroy},
    }
