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
INSTALLED = re.compile(r"Inst (\S+) \[([^]]*)\] \((\S+) ([^)]*)\)")
SECURITY = re.compile(r"Debian-Security:|-security\b|/security\b")
# dnf: 0 is nothing to do, 100 is updates.
DNF_UPDATES = 100


class Update(t.NamedTuple):
    """A package with a newer version; dnf does not tell the version that is installed."""

    name: str
    installed: str
    candidate: str
    security: bool


class Pending(t.NamedTuple):
    """What an upgrade would do, the age in seconds of the lists that say so where it is known, and whether a reboot is due."""

    updates: list[Update]
    age: float | None
    reboot: bool

    @property
    def stale(self) -> str:
        """What there is to say about lists that nobody has fetched for long."""
        if self.age is None or self.age <= STALE_SECONDS:
            return ""
        return f"the package lists are {show_duration(self.age)} old, so that newer updates are not known"


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Ask apt or dnf what an upgrade would do."""
    found = pending(options["timeout"], host)
    security = [each.name for each in found.updates if each.security]
    metrics: dict[str, float] = {
        "security_updates": len(security),
        "updates": len(found.updates),
        "reboot_required": int(found.reboot),
    }
    shown = ", ".join(security[:5]) + (", …" if len(security) > 5 else "")
    summary = f"{len(found.updates)} updates, {len(security)} of them for security{f' ({shown})' if shown else ''}"
    if found.reboot:
        summary += ", a reboot is required"
    if found.stale:
        return [Observation(metrics, f"{found.stale}; {summary}", "warning")]
    return [Observation(metrics, summary)]


def pending(timeout: float, host: Host) -> Pending:
    """Ask apt or dnf, whichever is there."""
    if shutil.which("apt-get"):
        updates, age = _apt(timeout, host)
    elif shutil.which("dnf"):
        updates, age = _dnf(timeout, host)
    else:
        raise RunbookError("neither apt-get nor dnf is on this host: its packages cannot be looked at")
    return Pending(updates, age, reboot_due())


def reboot_due() -> bool:
    """Whether this host asks for a reboot."""
    return reboot_required(os.uname().release, glob.glob(KERNELS), any(map(os.path.exists, REBOOT_FILES)))


def _apt(timeout: float, host: Host) -> tuple[list[Update], float | None]:
    """The packages to update, and the age of the lists in seconds."""
    folder = host.commands.run(["apt-config", "shell", "lists", "Dir::State::lists/f"], timeout=timeout).stdout
    # `lists='/var/lib/apt/lists/'`
    lists = folder.partition("'")[2].rpartition("'")[0].rstrip("/")
    if not glob.glob(f"{glob.escape(lists)}/*_Packages*"):
        raise RunbookError(f"{lists}: there are no package lists. Run apt-get update on the host, daily.")
    # apt keeps a mirror's times on the lists themselves; fetching them touches the folders.
    fetched = max(os.stat(path).st_mtime for path in (lists, f"{lists}/partial") if os.path.isdir(path))
    return simulated(["dist-upgrade"], timeout, host), host.now - fetched


def simulated(words: t.Sequence[str], timeout: float, host: Host) -> list[Update]:
    """The packages that `apt-get` with these words would update; nothing is changed, no lock is taken."""
    argv = ["apt-get", "--simulate", "-o", "Debug::NoLocking=true", "-o", "APT::Get::Show-User-Simulation-Note=false"]
    return upgrades(host.commands.run([*argv, *words], timeout=timeout).stdout)


def upgrades(text: str) -> list[Update]:
    """All packages that `apt-get --simulate` would update."""
    found = (match for match in map(INSTALLED.match, text.splitlines()) if match)
    return [Update(each[1], each[2], each[3], bool(SECURITY.search(each[4]))) for each in found]


def _dnf(timeout: float, host: Host) -> tuple[list[Update], float | None]:
    """The same from dnf's cache; when that was fetched is dnf's own business (`metadata_expire`)."""
    found: list[list[tuple[str, str]]] = []
    for words in (["check-update"], ["check-update", "--security"]):
        result = host.commands.run(["dnf", "--quiet", "--cacheonly", *words], timeout=timeout, check=False)
        if result.rc not in (0, DNF_UPDATES):
            raise CommandFailed("dnf", result.rc, result.stderr, timeout)
        found.append(listed(result.stdout))
    security = {name for name, _version in found[1]}
    return [Update(name, "", version, name in security) for name, version in found[0]], None


def listed(text: str) -> list[tuple[str, str]]:
    """Names and versions in what `dnf check-update` prints: `name.arch  version  repository`, until the obsoleted ones."""
    lines = [line.split() for line in text.partition("\nObsoleting")[0].splitlines()]
    return [(words[0], words[1]) for words in lines if len(words) == 3 and "." in words[0]]


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
