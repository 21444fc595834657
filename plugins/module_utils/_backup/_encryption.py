# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption of copies by age: who may read them, and how a host proves a copy that it cannot read.

A host that is backed up need not hold the secret key. So that the very bytes that stay are decrypted, restored and
compared nevertheless, each run makes a key of its own and encrypts to it as well. The key lives in memory and is gone with
the run: nobody can use it later, neither on the host nor with the copy.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

SPEC: dict[str, t.Any] = {
    "type": "dict",
    "options": {"recipients": {"type": "list", "elements": "str"}, "identity": {"type": "path"}},
}
# How a copy was proven, for its manifest.
ONE_OFF = "decrypted with a key of this run alone, which is gone"
IDENTITY = "decrypted with the identity of the host"
# age does its work on nothing within milliseconds; a plugin or a prompt would wait for ever.
_SECONDS = 30.0
# The bech32 of an X25519 key is always as long; comments follow an SSH key.
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/]+={0,2}(?: [^\r\n]*)?")
_SECRET = re.compile(r"AGE-SECRET-KEY|PRIVATE KEY", re.IGNORECASE)
_REMEDY = "Give public keys of age (age1…, by age-keygen) or SSH (ssh-ed25519 or ssh-rsa)."


def read(options: t.Mapping[str, t.Any] | None, option: str) -> tuple[tuple[str, ...], str | None]:
    """Recipients and path of the identity; no recipients when there is nothing to encrypt. InputError names `option`."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if not given:
        return (), None
    recipients = given.get("recipients")
    if not recipients:
        raise InputError(f"{option}.recipients", recipients, "names nobody who could read the copies", _REMEDY)
    return tuple(_recipient(each.strip(), f"{option}.recipients") for each in recipients), given.get("identity")


def check(recipients: t.Iterable[str], option: str, commands: Commands) -> None:
    """Let age look at each key; InputError for one that it does not take. Without age each source tells that it is missing."""
    for each in recipients if shutil.which("age") else ():
        done = commands.run(_packing.encrypt([each]), data="", check=False, timeout=_SECONDS)
        if done.rc:
            raise InputError(option, each, f"is no key that age encrypts to: {_last(done.stderr)}", _REMEDY)


@contextlib.contextmanager
def provable(work: Work, identity: str | None) -> t.Iterator[Work]:
    """`work` with a key that opens what it packs, for as long as the block runs.

    RunbookError when the `identity` of the host does not open what is encrypted to the recipients.
    """
    if not work.packing.recipients or work.level == "checksum":
        yield work
    elif identity is not None:
        _opens(work, identity)
        yield work._replace(identity=identity)
    else:
        with _one_off_key(work.commands) as (recipient, path):
            packing = work.packing._replace(recipients=(*work.packing.recipients, recipient))
            yield work._replace(packing=packing, identity=path)


def recorded(recipients: t.Sequence[str], level: str, identity: str | None) -> dict[str, t.Any]:
    """What a manifest says of it: for whom, and how the copy is proven. The key of the run is nobody's and not named."""
    found: dict[str, t.Any] = {"program": "age", "recipients": list(recipients)}
    if level != "checksum":
        found["proof"] = ONE_OFF if identity is None else IDENTITY
    return found


@contextlib.contextmanager
def _one_off_key(commands: Commands) -> t.Iterator[tuple[str, str]]:
    """The public key and the path of a new secret key, which is in memory only and open to this user's processes alone."""
    text = commands.run(["age-keygen"], timeout=_SECONDS).stdout
    found = re.search(r"^# public key: (\S+)$", text, re.MULTILINE)
    if found is None:
        raise RunbookError("age-keygen gives no public key. Install the package age, version 1.0 or newer.")
    descriptor = os.memfd_create("age-identity")
    try:
        # /proc/<pid>/fd is closed to other users by itself; the mode says so once more.
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, text.encode())
        yield found[1], f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _opens(work: Work, identity: str) -> None:
    try:
        work.commands.pipeline(
            [
                ["cat", os.devnull],
                _packing.encrypt(work.packing.recipients),
                ["age", "--decrypt", "--identity", identity],
            ],
            timeout=_SECONDS,
        )
    except CommandFailed as error:
        raise RunbookError(
            f"encryption.identity: {identity} does not open copies for these recipients: {_last(error.stderr)}. "
            "Name the file with the secret key of one of them, or leave it out: then each copy is proven with a key of its run."
        ) from error


def _recipient(text: str, option: str) -> str:
    if _SECRET.search(text):
        raise InputError(
            option, "(a secret key, not shown)", "must not be here", f"Whoever has it reads all copies. {_REMEDY}"
        )
    if text.startswith("age1") and not _RECIPIENT.fullmatch(text):
        raise InputError(
            option,
            text,
            "is no X25519 key; keys of plugins and post-quantum keys cannot be mixed with the one that each copy is proven with",
            _REMEDY,
        )
    if not _RECIPIENT.fullmatch(text):
        raise InputError(option, text, "is no public key", _REMEDY)
    return text


def _last(stderr: str) -> str:
    lines = [line.partition("error: ")[2] for line in stderr.splitlines() if "error: " in line]
    return lines[0].rstrip(".") if lines else "age gives no reason"
