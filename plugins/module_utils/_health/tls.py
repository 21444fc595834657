# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates: days until the first of a chain expires, and whether a client would believe them.

`openssl s_client` fetches the chain as the server sends it, for Python up to 3.12 shows no more than its first certificate.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import TIMED_OUT, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import (
    CommandFailed,
    InputError,
    RunbookError,
    TargetDown,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("days_remaining",)
# What openssl can ask for TLS in the midst of, and the port where that is usual.
STARTTLS = {
    "ftp": 21, "imap": 143, "ldap": 389, "lmtp": 24, "mysql": 3306, "nntp": 119, "pop3": 110, "postgresql": 5432, "sieve": 4190,
    "smtp": 25, "xmpp": 5222,
}  # fmt: skip
OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str"},
    "port": {"type": "int"},
    "server_name": {"type": "str"},
    "starttls": {"type": "str", "choices": list(STARTTLS)},
    "path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
FILE_LIMIT = 4 * 2**20
DAY = 86400.0
SHOWN = 10
# Each part of a name on a line of its own, in its short form, characters beyond ASCII as they are.
NAMES = "utf8,sep_multiline,sname,dump_nostr,dump_der"
_PEM = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END ")


class Certificate(t.NamedTuple):
    """Whose it is, and from when to when it is valid, in seconds since the epoch."""

    subject: str
    begins: float
    ends: float


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A server or a file."""
    if bool(options["host"]) == bool(options["path"]):
        raise InputError("host", options["host"], "must be given when path is not", "Give exactly one of the two.")
    if options["path"]:
        for name in ("port", "server_name", "starttls", "ca_path"):
            if options[name] is not None:
                raise InputError(
                    name, options[name], "is of no use for a file", "Leave it out, or give host instead of path."
                )
    if options["port"] is not None and not 1 <= options["port"] <= 65535:
        raise InputError("port", options["port"], "is no port", "Give a number from 1 to 65535.")


def programs(_options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host."""
    return ["openssl"]


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Look at every certificate. One outside its time is critical, and so is what a client would not believe."""
    problems: list[str] = []
    if options["path"]:
        where, chain = options["path"], _from_file(options, host)
    else:
        where, chain, problems = _from_server(options, host)
    return [observation(where, chain, problems if options["validate_certs"] else [], host.now)]


def observation(where: str, chain: t.Sequence[Certificate], problems: t.Sequence[str], now: float) -> Observation:
    """Judge a chain of one certificate or more; `problems` are what a client has against it."""
    first = min(chain, key=lambda each: each.ends)
    left = first.ends - now
    telling = list(problems)
    if left <= 0:
        telling.insert(0, f"{first.subject} expired {show_duration(-left)} ago")
    telling += [
        f"{each.subject} is valid only in {show_duration(each.begins - now)}" for each in chain if each.begins > now
    ]
    whole = f"{where}: {len(chain)} certificates, the first to expire is {first.subject}"
    summary = f"{where}: {'; '.join(telling)}" if telling else f"{whole} in {show_duration(left)}"
    details = {"certificates": [{"subject": each.subject, "expires": _iso(each.ends)} for each in chain[:SHOWN]]}
    return Observation(
        {"days_remaining": round(left / DAY, 3)}, summary, "critical" if telling else "ok", details=details
    )


def _from_file(options: t.Mapping[str, t.Any], host: Host) -> list[Certificate]:
    path = options["path"]
    try:
        with open(path, encoding="ascii", errors="replace", newline="") as stream:
            text = stream.read(FILE_LIMIT)
    except FileNotFoundError as error:
        raise TargetDown(f"{path}: {error.strerror}") from error
    chain = certificates(text, host, options["timeout"])
    if not chain:
        raise TargetDown(f"{path} holds no certificate in PEM format")
    return chain


def _from_server(options: t.Mapping[str, t.Any], host: Host) -> tuple[str, list[Certificate], list[str]]:
    """Where it is, its chain, and what a client has against it."""
    where, shown, problems = fetch(options, host)
    return where, certificates(shown, host, options["timeout"]), problems


def fetch(options: t.Mapping[str, t.Any], host: Host) -> tuple[str, str, list[str]]:
    """Where it is, a text with the chain in PEM format as the server sends it, and what a client has against it."""
    if options["ca_path"] and not os.access(options["ca_path"], os.R_OK):
        raise RunbookError(f"ca_path: {options['ca_path']} cannot be read. Name a file of certificates in PEM format.")
    where, argv = _client(options)
    # At the end of its input it ends the connection, once TLS is there. What we wrote to it could break its pipe.
    silent = ["sh", "-c", 'exec "$@" </dev/null', "sh", require("openssl"), *argv]
    done = host.commands.run(silent, timeout=options["timeout"], check=False)
    if done.rc == TIMED_OUT:
        raise TargetDown(f"{where}: no certificate within {options['timeout']:g} s")
    if not _PEM.search(done.stdout):
        raise TargetDown(f"{where}: {_why(done.stderr)}")
    return where, done.stdout, verdict(done.stdout, done.stderr)


def _client(options: t.Mapping[str, t.Any]) -> tuple[str, list[str]]:
    name, starttls = options["host"], options["starttls"]
    port = options["port"] or (STARTTLS[starttls] if starttls else 443)
    where = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    expected = options["server_name"] or name
    argv = ["s_client", "-connect", where, "-showcerts"]
    if _is_address(expected):
        argv += ["-verify_ip", expected]
    else:
        argv += ["-servername", expected, "-verify_hostname", expected]
    if starttls:
        argv += ["-starttls", "postgres" if starttls == "postgresql" else starttls]
    if options["ca_path"]:
        argv += ["-CAfile", options["ca_path"]]
    return where, argv


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except (OSError, ValueError):
            continue
        return True
    return False


def verdict(stdout: str, stderr: str) -> list[str]:
    """What openssl has against a chain: each problem once, in its words; the one of the last line where it tells no other."""
    problems = re.findall(r"verify error:num=\d+:(.+)", stderr)
    match = re.search(r"^\s*Verify return code: (\d+) \((.+)\)", stdout, re.MULTILINE)
    if match and match[1] != "0":
        problems.append(match[2])
    return list(dict.fromkeys(problem.strip() for problem in problems))


def _why(stderr: str) -> str:
    """The last thing that openssl says, without the places in its source."""
    refused = re.search(r"^connect:errno=(\d+)", stderr, re.MULTILINE)
    if refused:
        return os.strerror(int(refused[1]))
    told = [re.sub(r"^[0-9A-F]+:error:[0-9A-F]*:", "", line.strip()) for line in stderr.splitlines() if line.strip()]
    kept = [re.sub(r":[^:]*\.c:\d+:.*$", "", line) for line in told if not line.startswith("Connecting to ")]
    return " / ".join(dict.fromkeys(kept[-2:])) or "openssl shows no certificate"


def certificates(text: str, host: Host, timeout: float) -> list[Certificate]:
    """Every certificate in a text in PEM format, whatever else is in it; RunbookError for one that cannot be read.

    `openssl x509` reads one at a time; each takes a few milliseconds.
    """
    found = []
    for number, match in enumerate(_PEM.finditer(text), 1):
        pem = f"-----BEGIN CERTIFICATE-----\n{match[1].strip()}\n-----END CERTIFICATE-----\n"
        argv = ["openssl", "x509", "-noout", "-subject", "-startdate", "-enddate", "-nameopt", NAMES]
        try:
            found.append(parsed(host.commands.run(argv, data=pem, timeout=timeout).stdout))
        except (CommandFailed, ValueError) as error:
            raise RunbookError(f"certificate {number} cannot be read: {error}") from error
    return found


def parsed(text: str) -> Certificate:
    """Read what `openssl x509` tells of a certificate; ValueError for dates that are none.

    The subject is its common name, else the last part that it has, each of which stands on a line of its own.
    """
    begins = re.search(r"^notBefore=(.+)$", text, re.MULTILINE)
    ends = re.search(r"^notAfter=(.+)$", text, re.MULTILINE)
    if begins is None or ends is None:
        raise ValueError("openssl tells no dates of it")
    parts = re.findall(r"^    (\w+)=(.*)$", text, re.MULTILINE)
    subject = dict(parts).get("CN") or (parts[-1][1] if parts else "a certificate without name")
    return Certificate(subject, float(ssl.cert_time_to_seconds(begins[1])), float(ssl.cert_time_to_seconds(ends[1])))


def _iso(seconds: float) -> str:
    """Certificates may be valid beyond what the standard library's dates can say."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "never"
