# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates on the host whose expiry no check watches: those that ports show, and those in files."""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import hashlib
import os
import re
import socket
import ssl
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.connect import connect
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health import tls
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _listeners, _servers
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "certificate_uncovered": "the certificate expires, and nobody is told before",
    "certificate_unreadable": "whether the certificate is watched cannot be said",
}
# certbot's folders, and where the configurations of web servers and mail servers name theirs.
FILES = ("/etc/letsencrypt/live/*/fullchain.pem",)
CONFIGURATIONS = (
    "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*", "/etc/nginx/sites-enabled/*", "/etc/apache2/sites-enabled/*",
    "/etc/httpd/conf.d/*.conf", "/etc/haproxy/haproxy.cfg", "/etc/postfix/main.cf", "/etc/dovecot/conf.d/10-ssl.conf",
)  # fmt: skip
_NAMED = re.compile(
    r"^\s*(?:ssl_certificate|SSLCertificateFile|smtpd_tls_cert_file\s*=|smtpd_tls_chain_files\s*=|ssl_cert\s*=\s*<|bind\s.*?\bcrt)"
    r"\s*\"?(/[^\s;\",]+)",
    re.MULTILINE,
)
# Ports whose protocols answer no TLS greeting, and write it to their logs.
PLAIN = (22, 25, 53, 80, 110, 111, 143)
SECONDS = 1.0
MOST_PORTS = 100
WORKERS = 16
_CONFIGURATION_BYTES = 2**20
_FILE_BYTES = 2**20


class Shown(t.NamedTuple):
    """A certificate in DER form, and where it was seen."""

    der: bytes
    where: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of it, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()


def look(inventory: Inventory, host: Host) -> Looked:
    """Compare what ports show and files hold with what the checks of the type tls look at."""
    watching = [each for each in inventory.checks if each.type == "tls"]
    shown = _by_ports(inventory)
    findings: list[Finding] = []
    for path in files():
        try:
            shown.append(Shown(_first_of(path), path))
        except (OSError, ValueError) as error:
            text = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
            findings.append(Finding(f"tls:{path}", "unknown", "certificate_unreadable", text, "Run with become"))
    watched, ports = _watched(watching)
    by_fingerprint: dict[str, list[Shown]] = {}
    for each in shown:
        by_fingerprint.setdefault(each.fingerprint, []).append(each)
    for fingerprint, places in by_fingerprint.items():
        if fingerprint not in watched and not {each.where for each in places} & ports:
            findings.append(_uncovered(places, host))
    return Looked(findings, f"{len(by_fingerprint)} certificates, none without a check of its expiry")


def files() -> list[str]:
    """Certificates by certbot's folders and by what the servers' configurations name."""
    found = [path for pattern in FILES for path in sorted(glob.glob(pattern))]
    for pattern in CONFIGURATIONS:
        for path in sorted(glob.glob(pattern)):
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
                found += [each for each in _NAMED.findall(stream.read(_CONFIGURATION_BYTES)) if "$" not in each]
    by_file: dict[str, str] = {}
    for path in found:
        if os.path.isfile(path) or not os.path.exists(path):
            by_file.setdefault(os.path.realpath(path), path)
    return list(by_file.values())


def _first_of(path: str) -> bytes:
    """The first certificate of a PEM file, which is the server's own; ValueError when there is none."""
    with open(path, encoding="ascii", errors="replace") as stream:
        text = stream.read(_FILE_BYTES)
    match = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    if match is None:
        raise ValueError("it holds no certificate in PEM format")
    return ssl.PEM_cert_to_DER_cert(match[0])


def _by_ports(inventory: Inventory) -> list[Shown]:
    """What the ports of this host show to a TLS greeting."""
    chosen = greeted(inventory)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(_greet, chosen))
    seen: dict[int, Shown] = {}
    for (_address, port), der in zip(chosen, answers):
        if der:
            seen.setdefault(port, Shown(der, str(port)))
    return list(seen.values())


def greeted(inventory: Inventory) -> list[tuple[str, int]]:
    """Addresses and ports that are greeted: all that are listened on but for those that a check knows as something else."""
    plain = set(PLAIN) | set(_servers.PORTS.values())
    for check in inventory.checks:
        host, port = _listeners.address(check)
        if port and check.type not in ("tls", "port") and not _encrypted(check) and _servers.is_local(host):
            plain.add(port)
    found = {(each.reach, each.port) for each in _listeners.listeners()}
    if inventory.tls_ports is not None:
        return sorted((each for each in found if each[1] in inventory.tls_ports), key=_by_port)
    return sorted((each for each in found if each[1] not in plain), key=_by_port)[:MOST_PORTS]


def _by_port(place: tuple[str, int]) -> tuple[int, str]:
    return place[1], place[0]


def _encrypted(check: Check) -> bool:
    return str(check.options.get("url") or "").startswith("https:")


def _greet(place: tuple[str, int], name: str | None = None) -> bytes | None:
    """The certificate that a port shows; None when it speaks no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Nothing is said but the greeting: whether the certificate is good is the matter of the check.
    context.verify_mode = ssl.CERT_NONE
    try:
        deadline = time.monotonic() + SECONDS
        with connect(place[0], place[1], deadline) as plain:
            plain.settimeout(SECONDS)
            with context.wrap_socket(plain, server_hostname=name or "localhost") as channel:
                return channel.getpeercert(binary_form=True)
    except (OSError, ValueError, UnicodeError):
        return None


def _watched(checks: t.Sequence[Check]) -> tuple[set[str], set[str]]:
    """Fingerprints of the certificates that checks look at, and the local ports of those that begin with STARTTLS."""
    fingerprints: set[str] = set()
    ports: set[str] = set()
    for check in checks:
        options = check.options
        if options["path"]:
            with contextlib.suppress(OSError, ValueError):
                fingerprints.add(hashlib.sha256(_first_of(options["path"])).hexdigest())
            continue
        host, port = _listeners.address(check)
        if options["starttls"] or port is None:
            continue
        if _servers.is_local(host):
            ports.add(str(port))
        der = _greet((host, port), options["server_name"] or host)
        if der:
            fingerprints.add(hashlib.sha256(der).hexdigest())
    return fingerprints, ports


def _uncovered(places: t.Sequence[Shown], host: Host) -> Finding:
    where = sorted({each.where for each in places}, key=_file_first)
    text = "no check of the type tls looks at it"
    with contextlib.suppress(RunbookError):
        pem = ssl.DER_cert_to_PEM_cert(places[0].der)
        (certificate,) = tls.certificates(pem, host, SECONDS)
        text = f"{certificate.subject}, {show_duration(certificate.ends - host.now)} left: {text}"
    ports = [each for each in where if each.isdigit()]
    if ports:
        text += f" (shown on port {', '.join(ports)})"
    options = f"path: {where[0]}" if not where[0].isdigit() else f"host: {socket.gethostname()}, port: {where[0]}"
    return Finding(
        f"tls:{where[0]}", "warning", "certificate_uncovered", text,
        f'Add a check: {{name: certificate, type: tls, {options}, warning: "< 21", critical: "< 7"}}',
    )  # fmt: skip


def _file_first(where: str) -> tuple[bool, str]:
    return where.isdigit(), where
