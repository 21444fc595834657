# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates as openssl tells of them, held against the library cryptography (H10, K7)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, tls

EC = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


def made(names=(("CN", "api.example.org"),), begins=NOW, ends=NOW + timedelta(days=90), key=EC, kind=None):
    """A certificate in DER."""
    oids = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "C": NameOID.COUNTRY_NAME}
    subject = x509.Name(
        [x509.NameAttribute(oids[name], value, **({"_type": kind} if kind else {})) for name, value in names]
    )
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(2**150 + 7).not_valid_before(begins).not_valid_after(ends)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("n" * 60 + ".org")] * 50), False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def read():
    with patch_module_args({}):
        module = AnsibleModule(argument_spec={})
    host = _check.Host(Commands(module.run_command), NOW.timestamp())
    return lambda text: tls.certificates(text.decode("ascii", "replace"), host, 30)


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({}, "api.example.org"),
        ({"names": (("C", "DE"), ("CN", "Grüße 日本"), ("O", "Example"))}, "Grüße 日本"),
        ({"names": (("C", "DE"), ("O", "Example Authority"))}, "Example Authority"),
        ({"names": (("CN", "Größe"),), "kind": x509.name._ASN1Type.BMPString}, "Größe"),
        ({"names": ()}, "a certificate without name"),
        ({"key": rsa.generate_private_key(65537, 4096)}, "api.example.org"),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, "api.example.org"),
        ({"begins": datetime(1951, 1, 1, tzinfo=UTC), "ends": datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)}, "api.example.org"),
        ({"begins": datetime(2050, 1, 1, tzinfo=UTC), "ends": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, "api.example.org"),
    ],
    ids=range(9),
)  # fmt: skip
def test_read_as_the_library_reads_it(read, given, subject):
    data = made(**given)
    library = x509.load_der_x509_certificate(data)
    assert read(library.public_bytes(serialization.Encoding.PEM)) == [
        (
            subject,
            library.not_valid_before_utc.timestamp(),
            library.not_valid_after_utc.timestamp(),
        )
    ]


def test_what_is_cut_short_or_broken_is_told(read):
    data = made()
    broken = [data[:end] for end in (0, 1, 50, 200, len(data) - 1)]
    broken += [data[:place] + b"\xff" + data[place + 1 :] for place in (0, 1, 4, 10)]
    for each in broken:
        with pytest.raises(RunbookError, match="certificate 1 cannot be read"):
            read(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(each) + b"-----END CERTIFICATE-----\n")


def test_certificates_among_other_things(read):
    certificate = x509.load_der_x509_certificate(made()).public_bytes(serialization.Encoding.PEM)
    key = EC.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    text = (
        b"CONNECTED(00000003)\n"
        + key
        + certificate
        + b"\xff\0"
        + certificate.replace(b"\n", b"\r\n")
        + b"-----BEGIN CERT"
    )
    assert [each.subject for each in read(text)] == ["api.example.org"] * 2


@pytest.mark.parametrize(
    ("stdout", "stderr", "problems"),
    [
        ("    Verify return code: 0 (ok)\n", "depth=2 CN = R\nverify return:1\n", []),
        (
            "Verify return code: 62 (hostname mismatch)\n",
            "verify error:num=20:unable to get local issuer certificate\nverify error:num=62:hostname mismatch\n",
            ["unable to get local issuer certificate", "hostname mismatch"],
        ),
        ("Verify return code: 10 (certificate has expired)\n", "", ["certificate has expired"]),
        ("", "", []),
    ],
)
def test_what_openssl_has_against_a_chain(stdout, stderr, problems):
    assert tls.verdict(stdout, stderr) == problems


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "host: None must be given when path is not. Give exactly one of the two."),
        ({"host": "a", "path": "/a"}, "host: 'a' must be given when path is not. "),
        ({"path": "/a", "starttls": "smtp"}, "starttls: 'smtp' is of no use for a file. Leave it out, or give host instead of path."),
        ({"path": "/a", "port": 443}, "port: 443 is of no use for a file."),
        ({"host": "a", "port": 0}, "port: 0 is no port. Give a number from 1 to 65535."),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(RunbookError) as caught:
        _check.read([{"name": "x", "type": "tls", **given}])
    assert str(caught.value).startswith(f"checks[0] (x).{message}")
