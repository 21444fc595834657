# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates for tests: chains of which each link may be expired or not yet valid."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "127.0.0.1")


@dataclass
class Link:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Return the certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Return the key without password."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def link(
    subject: str, signer: Link | None = None, days: float = 90, begins: float = -30, names: tuple[str, ...] = ()
) -> Link:
    """Make a certificate that ends in `days`; with `names` it is a server's, without an authority's."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(signer.certificate.subject if signer else own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=min(begins, days - 1)))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        shown = [_name(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(shown), critical=False)
    return Link(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class Chain:
    """What a server shows: its own certificate first; `root` signs the last."""

    folder: Path
    links: list[Link]
    root: Link

    @property
    def ca_path(self) -> str:
        """Return the file of the authority to trust."""
        return self._write("root.pem", self.root.pem)

    @property
    def files(self) -> tuple[str, str]:
        """Return the files of the chain and of the server's key."""
        shown = b"".join(each.pem for each in self.links)
        return self._write("chain.pem", shown), self._write("key.pem", self.links[0].key_pem)

    @property
    def context(self) -> ssl.SSLContext:
        """Return what a server needs to speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files)
        return context

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return str(path)


def chain(
    folder: Path, leaf: float = 90, intermediate: float = 300, begins: float = -30, names: tuple[str, ...] = NAMES
) -> Chain:
    """Make root, intermediate and leaf that end in so many days."""
    folder.mkdir(parents=True, exist_ok=True)
    root = link("Test Root", days=3000)
    middle = link("Test Intermediate", root, intermediate)
    return Chain(folder, [link("Test Leaf", middle, leaf, begins, names), middle], root)
