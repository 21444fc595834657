# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP end points: status, body, JSON expectations, figures out of the JSON."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import time
import typing as t
import urllib.error
import urllib.request

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
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


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """What makes no request at all."""
    url, expect = options["url"], options["expect"] or {}
    parts = re.fullmatch(r"https?://([^/?#]*)[!-~]*", url)
    if parts is None:
        raise InputError(
            "url", _shown(url), "is no HTTP address", "Write http://host:port/path; percent-encode the rest."
        )
    if "@" in parts[1]:
        raise InputError(
            "url", _shown(url), "holds a user or password", "Send them as the header Authorization, under headers."
        )
    for name, value in options["headers"].items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", str(name)) or re.search(
            r"[^\t\x20-\x7e\x80-\xff]", str(value)
        ):
            raise InputError("headers", name, "is no header", "Write a name and one line of text.")
    try:
        re.compile(expect.get("matches") or "")
    except re.error as error:
        raise InputError(
            "expect.matches", expect["matches"], f"is no regular expression: {error}", "Correct it."
        ) from error


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Make one request. `response_seconds` runs from the first byte sent to the last byte of the body."""
    expect = options["expect"] or {}
    started = time.monotonic()
    status, body = _fetch(options, started + options["timeout"])
    metrics: dict[str, float] = {"response_seconds": round(time.monotonic() - started, 6), "status_code": status}
    unmet = _unmet(expect, status, body)
    if options["values"] or expect.get("json"):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            unmet.append("the body is no JSON")
        else:
            metrics.update(_values(options["values"], document))
            unmet.extend(_unlike(expect.get("json") or {}, document))
    if unmet:
        return [Observation(metrics, f"{_shown(options['url'])}: {'; '.join(unmet)}", "critical")]
    summary = f"{options['method']} answered {status} in {show_duration(metrics['response_seconds'])}"
    return [Observation(metrics, summary)]


def _fetch(options: t.Mapping[str, t.Any], deadline: float) -> tuple[int, bytes]:
    """Return status and body; `TargetDown` when there is no whole answer before `deadline`."""
    wanted = (options["expect"] or {}).get("status") or ()
    # A health check asks the service itself, not a proxy.
    handlers = [urllib.request.ProxyHandler({}), _Redirect(wanted), *_tls(options)]
    opener = urllib.request.build_opener(*handlers)
    try:
        try:
            response = opener.open(_request(options), timeout=options["timeout"])
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return response.status, _read(response, deadline)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        # Python 3.9 has a class of its own for it.
        if isinstance(reason, (TimeoutError, socket.timeout)):
            reason = f"no whole answer within {options['timeout']:g} s"
        elif isinstance(reason, OSError):
            reason = reason.strerror or reason
        raise TargetDown(f"{_shown(options['url'])}: {reason or type(reason).__name__}") from error


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects, unless the redirect is what the user expects; their headers stay with the host they were meant for."""

    def __init__(self, wanted: t.Collection[int]) -> None:
        self._wanted = wanted

    def redirect_request(  # the signature is urllib's
        self, req: urllib.request.Request, fp: t.Any, code: int, msg: str, headers: t.Any, newurl: str
    ) -> urllib.request.Request | None:
        if code in self._wanted or not newurl.startswith(("http://", "https://")):
            return None
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and (following.type, following.host) != (req.type, req.host):
            following.headers = {name: value for name, value in following.headers.items() if name == "User-agent"}
        return following


def _request(options: t.Mapping[str, t.Any]) -> urllib.request.Request:
    body, headers = options["body"], {"User-Agent": "sre.runbooks"}
    headers.update({str(name): str(value) for name, value in options["headers"].items()})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    data = None if body is None else str(body).encode()
    # refuse() lets nothing but http and https through.
    return urllib.request.Request(options["url"], data=data, headers=headers, method=options["method"])  # noqa: S310


def _tls(options: t.Mapping[str, t.Any]) -> list[urllib.request.BaseHandler]:
    """A redirect may lead from http to https, so that what the user says of certificates holds there too."""
    if options["validate_certs"] and not options["ca_path"] and not options["url"].startswith("https://"):
        return []
    import ssl

    try:
        context = ssl.create_default_context(cafile=options["ca_path"])
    except OSError as error:
        raise RunbookError(
            f"ca_path: {options['ca_path']}: {error.strerror or error}. Name a file of certificates in PEM format."
        ) from error
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return [urllib.request.HTTPSHandler(context=context)]


def _read(response: t.Any, deadline: float) -> bytes:
    """The body in pieces, so that one that never ends is noticed; read1 does not notice one that ends early."""
    body = b""
    while chunk := response.read1(65536):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise http.client.HTTPException(f"the body is larger than {show_size(BODY_LIMIT)}")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:  # what is missing; None when there is no telling
        raise http.client.HTTPException(f"the body ended {response.length} bytes too early")
    return body


def _shown(url: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/]*@", "//", url)


def _values(paths: t.Mapping[str, t.Any], document: t.Any) -> dict[str, float]:
    """The figures that stand at `paths`; one that is missing or no number is left out."""
    found = {name: _number(find(document, str(path))) for name, path in paths.items()}
    return {name: value for name, value in found.items() if value is not None}


def find(document: t.Any, path: str) -> t.Any:
    """What stands at `path` (`database.status`, `workers.0.name`) in a JSON document; None when nothing does."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def _number(value: t.Any) -> float | None:
    """Numbers, booleans as 0 and 1, and texts that are a number. NaN is none: it would be past no bound, ever."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _unmet(expect: t.Mapping[str, t.Any], status: int, body: bytes) -> list[str]:
    """What status and text should have been and were not."""
    wanted = expect.get("status") or [200]
    unmet = []
    if status not in wanted:
        unmet.append(f"status is {status}, expected {' or '.join(map(str, wanted))}")
    text = body.decode("utf-8", "replace") if expect.get("contains") or expect.get("matches") else ""
    if expect.get("contains") and expect["contains"] not in text:
        unmet.append(f"the body does not contain {expect['contains']!r}")
    if expect.get("matches") and not re.search(expect["matches"], text):
        unmet.append(f"the body does not match {expect['matches']!r}")
    return unmet


def _unlike(wanted: t.Mapping[str, t.Any], document: t.Any) -> list[str]:
    """What the JSON should have held and did not."""
    unlike = []
    for path, value in wanted.items():
        actual = find(document, str(path))
        if actual != value or isinstance(actual, bool) != isinstance(value, bool):
            unlike.append(f"{path} is {json.dumps(actual)[:80]}, expected {json.dumps(value)}")
    return unlike
