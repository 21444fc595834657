# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel: its messages where this user may read them, version, command line, modules, settings."""

from __future__ import annotations

import contextlib
import os
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "messages of the kernel, version, modules, settings"
_FILES = ("/proc/version", "/proc/cmdline", "/proc/sys/kernel/tainted", "/proc/modules", "/etc/os-release")
# Folders of sysctl(8) that are worth reading after a failure; those of each network interface would be thousands.
_FOLDERS = ("/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs", "/proc/sys/net/core", "/proc/sys/net/ipv4")


def collect(work: Work) -> None:
    """Settings first: messages are often forbidden, which is told then."""
    with work.part("kernel/system.txt") as part:
        for path in _FILES:
            with contextlib.suppress(OSError):
                part.text(f"## {path}\n{_read(path)}")
    with work.part("kernel/settings.txt") as part:
        for folder in _FOLDERS:
            with contextlib.suppress(OSError):
                names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
                part.text("\n".join(_setting(f"{folder}/{name}") for name in names))
    work.program("kernel/messages.txt", ["dmesg", "--time-format=iso", "--decode", "--nopager"])


def _setting(path: str) -> str:
    name = path[len("/proc/sys/") :].replace("/", ".")
    try:
        return f"{name} = {' '.join(_read(path).split())}"
    except OSError as error:
        return f"{name}: {error.strerror}"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(1 << 18)
