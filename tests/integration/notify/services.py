# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of loopback that stand where the public ones would: HTTPS with a CA of its own, reached through a real proxy, and SMTP."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from integration.conftest import free_port
from integration.health.chains import link

NAMES = ("localhost", "127.0.0.1", "hooks.slack.com", "events.pagerduty.com", "events.eu.pagerduty.com")
HANG = "hang"
HALF = "half"
TRICKLE = "trickle"


@dataclass
class Certificates:
    """A CA that nobody knows but who is told of `ca`, and a context of a server with a certificate of its."""

    ca: Path
    server: ssl.SSLContext


def certificates(folder: Path) -> Certificates:
    """Make a CA and a certificate for all names of the services that the tests stand for."""
    authority = link("CA of the tests")
    own = link("services of the tests", authority, names=NAMES)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "server.pem").write_bytes(own.pem + own.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Certificates(folder / "ca.pem", context)


@dataclass
class Request:
    """What a service was sent."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Web:
    """A service; `answers` by host name is what it answers next: a status, or HANG, HALF, TRICKLE. Otherwise all is well."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    asked_for: list[str] = field(default_factory=list)
    proxy_port: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def of(self, host: str) -> list[Request]:
        return [each for each in self.requests if each.host == host]


@contextlib.contextmanager
def web(certificates: Certificates) -> Iterator[Web]:
    """Run the HTTPS service and the proxy, whose every CONNECT ends at the service, whatever its name."""
    state = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with contextlib.suppress(ValueError):
                body = json.loads(body)
            host = self.headers["Host"].partition(":")[0]
            state.requests.append(Request(self.command, host, self.path, dict(self.headers), body))
            answer = state.answers[host].pop(0) if state.answers[host] else 202 if "pagerduty" in host else 200
            self._answer(answer, b"ok" if "slack" in host else b"{}")

        do_PUT = do_POST  # noqa: N815

        def _answer(self, answer: Any, body: bytes) -> None:
            self.close_connection = True
            if answer == HANG:
                state.stop.wait(30)
                return
            if answer == HALF:
                self.wfile.write(b"HTT")
                return
            if answer == TRICKLE:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                with contextlib.suppress(OSError):
                    while not state.stop.wait(0.2):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                return
            self.send_response(answer)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            # The handshake in the thread of the connection: one that hangs must not hold up the others.
            with contextlib.suppress(OSError):
                super().finish_request(certificates.server.wrap_socket(request, server_side=True), client_address)

    server = Server(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with _proxy(state):
            yield state
    finally:
        state.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def _proxy(state: Web) -> Iterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    state.proxy_port = listener.getsockname()[1]

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = client.recv(4096)
                if not part:
                    return
                head += part
            state.asked_for.append(head.split(b" ")[1].decode())
            with socket.create_connection(("127.0.0.1", state.port)) as far:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(far, client), daemon=True)
                back.start()
                _copy(client, far)
                back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        # A blocked accept() is not woken by close() alone.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@dataclass
class Mail:
    """A mail server with its messages; with `refuse` it answers every message with that line."""

    port: int
    messages: list[email.message.EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[bool] = field(default_factory=list)
    refuse: str = ""


@contextlib.contextmanager
def mail(certificates: Certificates, user: str, password: str, implicit: bool = False) -> Iterator[Mail]:
    """Run a mail server that wants encryption (STARTTLS, or from the first byte if `implicit`) and a login."""
    state = Mail(0)

    class Handler:
        async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
            if state.refuse:
                return state.refuse
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            state.messages.append(parsed)
            state.encrypted.append(session.ssl is not None or implicit)
            return "250 taken"

    def authenticator(_server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        ok = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (user, password)
        state.logins.append(ok)
        return AuthResult(success=ok, handled=False)

    factory: Callable[..., SMTP] = _Implicit if implicit else SMTP
    tls = {"ssl_context": certificates.server} if implicit else {}
    options: dict[str, Any] = {"authenticator": authenticator, "auth_required": True, "auth_require_tls": not implicit}
    if not implicit:
        options |= {"tls_context": certificates.server, "require_starttls": True}

    class Server(Controller):
        def factory(self) -> SMTP:
            return factory(self.handler, **self.SMTP_kwargs)

    controller = Server(Handler(), hostname="127.0.0.1", port=free_port(), **tls, **options)
    controller.start()
    state.port = controller.port
    try:
        yield state
    finally:
        controller.stop()


class _Implicit(SMTP):
    """The server behind an encrypted port, which need not ask for STARTTLS."""
