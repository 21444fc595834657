# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates in files and as servers show them: their end, their strength, and whether what was renewed is what is served (K7).

Nothing is renewed: the stage patching does that in its window. With `dry_run` certbot proves at its authority that it could.
"""

from __future__ import annotations

import base64
import hashlib
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import (
    Context,
    Finding,
    Looked,
    absolute,
    places,
    some,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._health import tls

SERVER: dict[str, t.Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "server_name": {"type": "str"},
    "starttls": {"type": "str", "choices": list(tls.STARTTLS)},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "path": {"type": "path"},
}
OPTIONS: dict[str, t.Any] = {
    "paths": {"type": "list", "elements": "path", "default": []},
    "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER},
    "warning": {"type": "str", "default": "21d"},
    "critical": {"type": "str", "default": "7d"},
    "rsa_bits": {"type": "int", "default": 2048},
    "ec_bits": {"type": "int", "default": 224},
    "dry_run": {"type": "bool", "default": False},
    "certbot": {"type": "list", "elements": "str", "default": []},
}
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_LIMIT = 4 * 2**20


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Something must be looked at, and a warning comes before it is critical."""
    some(options, ("paths", "servers", "dry_run"), where)
    absolute(options, ("paths",), where)
    warning, critical = (units.duration(options[name], f"{where}.{name}") for name in ("warning", "critical"))
    if critical > warning:
        raise InputError(
            f"{where}.critical", options["critical"], "comes before warning", "Give warning the longer time."
        )
    for server in options["servers"]:
        if server["port"] is not None and not 1 <= server["port"] <= 65535:
            raise InputError(f"{where}.servers.port", server["port"], "is no port", "Give a number from 1 to 65535.")


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for each file, one for each server, one for certbot."""
    found = []
    for path in places(options["paths"], "paths"):
        found.append(_guarded(path, _file, path, options, context))
    for server in options["servers"]:
        where = f"{server['host']}:{server['port'] or tls.STARTTLS.get(server['starttls'], 443)}"
        found.append(_guarded(where, _server, server, options, context))
    if options["dry_run"]:
        found.append(_rehearsed(options, context))
    return found


def _guarded(target: str, work: t.Callable[..., Looked], *given: t.Any) -> Looked:
    """One certificate that cannot be read keeps no other from being looked at."""
    try:
        return work(*given)
    except TargetDown as error:
        return Looked([Finding(target, "critical", str(error))], "", target)
    except (RunbookError, OSError, ValueError) as error:
        return Looked([], "", target, unknown=f"could not be looked at: {error}")


def _file(path: str, options: t.Mapping[str, t.Any], context: Context) -> Looked:
    with open(path, encoding="ascii", errors="replace") as stream:
        text = stream.read(_LIMIT)
    return judged(path, text, options, context, [])


def _server(server: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], context: Context) -> Looked:
    where, text, problems = tls.fetch({**server, "timeout": min(context.timeout, 10.0)}, context.host)
    findings = [Finding("not_trusted", "critical", each) for each in problems] if server["validate_certs"] else []
    if server["path"]:
        with open(server["path"], encoding="ascii", errors="replace") as stream:
            in_file = fingerprint(stream.read(_LIMIT))
        if in_file != fingerprint(text):
            told = f"what is served is not the certificate of {server['path']}: reload the service"
            findings.append(Finding("not_served", "critical", told))
    return judged(where, text, options, context, findings)


def judged(
    target: str, text: str, options: t.Mapping[str, t.Any], context: Context, findings: t.Sequence[Finding]
) -> Looked:
    """What is to be said of a chain in PEM format."""
    chain = tls.certificates(text, context.host, context.timeout)
    if not chain:
        raise TargetDown(f"{target} holds no certificate in PEM format")
    found = list(findings)
    first = min(chain, key=_end)
    left = first.ends - context.host.now
    if left <= 0:
        found.append(Finding("expired", "critical", f"{first.subject} expired {units.show_duration(-left)} ago"))
    else:
        for level in ("critical", "warning"):
            if left < units.duration(options[level], level):
                found.append(Finding("expires", level, f"{first.subject} expires in {units.show_duration(left)}"))
                break
    for match in _PEM.finditer(text):
        told = context.host.commands.run(
            ["openssl", "x509", "-noout", "-text"], data=match[0] + "\n", timeout=context.timeout
        ).stdout
        found += [Finding(name, "critical", f"{target}: {problem}") for name, problem in weaknesses(told, options)]
    summary = (
        f"{len(chain)} certificates, the first to expire is {first.subject} in {units.show_duration(max(left, 0))}"
    )
    return Looked(
        found, summary, target, {"days_remaining": round(left / tls.DAY, 3)}, {"fingerprint": fingerprint(text)}
    )


def _end(certificate: tls.Certificate) -> float:
    return certificate.ends


def weaknesses(text: str, options: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """What is weak in a certificate by what `openssl x509 -text` tells; an authority's own signature proves nothing."""
    found = []
    algorithm = re.search(r"Public Key Algorithm: (\S+)", text)
    size = re.search(r"Public-Key: \((\d+) bit", text)
    kind = "ec" if algorithm and "ecPublicKey" in algorithm[1] else "rsa"
    # Ed25519 and Ed448 have one size.
    if size and algorithm and not algorithm[1].upper().startswith("ED") and int(size[1]) < options[f"{kind}_bits"]:
        found.append(("weak_key", f"its key has {size[1]} bits, less than {options[f'{kind}_bits']}"))
    signature = re.search(r"Signature Algorithm: (\S+)", text)
    issuer, subject = (re.search(rf"^\s*{name}: ?(.*)$", text, re.MULTILINE) for name in ("Issuer", "Subject"))
    of_itself = issuer is not None and subject is not None and issuer[1] == subject[1]
    if signature and re.search(r"md5|sha1", signature[1], re.IGNORECASE) and not of_itself:
        found.append(("weak_signature", f"it is signed with {signature[1]}"))
    return found


def fingerprint(text: str) -> str:
    """SHA-256 of the first certificate of a text, which is the server's own, in hexadecimal; empty where there is none."""
    match = _PEM.search(text)
    return hashlib.sha256(base64.b64decode(match[1])).hexdigest() if match else ""


def _rehearsed(options: t.Mapping[str, t.Any], context: Context) -> Looked:
    argv = ["certbot", "renew", "--dry-run", "--non-interactive", "--no-random-sleep-on-renew", *options["certbot"]]
    done = context.host.commands.run(argv, timeout=context.timeout, check=False)
    if done.rc == 0:
        return Looked([], "certbot could renew all its certificates", "certbot")
    lines = [
        line.strip()
        for line in (done.stderr + done.stdout).splitlines()
        if re.search(r"fail|error", line, re.IGNORECASE)
    ]
    return Looked(
        [Finding("not_renewable", "critical", f"certbot could not renew: {' / '.join(lines[:3])}")], "", "certbot"
    )
