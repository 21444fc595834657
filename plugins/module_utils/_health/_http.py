# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 as checks need it: one request, one deadline for all of it, the body as a stream.

The standard library's client limits each packet's time, so that a server that sends a byte a second is never too late; and
importing it (with the parser of e-mail headers, and TLS where none is used) takes 10 ms of each host's run.
"""

from __future__ import annotations

import contextlib
import re
import socket
import string
import time
import typing as t
from urllib.parse import quote, urljoin, urlsplit

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._health._connect import connect

OPTIONS: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LOOPBACK = r"localhost|127\.[0-9.]+|::1"
LINE_LIMIT = 65536
HEADER_LIMIT = 100
REDIRECT_LIMIT = 10
PIECE = 65536


class NoHttp(RunbookError):
    """What came is no whole HTTP answer."""


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """What makes no request at all.

    TLS is imported here, where it can be of use, and not in the thread of the check: an import beside a fork can hang.
    """
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
    if _may_meet_tls(options):
        import ssl  # noqa: F401


def _may_meet_tls(options: t.Mapping[str, t.Any]) -> bool:
    """Whether TLS is loaded, 4 ms of a host's time: not for a plain address on the host itself, unless certificates are spoken of."""
    parts = urlsplit(options["url"])
    local = parts.scheme == "http" and re.fullmatch(LOOPBACK, parts.hostname or "")
    return not local or not options["validate_certs"] or bool(options["ca_path"])


def shown(url: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/]*@", "//", url)


class Answer:
    """Status and headers (names in lower case) of an answer; its body is read with `pieces` or `body`."""

    def __init__(self, wire: _Wire, method: str) -> None:
        self.status, self.headers = _head(wire)
        while 100 <= self.status < 200:
            self.status, self.headers = _head(wire)
        self._wire = wire
        self._empty = method == "HEAD" or self.status in (204, 304)

    def pieces(self) -> t.Iterator[bytes]:
        """The body as it comes; raises NoHttp when it ends too early, TimeoutError at the deadline."""
        if self._empty:
            return iter(())
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        length = self.headers.get("content-length", "")
        return self._exactly(int(length)) if length.isdecimal() else self._rest()

    def body(self, limit: int, too_large: str) -> bytes:
        """The whole body; NoHttp says `too_large` when it has more than `limit` bytes."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > limit:
                raise NoHttp(too_large)
        return bytes(body)

    def _rest(self) -> t.Iterator[bytes]:
        while piece := self._wire.some(PIECE):
            yield piece

    def _exactly(self, length: int) -> t.Iterator[bytes]:
        while length:
            piece = self._wire.some(min(length, PIECE))
            if not piece:
                raise NoHttp(f"the body ended {length} bytes too early")
            length -= len(piece)
            yield piece

    def _chunks(self) -> t.Iterator[bytes]:
        while True:
            size = re.match(rb"[0-9A-Fa-f]{1,15}(?=[;\s]|$)", self._wire.line())
            if size is None:
                raise NoHttp("the body ended in the middle of its chunks")
            length = int(size[0], 16)
            if not length:
                return
            yield from self._exactly(length)
            self._wire.line()


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
    except (OSError, NoHttp, UnicodeError) as error:
        raise TargetDown(f"{shown(options['url'])}: {_reason(error, options['timeout'])}") from error


def _reason(error: Exception, timeout: float) -> str:
    # Python 3.9 has a class of its own for it.
    if isinstance(error, (TimeoutError, socket.timeout)):
        return f"no whole answer within {timeout:g} s"
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
        wire = stack.enter_context(_Wire(options, url, deadline))
        wire.send(_request(url, method, body, given))
        answer = Answer(wire, method)
        place = quote(answer.headers.get("location", ""), safe=string.punctuation, encoding="latin-1")
        following = urljoin(url, place) if place else ""
        if answer.status not in (301, 302, 303, 307, 308) or answer.status in stop or not _leads(options, following):
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


def _leads(options: t.Mapping[str, t.Any], following: str) -> bool:
    """Whether a redirect can be followed: to HTTP, and to TLS only where it is loaded."""
    if not following.startswith(("http://", "https://")):
        return False
    if following.startswith("https://") and not _may_meet_tls(options):
        raise NoHttp(f"redirects to {shown(following)}. Give this address as url, with ca_path where it needs one.")
    return True


def _request(url: str, method: str, body: bytes | None, given: t.Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    headers = {"Host": parts.netloc.rpartition("@")[2], "Connection": "close", "Accept-Encoding": "identity"}
    if body is not None or method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(body or b""))
    lines = [f"{name}: {value}" for name, value in _joined(headers, given).items()]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1") + (body or b"")


def _head(wire: _Wire) -> tuple[int, dict[str, str]]:
    """Status and headers; of headers that come twice, the first."""
    line = wire.line()
    if not line:
        raise NoHttp("the connection was closed without an answer")
    match = re.match(rb"HTTP/1\.\d (\d{3})(?:\s|$)", line)
    if match is None:
        raise NoHttp(f"the answer is no HTTP: {line[:80].decode('latin-1').strip()}")
    headers: dict[str, str] = {}
    for _number in range(HEADER_LIMIT + 1):
        line = wire.line()
        if not line:
            raise NoHttp("the connection was closed in the middle of the headers")
        name, _colon, value = line.decode("latin-1").partition(":")
        if not line.strip():
            return int(match[1]), headers
        headers.setdefault(name.lower(), value.strip())
    raise NoHttp(f"more than {HEADER_LIMIT} headers")


class _Wire:
    """A connection of which every operation ends at `deadline`, with TimeoutError."""

    def __init__(self, options: t.Mapping[str, t.Any], url: str, deadline: float) -> None:
        self._deadline = deadline
        self._buffer = b""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise NoHttp(f"redirects to {shown(url)}, which is no address: {error}") from error
        self._socket = connect(host, port, deadline)
        if parts.scheme == "https":
            with contextlib.ExitStack() as stack:
                stack.callback(self._socket.close)
                self._limit()
                self._socket = _tls(options).wrap_socket(self._socket, server_hostname=host)
                stack.pop_all()

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._limit()
        self._socket.sendall(data)

    def some(self, most: int) -> bytes:
        """Some bytes, at most `most`; none at the end."""
        if not self._buffer:
            self._fill()
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def line(self) -> bytes:
        """A line with its end; what is left at the end of all."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_LIMIT:
                raise NoHttp(f"a line of its head is longer than {LINE_LIMIT} bytes")
            if not self._fill():
                end = len(self._buffer)
                break
        line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
        return line

    def _fill(self) -> bytes:
        self._limit()
        piece = self._socket.recv(PIECE)
        self._buffer += piece
        return piece

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _tls(options: t.Mapping[str, t.Any]) -> t.Any:
    """What the user says of certificates holds after a redirect too."""
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
    return context
