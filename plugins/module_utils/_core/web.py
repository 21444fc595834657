# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as checks and providers of keys need it: one request, one deadline for all of it, the body as a stream."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import ssl
import string
import time
import typing as t
from urllib.parse import quote, urljoin, urlsplit

from ansible_collections.sre.runbooks.plugins.module_utils._core.connect import connect
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown

OPTIONS: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REDIRECT_LIMIT = 10
PIECE = 65536


class NoHttp(RunbookError):
    """What came is no whole HTTP answer."""


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """What makes no request at all."""
    url = options["url"]
    parts = re.fullmatch(r"(https?)://([^/?#]*)[!-~]*", url)
    if parts is None:
        raise InputError(
            "url", shown(url), "is no HTTP address", "Write http://host:port/path; percent-encode the rest."
        )
    if "@" in parts[2]:
        raise InputError(
            "url", shown(url), "holds a user or password", "Send them as the header Authorization, under headers."
        )
    try:
        host, _port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError as error:
        raise InputError("url", url, f"is no HTTP address: {error}", "Write http://host:port/path.") from error
    if not host:
        raise InputError("url", url, "names no host", "Write http://host:port/path.")
    for name, value in options["headers"].items():
        if not re.fullmatch(WORD, str(name)) or re.search(r"[^\t\x20-\x7e\x80-\xff]", str(value)):
            raise InputError("headers", name, "is no header", "Write a name and one line of text.")


def shown(url: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/]*@", "//", url)


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


class Answer:
    """Status and headers (names in lower case, joined where they come twice) of an answer, and its body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._response = response

    def pieces(self) -> t.Iterator[bytes]:
        """The body as it comes; raises NoHttp when it ends too early, TimeoutError at the deadline."""
        while piece := self._response.read1(PIECE):
            yield piece
        if self._response.length:
            raise NoHttp(f"the body ended {self._response.length} bytes too early")

    def body(self, limit: int, too_large: str) -> bytes:
        """The whole body; NoHttp says `too_large` when it has more than `limit` bytes."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > limit:
                raise NoHttp(too_large)
        return bytes(body)


@contextlib.contextmanager
def ask(
    options: t.Mapping[str, t.Any],
    deadline: float,
    url: str = "",
    method: str = "GET",
    body: bytes | None = None,
    headers: t.Mapping[str, str] | None = None,
    stop: t.Collection[int] = (),
) -> t.Iterator[Answer]:
    """Make the request that `options` (those of OPTIONS, and `timeout`) describe, and follow redirects but those in `stop`.

    Raises TargetDown when there is no whole answer by `deadline`, also for what goes wrong while the body is read.
    """
    url = url or options["url"]
    try:
        with contextlib.ExitStack() as stack:
            yield _follow(options, deadline, url, method, body, headers or {}, stop, stack)
    except (OSError, NoHttp, UnicodeError, http.client.HTTPException) as error:
        raise TargetDown(f"{shown(options['url'])}: {_reason(error, options['timeout'])}") from error


def _reason(error: Exception, timeout: float) -> str:
    # Python 3.9 has a class of its own for it.
    if isinstance(error, (TimeoutError, socket.timeout)):
        return f"no whole answer within {timeout:g} s"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the body ended in the middle of its chunks"
    if isinstance(error, http.client.BadStatusLine):
        return f"the answer is no HTTP: {str(error)[:80]}"
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return re.sub(r" \(_ssl\.c:\d+\)", "", reason)


def _follow(
    options: t.Mapping[str, t.Any],
    deadline: float,
    url: str,
    method: str,
    body: bytes | None,
    headers: t.Mapping[str, str],
    stop: t.Collection[int],
    stack: contextlib.ExitStack,
) -> Answer:
    given = _joined({"User-Agent": "sre.runbooks", **headers}, options["headers"])
    for _number in range(REDIRECT_LIMIT + 1):
        answer = _request(options, url, deadline, method, body, given, stack)
        place = quote(answer.headers.get("location", ""), safe=string.punctuation, encoding="latin-1")
        following = urljoin(url, place) if place else ""
        if (
            answer.status not in (301, 302, 303, 307, 308)
            or answer.status in stop
            or not following.startswith(("http://", "https://"))
        ):
            return answer
        stack.close()
        if body is not None and (answer.status == 303 or (answer.status in (301, 302) and method == "POST")):
            method, body = "GET", None
            given = {name: value for name, value in given.items() if not name.lower().startswith("content-")}
        if urlsplit(following)[:2] != urlsplit(url)[:2]:
            if body is not None:
                raise NoHttp(
                    f"redirects with status {answer.status} to {shown(following)}, which must not get the body"
                )
            # What was meant for the first host stays with it.
            given = {name: value for name, value in given.items() if name.lower() == "user-agent"}
        url = following
    raise NoHttp(f"more than {REDIRECT_LIMIT} redirects, the last to {shown(url)}")


def _joined(headers: t.Mapping[str, str], given: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The headers `given`, and those of `headers` that are not among them, in whatever case."""
    own = {str(name).lower() for name in given}
    kept = {name: value for name, value in headers.items() if name.lower() not in own}
    return {**kept, **{str(name): str(value) for name, value in given.items()}}


def _request(
    options: t.Mapping[str, t.Any],
    url: str,
    deadline: float,
    method: str,
    body: bytes | None,
    headers: dict[str, str],
    stack: contextlib.ExitStack,
) -> Answer:
    """Ask once, on a connection of its own that `stack` closes."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise NoHttp(f"redirects to {shown(url)}, which is no address: {error}") from error
    plain = stack.enter_context(contextlib.closing(connect(host, port, deadline)))
    wire = _Wire(plain, deadline)
    if parts.scheme == "https":
        wire.limit()
        wire.socket = stack.enter_context(contextlib.closing(_tls(options).wrap_socket(plain, server_hostname=host)))
    connection = http.client.HTTPConnection(host, port)
    connection.sock = wire
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = _joined({"Host": parts.netloc.rpartition("@")[2], "Connection": "close"}, headers)
    connection.request(method, target, body, given)
    response = connection.getresponse()
    if wire.ended:
        raise NoHttp("the connection was closed in the middle of the headers")
    return Answer(response)


class _Wire(io.RawIOBase):
    """What http.client takes for a socket and for the file made of it; every operation ends at `deadline`.

    http.client by itself limits the time of each packet, so that a server that sends a byte a second is never too late.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.socket = connection
        self.ended = False
        self._deadline = deadline

    def limit(self) -> None:
        """Let the next operation have the time that is left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)

    def sendall(self, data: t.Any) -> None:
        """Send all of `data`."""
        self.limit()
        self.socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """A file to read the answer from."""
        return io.BufferedReader(self, PIECE)

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: t.Any) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
        self.limit()
        count = self.socket.recv_into(buffer)
        self.ended = not count
        return count

    def close(self) -> None:
        """Nothing: http.client closes it before the body is read; its maker closes the socket."""


def _tls(options: t.Mapping[str, t.Any]) -> ssl.SSLContext:
    """What the user says of certificates holds after a redirect too."""
    try:
        context = ssl.create_default_context(cafile=options["ca_path"])
    except OSError as error:
        raise RunbookError(
            f"ca_path: {options['ca_path']}: {error.strerror or error}. Name a file of certificates in PEM format."
        ) from error
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
