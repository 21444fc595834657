# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of the operating system's packages, as the host's own package lists have them: nothing is fetched."""

from __future__ import annotations

import glob
import os
import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("security_updates", "updates", "reboot_required")
OPTIONS: dict[str, t.Any] = {}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
REBOOT_FILES = ("/run/reboot-required", "/var/run/reboot-required")
KERNELS = "/boot/vmlinuz-*"
# `amd64`, `generic`, `x86_64` at the end of a kernel's name.
FLAVOUR = re.compile(r"[a-z][a-z0-9_]*$")
# Lists that nobody has fetched for so long say nothing about what should be installed.
STALE_SECONDS = 7 * 86400
# `Inst libc6 [2.36-9] (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])`; without `[…]` first it is a new package.
INSTALLED = re.compile(r"Inst (\S+) \[[^]]*\] \(\S+ ([^)]*)\)")
SECURITY = re.compile(r"Debian-Security:|-security\b|/security\b")
# dnf: 0 is nothing to do, 100 is updates.
DNF_UPDATES = 100


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Ask apt or dnf what an upgrade would do."""
    if shutil.which("apt-get"):
        updates, security, age = _apt(options["timeout"], host)
    elif shutil.which("dnf"):
        updates, security, age = _dnf(options["timeout"], host)
    else:
        raise RunbookError("neither apt-get nor dnf is on this host: its packages cannot be looked at")
    reboot = reboot_required(os.uname().release, glob.glob(KERNELS), any(map(os.path.exists, REBOOT_FILES)))
    metrics: dict[str, float] = {
        "security_updates": len(security),
        "updates": len(updates),
        "reboot_required": int(reboot),
    }
    shown = ", ".join(security[:5]) + (", …" if len(security) > 5 else "")
    summary = f"{len(updates)} updates, {len(security)} of them for security{f' ({shown})' if shown else ''}"
    if reboot:
        summary += ", a reboot is required"
    if age is not None and age > STALE_SECONDS:
        old = f"the package lists are {show_duration(age)} old, so that newer updates are not known"
        return [Observation(metrics, f"{old}; {summary}", "warning")]
    return [Observation(metrics, summary)]


def _apt(timeout: float, host: Host) -> tuple[list[str], list[str], float | None]:
    """Names of the packages to update, those for security, and the age of the lists in seconds."""
    folder = host.commands.run(["apt-config", "shell", "lists", "Dir::State::lists/f"], timeout=timeout).stdout
    # `lists='/var/lib/apt/lists/'`
    lists = folder.partition("'")[2].rpartition("'")[0].rstrip("/")
    if not glob.glob(f"{glob.escape(lists)}/*_Packages*"):
        raise RunbookError(f"{lists}: there are no package lists. Run apt-get update on the host, daily.")
    argv = ["apt-get", "--simulate", "-o", "Debug::NoLocking=true", "-o", "APT::Get::Show-User-Simulation-Note=false"]
    text = host.commands.run([*argv, "dist-upgrade"], timeout=timeout).stdout
    updates, security = upgrades(text)
    # apt keeps a mirror's times on the lists themselves; fetching them touches the folders.
    fetched = max(os.stat(path).st_mtime for path in (lists, f"{lists}/partial") if os.path.isdir(path))
    return updates, security, host.now - fetched


def upgrades(text: str) -> tuple[list[str], list[str]]:
    """Names of all packages that `apt-get --simulate` would update, and of those whose update is one for security."""
    found = [(match[1], match[2]) for match in map(INSTALLED.match, text.splitlines()) if match]
    return [name for name, _origin in found], [name for name, origin in found if SECURITY.search(origin)]


def _dnf(timeout: float, host: Host) -> tuple[list[str], list[str], float | None]:
    """The same from dnf's cache; when that was fetched is dnf's own business (`metadata_expire`)."""
    names: list[list[str]] = []
    for words in (["check-update"], ["check-update", "--security"]):
        result = host.commands.run(["dnf", "--quiet", "--cacheonly", *words], timeout=timeout, check=False)
        if result.rc not in (0, DNF_UPDATES):
            raise CommandFailed("dnf", result.rc, result.stderr, timeout)
        names.append(listed(result.stdout))
    return names[0], names[1], None


def listed(text: str) -> list[str]:
    """Names in what `dnf check-update` prints: `name.arch  version  repository`, until the obsoleted ones."""
    lines = [line.split() for line in text.partition("\nObsoleting")[0].splitlines()]
    return [words[0] for words in lines if len(words) == 3 and "." in words[0]]


def reboot_required(running: str, kernels: t.Sequence[str], told: bool) -> bool:
    """Whether packages asked for a reboot, or a newer kernel of the running one's flavour is installed."""
    if told:
        return True
    names = [os.path.basename(path)[len("vmlinuz-") :] for path in kernels]
    ours = [name for name in names if FLAVOUR.findall(name) == FLAVOUR.findall(running)]
    return running in names and any(_version(name) > _version(running) for name in ours)


def _version(text: str) -> list[tuple[int, str]]:
    """Numbers by value, words by letter."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[a-z]+", text)]
