# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and folders that anybody may write to, and programs that run with another's rights though no package brought them so."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import Context, Finding, Looked, absolute
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

OPTIONS: dict[str, t.Any] = {
    "folders": {"type": "list", "elements": "path", "default": ["/"]},
    "exclude": {"type": "list", "elements": "path", "default": []},
    "one_file_system": {"type": "bool", "default": True},
    "allowed": {"type": "list", "elements": "path", "default": []},
    "most_files": {"type": "int", "default": 5_000_000},
}
# Kernel's own, and the layers of containers, whose programs have rights only inside.
NEVER = ("/proc", "/sys", "/dev", "/run", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/snap")
# Programs that distributions install with the rights of their owner or group.
BASELINE = frozenset(
    {
        "at", "chage", "chfn", "chsh", "crontab", "dbus-daemon-launch-helper", "dotlockfile", "exim4", "expiry", "fusermount",
        "fusermount3", "gpasswd", "kismet_capture", "locate", "lockfile", "mlocate", "mount", "mount.cifs", "mount.nfs", "mtr-packet",
        "newgidmap", "newgrp", "newuidmap", "ntfs-3g", "pam_extrausers_chkpwd", "pam_timestamp_check", "passwd", "ping", "ping6",
        "pkexec", "plocate", "polkit-agent-helper-1", "postdrop", "postqueue", "postlog", "pppd", "sg", "snap-confine", "ssh-agent",
        "ssh-keysign", "su", "sudo", "sudoedit", "umount", "unix_chkpwd", "unix_update", "userhelper", "usernetctl", "utempter",
        "wall", "write", "bsd-write", "bsd-wall", "Xorg.wrap", "chrome-sandbox", "grub2-set-bootflag", "sssd_pam", "krb5_child",
        "ldap_child", "proxy_child", "selinux_child", "p11_child", "lxc-user-nic", "virt-spice-client-glib-usb-acl-helper",
        "camel-lock-helper-1.2", "mail-lock", "mail-touchlock", "mail-unlock", "screen", "vmware-user-suid-wrapper",
    }
)  # fmt: skip
_ARGUMENTS = 200
_SECONDS_KEPT = 10.0
_OWNED = re.compile(r"^(?!diversion by)[^:\n]+(?::[^:\n /]+)?(?:, [^:\n]+)*: (/.+)$", re.MULTILINE)


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Patterns of allowed programs must not allow all."""
    absolute(options, ("folders", "exclude"), where)
    for pattern in options["allowed"]:
        if not pattern.startswith("/") or not pattern.strip("/*?"):
            raise InputError(f"{where}.allowed", pattern, "would allow too much", "Name programs by their paths.")


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for all folders."""
    walk = _Walk(options, time.monotonic() + max(1.0, context.timeout - _SECONDS_KEPT))
    for folder in options["folders"]:
        walk.through(os.path.normpath(folder))
    findings = [
        Finding(path, "critical" if kind == "folder" else "warning", f"{path}: anybody may write to this {kind}")
        for path, kind in sorted(walk.writable.items())
    ]
    findings += _surprises(walk.privileged, options["allowed"], context)
    metrics = {"files": walk.seen, "world_writable": len(walk.writable), "privileged": len(walk.privileged)}
    unknown = walk.unfinished
    if walk.unreadable:
        unknown = (
            f"{unknown}{'; ' if unknown else ''}{len(walk.unreadable)} folders may not be read ({walk.unreadable[0]})"
        )
    return [Looked(findings, f"{walk.seen} files looked at", "", metrics, {}, unknown)]


class _Walk:
    """Looks at every file once, without following links."""

    def __init__(self, options: t.Mapping[str, t.Any], deadline: float) -> None:
        self.writable: dict[str, str] = {}
        self.privileged: dict[str, int] = {}
        self.unreadable: list[str] = []
        self.unfinished = ""
        self.seen = 0
        self._excluded = frozenset(os.path.normpath(path) for path in (*NEVER, *options["exclude"]))
        self._stay = options["one_file_system"]
        self._most = options["most_files"]
        self._deadline = deadline

    def through(self, top: str) -> None:
        """Look below `top`, and at it."""
        about = os.stat(top, follow_symlinks=False)
        self._judge(top, about)
        todo = [top] if stat.S_ISDIR(about.st_mode) else []
        while todo and not self.unfinished:
            folder = todo.pop()
            if self.seen >= self._most or time.monotonic() > self._deadline:
                self.unfinished = (
                    f"only {self.seen} files were looked at, up to {folder}: give more time, or fewer folders"
                )
                return
            try:
                with os.scandir(folder) as entries:
                    todo += [entry.path for entry in entries if self._entry(entry, about.st_dev)]
            except FileNotFoundError:
                continue
            except OSError:
                self.unreadable.append(folder)

    def _entry(self, entry: os.DirEntry[str], device: int) -> bool:
        """Judge it; whether it is a folder to look into."""
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        inside = stat.S_ISDIR(about.st_mode)
        if inside and (entry.path in self._excluded or (self._stay and about.st_dev != device)):
            return False
        self._judge(entry.path, about)
        return inside

    def _judge(self, path: str, about: os.stat_result) -> None:
        self.seen += 1
        mode = about.st_mode
        if stat.S_ISDIR(mode):
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                self.writable[path] = "folder"
        elif stat.S_ISREG(mode):
            if mode & stat.S_IWOTH:
                self.writable[path] = "file"
            if mode & stat.S_ISUID or (mode & stat.S_ISGID and mode & stat.S_IXGRP):
                self.privileged[path] = mode


def _surprises(privileged: t.Mapping[str, int], allowed: t.Sequence[str], context: Context) -> list[Finding]:
    """Programs with another's rights that no package brought, or that a package did not bring so."""
    asked = {
        path: mode for path, mode in privileged.items() if not any(fnmatch.fnmatchcase(path, each) for each in allowed)
    }
    if not asked:
        return []
    if shutil.which("dpkg-query"):
        brought, expected = _dpkg(list(asked), context)
    elif shutil.which("rpm"):
        brought, expected = _rpm(list(asked), context)
    else:
        brought, expected = set(), set()
    findings = []
    for path, mode in sorted(asked.items()):
        rights = "set-uid" if mode & stat.S_ISUID else "set-gid"
        if path not in brought:
            findings.append(Finding(path, "critical", f"{path} is {rights}, and no package brought it"))
        elif path not in expected:
            findings.append(
                Finding(path, "warning", f"{path} is {rights}, which is not usual for a program of its package")
            )
    return findings


def _dpkg(paths: t.Sequence[str], context: Context) -> tuple[set[str], set[str]]:
    """Those that a package brought, and those whose rights are expected: dpkg keeps no modes, so by name or by an override."""
    names = {path: path for path in paths}
    # Packages may name a file by the folder that is a link to /usr since the two were merged.
    names.update({path[4:]: path for path in paths if path.startswith("/usr/")})
    brought = set()
    asked = sorted(names)
    for start in range(0, len(asked), _ARGUMENTS):
        argv = ["dpkg-query", "--search", *asked[start : start + _ARGUMENTS]]
        text = context.host.commands.run(argv, timeout=context.timeout, check=False).stdout
        brought |= {names[path] for path in _OWNED.findall(text) if path in names}
    text = context.host.commands.run(["dpkg-statoverride", "--list"], timeout=context.timeout, check=False).stdout
    overridden = {words[3] for words in (line.split(None, 3) for line in text.splitlines()) if len(words) == 4}
    return brought | overridden, {path for path in paths if os.path.basename(path) in BASELINE} | overridden


def _rpm(paths: t.Sequence[str], context: Context) -> tuple[set[str], set[str]]:
    """The same from rpm, which knows the mode that each file was packed with."""
    brought, expected = set(), set()
    for start in range(0, len(paths), _ARGUMENTS):
        some = paths[start : start + _ARGUMENTS]
        argv = ["rpm", "--query", "--file", "--queryformat", "[%{FILEMODES:octal} %{FILENAMES}\n]", *some]
        for line in context.host.commands.run(argv, timeout=context.timeout, check=False).stdout.splitlines():
            mode, _space, path = line.partition(" ")
            if path in some and mode.isdigit():
                brought.add(path)
                if int(mode, 8) & (stat.S_ISUID | stat.S_ISGID):
                    expected.add(path)
    return brought, expected
