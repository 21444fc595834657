# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of real servers and files: every one of a chain, STARTTLS, and what a client would not believe (H10, K7)."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from integration.health.chains import Chain, chain, link

from ..conftest import free_port


@pytest.fixture
def tls(serve):
    """Start a server that shows a chain; return its port."""

    def go(shown: Chain, version=ssl.TLSVersion.TLSv1_3):
        context = shown.context
        context.maximum_version = version

        def talk(connection):
            with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(1)

        return serve(talk)

    return go


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_good_chain(check, tls, tmp_path, version):
    shown = chain(tmp_path)
    given = {"host": "localhost", "port": tls(shown, version), "ca_path": shown.ca_path}
    outcome = check("tls", **given, warning="< 30", critical="< 7")
    assert outcome["status"] == "ok", outcome
    assert outcome["metrics"]["days_remaining"] == pytest.approx(90, abs=0.1)
    assert (
        outcome["summary"] == f"localhost:{given['port']}: 2 certificates, the first to expire is Test Leaf in 90.0 d"
    )
    assert [each["subject"] for each in outcome["details"]["certificates"]] == ["Test Leaf", "Test Intermediate"]
    assert check("tls", **given, warning="< 100")["summary"].startswith("days_remaining is 9")
    assert check("tls", **given, warning="< 100", critical="< 95")["status"] == "critical"


def test_the_intermediate_may_be_the_first_to_expire(check, tls, tmp_path):
    shown = chain(tmp_path, leaf=90, intermediate=5)
    outcome = check("tls", host="127.0.0.1", port=tls(shown), ca_path=shown.ca_path, warning="< 30")
    assert (outcome["status"], round(outcome["metrics"]["days_remaining"])) == ("warning", 5)
    assert "the first to expire is Test Intermediate in 5.0 d" in outcome["summary"]


@pytest.mark.parametrize("believed", [True, False])
def test_an_expired_intermediate_is_critical_by_name(check, tls, tmp_path, believed):
    """An expired certificate is what this check is for, so that it tells of one whatever the user believes."""
    shown = chain(tmp_path, intermediate=-2)
    port = tls(shown)
    outcome = check("tls", host="localhost", port=port, ca_path=shown.ca_path, validate_certs=believed)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"localhost:{port}: Test Intermediate expired 2.0 d ago")
    assert ("certificate has expired" in outcome["summary"]) == believed
    assert outcome["metrics"]["days_remaining"] == pytest.approx(-2, abs=0.1)


def test_a_certificate_that_nobody_vouches_for(check, tls, tmp_path):
    shown = chain(tmp_path)
    port = tls(shown)
    outcome = check("tls", host="localhost", port=port, warning="< 30")
    assert outcome["status"] == "critical"
    assert "unable to get local issuer certificate" in outcome["summary"]
    assert outcome["metrics"]["days_remaining"] == pytest.approx(90, abs=0.1)
    assert check("tls", host="localhost", port=port, validate_certs=False, warning="< 30")["status"] == "ok"


def test_a_certificate_of_its_own_making(check, tls, tmp_path):
    alone = link("Alone", days=10, names=("localhost",))
    port = tls(Chain(tmp_path, [alone], alone))
    outcome = check("tls", host="localhost", port=port)
    assert outcome["status"] == "critical"
    assert "self-signed certificate" in outcome["summary"] or "self signed certificate" in outcome["summary"]
    (tmp_path / "own.pem").write_bytes(alone.pem)
    assert check("tls", host="localhost", port=port, ca_path=str(tmp_path / "own.pem"))["status"] == "ok"


def test_the_name_is_looked_at(check, tls, tmp_path):
    shown = chain(tmp_path, names=("api.example.org", "127.0.0.1"))
    port = tls(shown)
    given = {"port": port, "ca_path": shown.ca_path}
    outcome = check("tls", host="localhost", **given)
    assert outcome["status"] == "critical"
    assert outcome["summary"] == f"localhost:{port}: hostname mismatch"
    assert check("tls", host="localhost", server_name="api.example.org", **given)["status"] == "ok"
    assert check("tls", host="127.0.0.1", **given)["status"] == "ok"
    outcome = check("tls", host="localhost", server_name="127.0.0.2", **given)
    assert (outcome["status"], outcome["summary"]) == ("critical", f"localhost:{port}: IP address mismatch")


def test_a_certificate_of_tomorrow(check, tls, tmp_path):
    shown = chain(tmp_path, begins=1)
    outcome = check("tls", host="localhost", port=tls(shown), ca_path=shown.ca_path, validate_certs=False)
    assert outcome["status"] == "critical"
    assert "Test Leaf is valid only in 24.0 h" in outcome["summary"]


def test_a_chain_without_its_intermediate(check, tls, tmp_path):
    shown = chain(tmp_path)
    shown.links = shown.links[:1]
    outcome = check("tls", host="localhost", port=tls(shown), ca_path=shown.ca_path)
    assert outcome["status"] == "critical"
    assert "unable to get local issuer certificate" in outcome["summary"]


def test_a_server_that_wants_a_certificate_from_us_has_shown_its_own(check, serve, tmp_path):
    shown = chain(tmp_path)
    context = shown.context
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def talk(connection):
        with contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    assert check("tls", host="localhost", port=serve(talk), ca_path=shown.ca_path)["status"] == "ok"


# --- STARTTLS --------------------------------------------------------------------------------------------------------


class Anything:
    """Takes no mail: nobody sends any."""


def test_starttls_of_a_mail_server(check, tmp_path):
    shown = chain(tmp_path, leaf=12)
    port = free_port()
    controller = Controller(Anything(), hostname="127.0.0.1", port=port, tls_context=shown.context)
    controller.start()
    try:
        given = {"host": "localhost", "port": port, "ca_path": shown.ca_path, "warning": "< 30"}
        outcome = check("tls", starttls="smtp", **given)
        assert (outcome["status"], round(outcome["metrics"]["days_remaining"])) == ("warning", 12)
        plain = check("tls", **given)
    finally:
        controller.stop()
    assert (plain["status"], plain["metrics"]) == ("critical", {})


def test_starttls_of_postgresql(check, postgresql_server, tmp_path):
    shown = chain(tmp_path, leaf=40)
    files = []
    owner = postgresql_server.socket_dir.stat()
    for name, source in zip(("tls.crt", "tls.key"), shown.files, strict=True):
        path = postgresql_server.socket_dir / name
        path.write_bytes(Path(source).read_bytes())
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
        files.append(path)
    postgresql_server.psql(f"ALTER SYSTEM SET ssl_cert_file = '{files[0]}'")
    postgresql_server.psql(f"ALTER SYSTEM SET ssl_key_file = '{files[1]}'")
    postgresql_server.psql("ALTER SYSTEM SET ssl = on")
    try:
        postgresql_server.psql("SELECT pg_reload_conf()")
        while postgresql_server.psql("SHOW ssl") != "on":
            time.sleep(0.05)
        time.sleep(0.2)  # the process that accepts connections reads its settings by itself
        outcome = check(
            "tls", host="localhost", port=postgresql_server.port, starttls="postgresql", ca_path=shown.ca_path
        )
    finally:
        postgresql_server.psql("ALTER SYSTEM RESET ALL")
        postgresql_server.psql("SELECT pg_reload_conf()")
    assert outcome["status"] == "ok", outcome
    assert round(outcome["metrics"]["days_remaining"]) == 40


TALKS: dict[str, list[tuple[bytes, bytes | None]]] = {
    "imap": [(b"* OK ready\r\n", None), (b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK\r\n", b"CAPABILITY"), (b". OK go\r\n", b"STARTTLS")],
    "pop3": [(b"+OK ready\r\n", None), (b"+OK go\r\n", b"STLS")],
    "ftp": [(b"220 ready\r\n", None), (b"234 go\r\n", b"AUTH TLS")],
    "nntp": [(b"200 ready\r\n", None), (b"101 list\r\nSTARTTLS\r\n.\r\n", b"CAPABILITIES"), (b"382 go\r\n", b"STARTTLS")],
    "sieve": [(b'"STARTTLS"\r\nOK\r\n', None), (b"OK go\r\n", b"STARTTLS")],
    "lmtp": [(b"220 ready\r\n", None), (b"250-here\r\n250 STARTTLS\r\n", b"LHLO"), (b"220 go\r\n", b"STARTTLS")],
    "xmpp": [
        (b"<stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>", b"<stream:stream"),
        (b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<starttls"),
    ],
    "mysql": [
        (b"\x47\0\0\0\x0a5.7.0\0" + bytes(4) + b"8letters\0" + b"\xff\xff\x21" + bytes(18) + b"x" * 30, None),
        (b"", b"\x20\0\0\x01"),
    ],
    "ldap": [(bytes.fromhex("300c02010178070a010004000400"), b"1.3.6.1.4.1.1466.20037")],
}  # fmt: skip


@pytest.mark.parametrize("protocol", sorted(TALKS))
def test_starttls_of_other_protocols(check, serve, tmp_path, protocol):
    """The words before TLS are each protocol's own; the rest is the same."""
    shown = chain(tmp_path)
    context = shown.context

    def talk(connection):
        for answer, asked in TALKS[protocol]:
            # the client of MySQL does not wait before it goes on
            if asked is not None and asked not in connection.recv(36 if protocol == "mysql" else 65536):
                return
            connection.sendall(answer)
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(1)

    outcome = check("tls", host="localhost", port=serve(talk), starttls=protocol, ca_path=shown.ca_path)
    assert outcome["status"] == "ok", outcome


# --- Servers that misbehave ------------------------------------------------------------------------------------------


def test_nobody_listens(check):
    outcome = check("tls", host="127.0.0.1", port=1)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("127.0.0.1:1: ")
    assert "refused" in outcome["summary"]


@pytest.mark.parametrize("starttls", [None, "smtp"])
def test_a_server_that_accepts_and_never_answers(check, hanging, starttls):
    began = time.monotonic()
    outcome = check(
        "tls", host="127.0.0.1", port=hanging, timeout="500ms", **({"starttls": starttls} if starttls else {})
    )
    assert (outcome["status"], outcome["summary"]) == ("critical", f"127.0.0.1:{hanging}: no certificate within 0.5 s")
    assert time.monotonic() - began < 10


def test_a_server_that_speaks_no_tls(check, serve):
    port = serve(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"))
    outcome = check("tls", host="127.0.0.1", port=port)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"127.0.0.1:{port}: ")
    assert ".c:" not in outcome["summary"]


def test_a_server_that_greets_for_ever(check, serve):
    def talk(connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"220-and another thing\r\n" * 1000)

    port = serve(talk)
    outcome = check("tls", host="127.0.0.1", port=port, starttls="smtp", timeout="500ms")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"127.0.0.1:{port}: no certificate within 0.5 s")


def test_an_address_of_the_sixth_version(check, tmp_path):
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        outcome = check("tls", host="::1", port=1)
        assert outcome["summary"].startswith("[::1]:1: ")
        return
    with server:
        outcome = check("tls", host="::1", port=server.getsockname()[1], timeout="300ms")
        assert outcome["summary"] == f"[::1]:{server.getsockname()[1]}: no certificate within 0.3 s"


def test_authorities_that_cannot_be_read_are_unknown(check, tmp_path):
    outcome = check("tls", host="127.0.0.1", port=1, ca_path=str(tmp_path / "none.pem"))
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(f"ca_path: {tmp_path}/none.pem cannot be read. ")


def test_a_host_without_openssl_is_unknown_by_package(check, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(
        "ansible_collections.sre.runbooks.plugins.module_utils._core.command.shutil.which", lambda *_a, **_k: None
    )
    outcome = check("tls", host="127.0.0.1", port=1)
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("openssl is not installed on this host. Install the package openssl")


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_file_of_several_certificates(check, tmp_path):
    shown = chain(tmp_path, leaf=60, intermediate=20)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(shown.links[0].key_pem + b"Leaf:\n" + shown.links[0].pem + b"# next\r\n" + shown.links[1].pem)
    outcome = check("tls", path=str(bundle), warning="< 30")
    assert (outcome["status"], round(outcome["metrics"]["days_remaining"])) == ("warning", 20)
    assert "2 certificates, the first to expire is Test Intermediate" in outcome["summary"]


@pytest.mark.parametrize(
    ("content", "status", "summary"),
    [
        (None, "critical", "No such file or directory"),
        (b"", "critical", " holds no certificate in PEM format"),
        (b"\0\xff" * 100, "critical", " holds no certificate in PEM format"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "unknown", "certificate 1 cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "unknown", "certificate 1 cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n", "unknown", "certificate 1 cannot be read"),
    ],
    ids=range(6),
)
def test_a_file_without_certificates(check, tmp_path, content, status, summary):
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_bytes(content)
    outcome = check("tls", path=str(path))
    assert outcome["status"] == status
    assert summary in outcome["summary"]
