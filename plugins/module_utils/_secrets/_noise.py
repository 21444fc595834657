# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks like a secret and is none (K4): examples, references, prose, identifiers.

It is decided by the value, which an engine gives as a digest only: the pieces of the line are tried until one has it.
Kinds of a fixed form (keys of providers, private keys) are held against examples alone.
"""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._secrets._engine import sha1
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._rules import COMMAND, OWN, QUERY, VARIABLE

KEYWORD, BASIC = "Secret Keyword", "Basic Auth Credentials"
ENTROPY = ("Base64 High Entropy String", "Hex High Entropy String")
# gitleaks' rule that goes by names of variables.
GENERIC = "generic-api-key"
PRIVATE_KEYS = ("Private Key", "private-key")
GUESSED = frozenset({KEYWORD, BASIC, GENERIC, *ENTROPY, *OWN})
# Of these many are found in any host's files, of which few are secrets.
WARNING = frozenset({KEYWORD, GENERIC, *ENTROPY, COMMAND, QUERY, VARIABLE, "JSON Web Token", "jwt"})
_EXAMPLE = re.compile(
    r"(?i)example|change[-_ ]?(?:me|this|it)|place[-_]?holder|redacted|your[-_ ]|my[-_]?(?:pass|secret|sekret|token|key)|dummy|foobar|"
    r"insert[-_ ]|replace[-_ ]?(?:me|with)|to[-_]?do\b|x{4,}|\*{3,}|\.{3}|12345|abcdef|deadbeef|lorem|sample|fake|s3cr3t"
)
_TEMPLATE = re.compile(
    r"\$\{|\$\(|\{\{|\}\}|\{%|<%|%\(|^\$|^%[sdrv]\b|^<[^>]*>?$|^\{.*\}$|^%[sdrv]$|^@[\w.]+@?$|^!vault|^\[.*\]$|^__\w+__$|^ENC\["
)
_PATH = re.compile(r"(?:file:|https?:/)?(?:~|\.{1,2})?/[\w@.+%:/ -]*")
_REFERENCE = re.compile(
    r"(?:self|this|os|env|config|settings|options|args|params|process|request|os\.environ|getenv|lookup|vault|secrets)[.\[(]\S*|"
    r"[A-Za-z_]\w*\(.*|[A-Za-z_]+(?:\.[A-Za-z_]+)+|&\w+"
)
_WORDS = frozenset({
    "password", "passwd", "pass", "pwd", "secret", "token", "none", "null", "nil", "true", "false", "yes", "no", "on", "off", "prompt", "ask",
    "hidden", "required", "optional", "default", "unset", "empty", "admin", "root", "user", "username", "test", "testing", "tests", "demo", "guest",
    "anonymous", "public", "private", "string", "str", "int", "bool", "bytes", "text", "file", "files", "stdin", "env", "environment", "keyring",
    "keychain", "plain", "md5", "sha1", "sha256", "sha512", "bcrypt", "scrypt", "argon2", "yescrypt", "pam_unix", "interactive", "required_pass",
    "nopass", "nopasswd", "disabled", "enabled", "never", "always", "auto", "unknown", "undefined", "unused", "invalid", "missing", "postgres",
    "mysql", "localhost", "scram-sha-256", "peer", "trust", "reject", "cert", "negotiate", "kerberos",
})  # fmt: skip
_IDENTIFIER = re.compile(r"[A-Za-z]+(?:[-_ .:/][A-Za-z]+)*[-_:.]?\d?")
_CRYPTED = re.compile(
    r"(?:sha(?:1|256|384|512)|md5|integrity|checksum|digest|fingerprint|etag|hash|commit|revision|uuid|guid|oid|blake2b?|nonce)s?\b",
    re.IGNORECASE,
)
# After the first line of a key comes the key, or its headers; programs that know the form name the first line alone.
_KEY_BODY = re.compile(
    r"PRIVATE KEY(?: BLOCK)?-----(?:\\[rn]|[\s\"'+,;|#>*])*(?:[A-Za-z0-9+/=]{16}|(?:Proc-Type|DEK-Info|Version|Comment):)|PuTTY-User-Key-File"
)
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|`([^`]*)`")
_SEPARATOR = re.compile(r"[\s\"'`,;<>()\[\]{}&|]+")
_ASSIGNED = re.compile(r"(?::=|=>|[:=])\s*")


def value_of(line: str, digest: str) -> str | None:
    """The text of `line` whose digest an engine gave; None when it is no plain part of it."""
    for candidate in _candidates(line):
        if candidate and sha1(candidate) == digest:
            return candidate
    return None


def _candidates(line: str) -> t.Iterator[str]:
    for match in _QUOTED.finditer(line):
        yield match[1] or match[2] or match[3] or ""
    for match in _ASSIGNED.finditer(line):
        rest = line[match.end() :].strip()
        for part in (rest, rest.lstrip("\"'`"), rest.strip("\"'`"), rest.strip("\"'`").rstrip(",;\"'`")):
            yield part
            yield re.split(r"[\"'`]", part, maxsplit=1)[0]
    for part in _SEPARATOR.split(line):
        yield part
        yield part.rpartition("=")[2]
        yield part.rpartition(":")[2]
    for match in re.finditer(r"://[^\s/@]*?:([^\s@]+)@", line):
        yield match[1]


def is_noise(kind: str, value: str | None, line: str, ending: str) -> bool:
    """Whether a finding of this kind is no secret; `ending` is that of the staged file's name."""
    if kind in PRIVATE_KEYS:
        return _KEY_BODY.search(line) is None
    if kind not in GUESSED:
        return value is not None and bool(re.search(r"EXAMPLE|(.)\1{11}", value))
    if value is None:
        return kind in ENTROPY or (kind == KEYWORD and _prose(line))
    if kind in ENTROPY:
        return _CRYPTED.search(line) is not None or _dull(value, line) or _is_digest(value)
    if kind == KEYWORD:
        value = re.split(r"[\s&,;]", value.strip(), maxsplit=1)[0].strip("\"'`)") if ending == ".conf" else value
    return _dull(value, line) or (kind in (KEYWORD, GENERIC) and _weak(value, line, ending))


def _dull(value: str, line: str) -> bool:
    """Examples, templates, paths and references."""
    bare = value.strip().strip("\"'`")
    return (
        len(bare) < 4
        or bare.lower() in _WORDS
        or len(set(bare)) < 4
        or any(rule.search(bare) for rule in (_EXAMPLE, _TEMPLATE))
        or any(rule.fullmatch(bare) for rule in (_PATH, _REFERENCE))
        or "pragma: allowlist" in line
    )


def _weak(value: str, line: str, ending: str) -> bool:
    """Words and identifiers, which stand beside the word password far more often than passwords do."""
    if len(value) < 6 or value.isdigit() or " " in value:
        return True
    if not _IDENTIFIER.fullmatch(value):
        return ending != ".conf" and not any(character.isdigit() for character in value) and _entropy(value) < 3.5
    # In a file of settings, NAME=value is what it says, and a poor password is one all the same.
    return not (ending == ".conf" and len(value) >= 8 and re.match(r"\s*(?:export\s+)?[A-Z][A-Z0-9_]*=", line))


def _prose(line: str) -> bool:
    return line.lstrip().startswith(("#", "//", "*", ";")) or len(line) > 400


def _is_digest(value: str) -> bool:
    """Checksums, and the short identifiers of keys and commits."""
    return _HEX.fullmatch(value) is not None and (len(value) < 24 or len(value) in (40, 56, 64, 96, 128))


def _entropy(value: str) -> float:
    counts = [value.count(character) / len(value) for character in set(value)]
    return -sum(share * math.log2(share) for share in counts)
