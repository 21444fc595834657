# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of an authorized_keys file, each kept as it is but for those that are added or taken away.

A line is `[options] type base64 [comment]`; options may hold blanks within double quotes, in which a backslash keeps a quote from ending them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")
_OPTIONS = re.compile(r'(?:"(?:\\"|\\(?!")|[^"\\])*"|[^\s"])+')


class Line(t.NamedTuple):
    """One line with its end; `blob` is the key that it is about, None for a comment and for what sshd would pass over."""

    text: str
    options: str = ""
    blob: bytes | None = None


def split(text: str) -> list[Line]:
    """All lines of a file."""
    return [_line(each) for each in re.findall(r"[^\n]*\n|[^\n]+", text)]


def _line(text: str) -> Line:
    bare = text.strip()
    if not bare or bare.startswith("#"):
        return Line(text)
    words = bare.split(None, 2)
    if _TYPE.fullmatch(words[0]):
        return Line(text, "", _blob(words[1] if len(words) > 1 else ""))
    match = _OPTIONS.match(bare)
    if match is None:
        return Line(text)
    words = bare[match.end() :].split(None, 2)
    if len(words) < 2 or not _TYPE.fullmatch(words[0]):
        return Line(text)
    return Line(text, match.group(), _blob(words[1]))


def _blob(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def public(text: str, option: str) -> tuple[str, bytes]:
    """A public key as `ssh-keygen` writes it: its type, key and comment without an end of line, and the key alone."""
    words = text.split()
    blob = _blob(words[1]) if len(words) > 1 and _TYPE.fullmatch(words[0]) and "\n" not in text.strip() else None
    if blob is None:
        raise InputError(option, text[:60], "is no public key", "Give the one line of a file such as id_ed25519.pub.")
    return text.strip(), blob


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` shows it; a public key's is no secret."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def added(lines: t.Sequence[Line], key: str, blob: bytes, beside: t.Sequence[bytes]) -> list[Line]:
    """The lines with `key` after each one of the first key of `beside` that is there, with its options; as they are when it is there."""
    found = list(lines)
    if any(line.blob == blob for line in lines):
        return found
    model = next((each for each in beside if any(line.blob == each for line in lines)), None)
    result: list[Line] = []
    for line in found:
        if model is None or line.blob != model:
            result.append(line)
            continue
        end = re.search(r"\r?\n?\Z", line.text)
        ending = (end.group() if end else "") or "\n"
        if not line.text.endswith("\n"):
            line = line._replace(text=line.text + ending)
        text = f"{line.options} {key}" if line.options else key
        result += [line, Line(text + ending, line.options, blob)]
    return result


def without(lines: t.Sequence[Line], blobs: t.Collection[bytes]) -> list[Line]:
    """The lines without these keys."""
    return [line for line in lines if line.blob is None or line.blob not in blobs]


def joined(lines: t.Sequence[Line]) -> str:
    """The text of a file."""
    return "".join(line.text for line in lines)
