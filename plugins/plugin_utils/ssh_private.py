# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private key of the controller's disk: its public part, its fingerprint, the making of a new one."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _lines

KEYGEN_SECONDS = 30


def fingerprint(public: str) -> str:
    """The SHA256 fingerprint of a public key."""
    return _lines.fingerprint(_lines.public(public, "public")[1])


def public(path: str) -> str:
    """The public key of a private one that only its owner may read; RunbookError without any of its content."""
    try:
        info = os.stat(path)
    except OSError as error:
        raise RunbookError(f"{path}: {error.strerror}. Name the private key (ssh_keys_private_key).") from error
    if not stat.S_ISREG(info.st_mode) or stat.S_IMODE(info.st_mode) & 0o077:
        raise RunbookError(f"{path}: others than its owner may read this key. Give it mode 0600.")
    done = _keygen("-y", "-P", "", "-f", path)
    if done.returncode != 0:
        raise RunbookError(
            f"{path}: ssh-keygen cannot read this private key without a passphrase. Name one that has none; a rotation "
            "could not ask for it."
        )
    return " ".join(done.stdout.split()[:2])


def has(path: str, mark: str) -> bool:
    """Whether there is a private key with this fingerprint."""
    with contextlib.suppress(RunbookError):
        return fingerprint(public(path)) == mark
    return False


def make(path: str, comment: str) -> str:
    """Make a pair at `path` and `path`.pub, on the disk when this returns; returns the public key."""
    remove(path)
    done = _keygen("-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
    if done.returncode != 0:
        remove(path)
        raise RunbookError(
            f"{path}: ssh-keygen cannot make the key: {done.stderr.strip()[-200:]}. Make room or give access."
        )
    os.chmod(path, 0o600)
    for each in (path, f"{path}.pub"):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return public(path)


def remove(path: str) -> None:
    """Remove a pair, if it is there."""
    for each in (path, f"{path}.pub"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(each)


def _keygen(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise RunbookError("ssh-keygen is not installed on the controller. Install the package openssh-client.")
    try:
        return subprocess.run(  # noqa: S603 - a list, no shell
            [program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=KEYGEN_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise RunbookError(f"ssh-keygen did not end within {KEYGEN_SECONDS} s.") from error
