# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP end points: status, body, JSON expectations, figures out of the JSON."""

from __future__ import annotations

import http.client
import json
import re
import time
import typing as t
import urllib.error
import urllib.request

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation, TargetDown

METRICS = ("response_seconds", "status_code")
EXPECT = {
    "status": {"type": "list", "elements": "int"},
    "json": {"type": "dict"},
    "contains": {"type": "str"},
    "matches": {"type": "str"},
}
OPTIONS: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "method": {"type": "str", "default": "GET"},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "body": {"type": "raw", "no_log": True},
    "expect": {"type": "dict", "options": EXPECT},
    "values": {"type": "dict", "default": {}},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# A health document is small; more than this is not read (64 MiB is the bound on a module's memory, B9).
BODY_LIMIT = 4 * 2**20


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Make one request. `response_seconds` runs from the first byte sent to the last byte of the body."""
    started = time.monotonic()
    status, body = _fetch(options, started + options["timeout"])
    metrics: dict[str, float] = {"response_seconds": round(time.monotonic() - started, 6), "status_code": status}
    document = _document(options, body)
    for name, path in options["values"].items():
        value = _number(find(document, str(path)))
        if value is not None:
            metrics[name] = value
    unmet = _unmet(options["expect"] or {}, status, body, document)
    if unmet:
        return [Observation(metrics, "; ".join(unmet), "critical")]
    summary = f"{options['method']} answered {status} in {show_duration(metrics['response_seconds'])}"
    return [Observation(metrics, summary)]


def _fetch(options: t.Mapping[str, t.Any], deadline: float) -> tuple[int, bytes]:
    """Return status and body; `TargetDown` when there is no whole answer before `deadline`."""
    request = _request(options)
    # A health check asks the service itself, not a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *_tls(options))
    try:
        try:
            response = opener.open(request, timeout=options["timeout"])
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return response.status, _read(response, deadline)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            reason = f"no whole answer within {options['timeout']:g} s"
        raise TargetDown(f"{_shown(options['url'])}: {reason}") from error


def _request(options: t.Mapping[str, t.Any]) -> urllib.request.Request:
    if not options["url"].startswith(("http://", "https://")):
        raise InputError(
            "url", _shown(options["url"]), "is no HTTP address", "Write http://host:port/path or https://…."
        )
    body, headers = options["body"], {"User-Agent": "sre.runbooks", **options["headers"]}
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    data = None if body is None else str(body).encode()
    try:
        return urllib.request.Request(options["url"], data=data, headers=headers, method=options["method"])
    except ValueError as error:
        raise InputError("url", _shown(options["url"]), "is no HTTP address", "Write http://host:port/path.") from error


def _tls(options: t.Mapping[str, t.Any]) -> list[urllib.request.BaseHandler]:
    if not options["url"].startswith("https://"):
        return []
    import ssl

    context = ssl.create_default_context(cafile=options["ca_path"])
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return [urllib.request.HTTPSHandler(context=context)]


def _read(response: t.Any, deadline: float) -> bytes:
    """The body in pieces, so that one that never ends is noticed."""
    body = b""
    while chunk := response.read1(65536):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise TargetDown(f"the body is larger than {BODY_LIMIT} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return body


def _shown(url: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _document(options: t.Mapping[str, t.Any], body: bytes) -> t.Any:
    if not options["values"] and not (options["expect"] or {}).get("json"):
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise TargetDown(f"{_shown(options['url'])}: the body is no JSON") from None


def find(document: t.Any, path: str) -> t.Any:
    """What stands at `path` (`database.status`, `workers.0.name`) in a JSON document; None when nothing does."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def _number(value: t.Any) -> float | None:
    """Numbers, booleans as 0 and 1, and texts that are a number."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _unmet(expect: t.Mapping[str, t.Any], status: int, body: bytes, document: t.Any) -> list[str]:
    """What the answer should have been and was not."""
    wanted = expect.get("status") or [200]
    unmet = []
    if status not in wanted:
        unmet.append(f"status is {status}, expected {' or '.join(map(str, wanted))}")
    for path, value in (expect.get("json") or {}).items():
        actual = find(document, path)
        if actual != value:
            unmet.append(f"{path} is {json.dumps(actual)[:80]}, expected {json.dumps(value)}")
    text = body.decode("utf-8", "replace") if expect.get("contains") or expect.get("matches") else ""
    if expect.get("contains") and expect["contains"] not in text:
        unmet.append(f"the body does not contain {expect['contains']!r}")
    if expect.get("matches") and not _search(expect["matches"], text):
        unmet.append(f"the body does not match {expect['matches']!r}")
    return unmet


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise RunbookError(f"expect.matches: {pattern!r} is no regular expression: {error}. Correct it.") from error
