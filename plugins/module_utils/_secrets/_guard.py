# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files in which secrets belong, and who can read them (K4)."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import matches

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import File

# Their names say that a secret is in them.
NAMES = (
    ".env", ".env.*", "*.env", ".pgpass", ".my.cnf", ".mylogin.cnf", ".netrc", ".git-credentials", ".htpasswd", ".vault_pass*", ".vault-pass*",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "ssh_host_*_key", "*/.aws/credentials", "*/.docker/config.json", "*/.kube/config",
    "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*/wireguard/*.conf", "shadow", "gshadow", "shadow-", "gshadow-", "*.age-key",
    "secrets.yml", "secrets.yaml", "secrets.json", "master.key", ".boto", ".s3cfg", "rclone.conf", ".pypirc",
)  # fmt: skip
# Their names say that there may be one; the content tells.
MAYBE = ("*.pem", "*.key", "*.cert", "*.crt", "*.asc", "*.identity")
# They may as well hold settings alone.
_SETTINGS = (
    ".env",
    ".env.*",
    "*.env",
    ".my.cnf",
    "*/.docker/config.json",
    "secrets.yml",
    "secrets.yaml",
    "secrets.json",
    ".s3cfg",
    ".boto",
    ".pypirc",
)
_NOT = (".env.example", ".env.sample", ".env.template", ".env.dist", ".env.test", "*.pub")
_MARKS = (b"PRIVATE KEY-----", b"PRIVATE KEY BLOCK-----", b"AGE-SECRET-KEY-1")
_HEAD = 65536
# Groups that packages make for those who must read keys.
FIT_GROUPS = frozenset({"root", "ssl-cert", "ssh_keys", "shadow"})


def keeps_secrets(file: File, more: t.Sequence[str], head: bytes | None = None) -> bool:
    """Whether `file` is one in which secrets belong. `head` is the begin of its content where that has been read."""
    name = os.path.basename(file.path)
    if any(matches(file.path, name, each) for each in more):
        return True
    if any(matches(file.path, name, each) for each in _NOT):
        return False
    if any(matches(file.path, name, each) for each in NAMES):
        return file.status.st_size > 0
    if head is None:
        if not any(matches(file.path, name, each) for each in MAYBE):
            return False
        head = _read_head(file.path)
    return head.lstrip().startswith((b"-----BEGIN", b"AGE-SECRET", b"# created:", b"PuTTY-User")) and any(
        mark in head for mark in _MARKS
    )


def _read_head(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _HEAD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


class Readable(t.NamedTuple):
    """A file with secrets that more than its owner and fit groups can read."""

    path: str
    mode: str
    owner: str
    group: str
    severity: str
    by: str
    sure: bool


def readable(file: File, fit: frozenset[str]) -> Readable | None:
    """Who can read `file` besides those who may; None when nobody can. The folders above count: they may be closed."""
    mode = file.status.st_mode
    folder = os.path.dirname(file.path)
    sure = not any(matches(file.path, os.path.basename(file.path), each) for each in _SETTINGS)
    owner, group = _user(file.status.st_uid), _group(file.status.st_gid)
    shown = (file.path, f"{stat.S_IMODE(mode):04o}", owner, group)
    if mode & stat.S_IROTH and _open_to_all(folder):
        return Readable(*shown, "critical", "everybody", sure)
    unfit = group not in FIT_GROUPS | fit and not _private(file.status.st_uid, file.status.st_gid)
    if mode & stat.S_IRGRP and unfit and _open_to_group(folder, file.status.st_gid):
        return Readable(*shown, "warning", f"group {group}", sure)
    return None


@functools.lru_cache(maxsize=4096)
def _open_to_all(folder: str) -> bool:
    return _passable(folder, None)


@functools.lru_cache(maxsize=4096)
def _open_to_group(folder: str, gid: int) -> bool:
    return _passable(folder, gid)


def _passable(folder: str, gid: int | None) -> bool:
    """Whether everybody, or members of `gid`, can go through `folder` and all above it."""
    while True:
        try:
            status = os.stat(folder)
        except OSError:
            return False
        bit = stat.S_IXGRP if gid is not None and status.st_gid == gid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
        if folder in ("/", ""):
            return True
        folder = os.path.dirname(folder)


@functools.lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@functools.lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@functools.lru_cache(maxsize=1024)
def _private(uid: int, gid: int) -> bool:
    """Whether nobody but `uid` is in the group: it is the user's first one, has the user's name and no other member."""
    try:
        account, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return account.pw_gid == gid and account.pw_name == group.gr_name and set(group.gr_mem) <= {account.pw_name}


def forget() -> None:
    """What was learnt about folders and accounts holds for one run: Mitogen runs many in one process."""
    for cache in (_open_to_all, _open_to_group, _user, _group, _private):
        cache.cache_clear()
