# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server on loopback that answers as OSV, as npm's registry and as a package index do; pip-audit, npm and pip talk to it."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

PYTHON = {
    ("jinja2", "2.4.1"): {
        "id": "PYSEC-2014-8",
        "aliases": ["CVE-2014-1402"],
        "summary": "temporary files",
        "fixed": "2.7.2",
    }
}
NODE = {
    "lodash": {
        "id": 1001,
        "url": "https://github.com/advisories/GHSA-jf85-cpcp-j695",
        "title": "Prototype Pollution in lodash",
        "severity": "critical",
        "vulnerable_versions": "<4.17.12",
    },
    "minimist": {
        "id": 1002,
        "url": "https://github.com/advisories/GHSA-vh95-rmgr-6w4m",
        "title": "Prototype Pollution in minimist",
        "severity": "moderate",
        "vulnerable_versions": "<1.2.2",
    },
}
NEWEST = {"lodash": "4.17.21", "minimist": "1.2.8", "left-pad": "1.3.0"}


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        """Keep the tests' output as it is."""

    def do_POST(self) -> None:
        """Answer a query of OSV, or npm's list of names and versions."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        asked = json.loads(data)
        self.server.asked.append((self.path, asked))  # type: ignore[attr-defined]
        if self.path == "/v1/query":
            self._answer(_osv(asked))
        elif self.path == "/-/npm/v1/security/advisories/bulk":
            self._answer({name: [each] for name, each in NODE.items() if name in asked})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        """Answer with the versions of a package, in the form of npm or of an index of Python packages."""
        name = self.path.strip("/")
        if name.startswith("simple/"):
            name = name.removeprefix("simple/").strip("/")
            links = f'<a href="/files/{name}-9.9-py3-none-any.whl">{name}-9.9-py3-none-any.whl</a>'
            self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
        elif name in NEWEST:
            version = NEWEST[name]
            told = {"name": name, "version": version, "dist": {"tarball": f"http://127.0.0.1/{name}.tgz"}}
            self._answer({"name": name, "dist-tags": {"latest": version}, "versions": {version: told}})
        else:
            self.send_error(404)

    def _answer(self, document: Any) -> None:
        self._send(json.dumps(document).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _osv(asked: dict[str, Any]) -> dict[str, Any]:
    package = asked["package"]
    known = PYTHON.get((package["name"].lower(), asked["version"]))
    if known is None:
        return {}
    events = [{"introduced": "0"}, {"fixed": known["fixed"]}]
    affected = {
        "package": {"name": package["name"], "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"vulns": [{**known, "details": known["summary"], "affected": [affected]}]}


@contextlib.contextmanager
def serving() -> Iterator[Any]:
    """The server; `asked` lists what it was asked, `url` is where it is."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.asked = []  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
