# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""apt and dpkg, not interactive, with the host's own files kept where a package has another; locks are waited for."""

from __future__ import annotations

import os
import re
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import packages

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Completed
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none", "APT_LISTBUGS_FRONTEND": "none",
    "UCF_FORCE_CONFFOLD": "1",
    # What is restarted, and in which order, is decided here.
    "NEEDRESTART_SUSPEND": "1",
}  # fmt: skip
KEEP = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
_LOCKED = re.compile(r"[Cc]ould not get lock|is another process using it|lock.* held by|lock was locked")
_PAUSE = 0.5
_REMOVED = re.compile(r"^Remv (\S+)", re.MULTILINE)
# Names and versions come from apt itself; nothing that could be an option goes back to it.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*(?::[a-z0-9-]+)?")


class Package(t.NamedTuple):
    """A package of the plan, with the sizes of its archive and of what it installs in bytes."""

    name: str
    before: str
    after: str
    security: bool

    @property
    def wanted(self) -> str:
        """As apt-get takes it."""
        return f"{self.name}={self.after}"


class Plan(t.NamedTuple):
    """What is updated; what apt would have to remove for it, for which it is not done."""

    packages: list[Package]
    removed: list[str]


class Apt:
    """The package manager of this host, until `deadline` (of time.monotonic) for waiting, `timeout` seconds for each program."""

    def __init__(self, host: Host, lock_seconds: float, timeout: float) -> None:
        if not shutil.which("apt-get"):
            raise RunbookError("apt-get is not on this host: only hosts of the Debian family are patched")
        self._host = host
        self._lock_seconds = lock_seconds
        self._timeout = timeout

    def refresh(self) -> None:
        """Fetch the lists."""
        self._run(["apt-get", "-o", "Acquire::Retries=2", "--error-on=any", "update"])

    def interrupted(self) -> str:
        """What an earlier run of dpkg has left half done; empty when nothing is."""
        updates = os.path.join(os.path.dirname(self._place("Dir::State::status/f")), "updates")
        if os.path.isdir(updates) and os.listdir(updates):
            return "dpkg was interrupted"
        text = self._host.commands.run(["dpkg", "--audit"], timeout=self._timeout, check=False).stdout
        names = re.findall(r"^ (\S+)", text, re.MULTILINE)
        return f"not installed whole: {', '.join(sorted(set(names))[:5])}" if names else ""

    def heal(self) -> None:
        """End what was interrupted; what dpkg died unpacking it does not configure before it was unpacked anew."""
        failed = None
        try:
            self._run(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"])
        except CommandFailed as error:
            failed = error
        torn = self._torn()
        if torn:
            # Without their names apt tries to configure them too.
            self._run(["apt-get", "--yes", "--no-remove", *KEEP, "--fix-broken", "--reinstall", "install", *torn])
        elif failed:
            raise failed
        checked = self._host.commands.run(["apt-get", "check"], timeout=self._timeout, check=False)
        if checked.rc != 0 or self.interrupted():
            self._run(["apt-get", "--yes", "--no-remove", *KEEP, "--fix-broken", "install"])

    def _torn(self) -> list[str]:
        """The packages that dpkg asks to install again."""
        argv = ["dpkg-query", "--show", "--showformat", "${db:Status-Eflag} ${binary:Package}\n"]
        rows = [line.split() for line in self._host.commands.run(argv, timeout=self._timeout).stdout.splitlines()]
        return [row[1] for row in rows if row[0] == "reinstreq"]

    def plan(self, scope: str, only: t.Sequence[str], held: t.Callable[[str], bool]) -> Plan:
        """What there is to update of `scope` (`security` or `all`), of the packages in `only` where it names some."""
        updates = packages.simulated(["dist-upgrade"], self._timeout, self._host)
        chosen = [
            Package(each.name, each.installed, each.candidate, each.security)
            for each in updates
            if (scope == "all" or each.security) and (not only or each.name in only) and not held(each.name)
        ]
        for each in chosen:
            if not _NAME.fullmatch(each.name):
                raise RunbookError(f"apt names a package {each.name!r}, which is no name. Look at its lists.")
        if not chosen:
            return Plan([], [])
        text = self._simulate(chosen)
        brought = {each.name: each for each in packages.upgrades(text)}
        # Packages that the chosen ones need newer come with them, unless they are held.
        more = [each for name, each in brought.items() if name not in {one.name for one in chosen}]
        for update in more:
            if held(update.name):
                raise RunbookError(
                    f"{update.name} is held, and the updates need {update.candidate} of it. Hold less, or limit packages."
                )
            chosen.append(Package(update.name, update.installed, update.candidate, update.security))
        return Plan(sorted(chosen), _REMOVED.findall(text))

    def _simulate(self, chosen: t.Sequence[Package]) -> str:
        argv = [
            "apt-get",
            "--simulate",
            "-o",
            "Debug::NoLocking=true",
            "-o",
            "APT::Get::Show-User-Simulation-Note=false",
        ]
        words = ["install", "--only-upgrade", *[each.wanted for each in chosen]]
        return self._host.commands.run([*argv, *words], timeout=self._timeout).stdout

    def needed(self, chosen: t.Sequence[Package]) -> dict[str, int]:
        """Bytes that the plan takes, by folder: archives, and files beside those that they replace."""
        argv = ["apt-cache", "show", "--no-all-versions", *[each.wanted for each in chosen]]
        text = self._host.commands.run(argv, timeout=self._timeout).stdout
        archives = sum(int(size) for size in re.findall(r"^Size: (\d+)", text, re.MULTILINE))
        files = sum(int(size) * 1024 for size in re.findall(r"^Installed-Size: (\d+)", text, re.MULTILINE))
        return {self._place("Dir::Cache::archives/d"): archives, self._place("Dir/d"): files}

    def download(self, chosen: t.Sequence[Package]) -> None:
        """Fetch the archives, so that nothing is half done because of the network."""
        self._install(["--download-only"], chosen)

    def install(self, chosen: t.Sequence[Package]) -> None:
        """Install what was fetched."""
        self._install(["--no-download"], chosen)

    def _install(self, more: t.Sequence[str], chosen: t.Sequence[Package]) -> None:
        argv = ["apt-get", "--yes", "--no-remove", *KEEP, *more, "install", "--only-upgrade"]
        self._run([*argv, *[each.wanted for each in chosen]])

    def automatic(self, names: t.Sequence[str]) -> list[str]:
        """Those that apt installed for others: asking for them by name would make it keep them for ever."""
        if not names:
            return []
        return self._host.commands.run(["apt-mark", "showauto", *names], timeout=self._timeout).stdout.split()

    def keep_automatic(self, names: t.Sequence[str]) -> None:
        """Mark them so again."""
        self._run(["apt-mark", "auto", *names])

    def versions(self, names: t.Sequence[str]) -> dict[str, str]:
        """The versions that are installed whole."""
        argv = [
            "dpkg-query",
            "--show",
            "--showformat",
            "${binary:Package} ${db:Status-Status} ${Version}\n",
            "--",
            *names,
        ]
        text = self._host.commands.run(argv, timeout=self._timeout, check=False).stdout
        rows = [line.split(" ") for line in text.splitlines()]
        found = {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}
        # dpkg adds the architecture where several may be installed; apt leaves out the host's own.
        return {name: found.get(name) or _any_architecture(found, name) for name in names}

    def _run(self, argv: t.Sequence[str]) -> Completed:
        """Run it; while another one has the lock, again and again until there is no more time."""
        deadline = time.monotonic() + self._lock_seconds
        while True:
            done = self._host.commands.run(argv, environment=ENVIRONMENT, timeout=self._timeout, check=False)
            if done.rc == 0:
                return done
            if not _LOCKED.search(done.stderr):
                raise CommandFailed(argv[0], done.rc, _told(done), self._timeout)
            if time.monotonic() >= deadline:
                raise RunbookError(
                    f"another program has had the lock of apt or dpkg for {self._lock_seconds:g} s: "
                    f"{_told(done).splitlines()[0]}. Let it end, or raise lock_timeout."
                )
            time.sleep(_PAUSE)

    def _place(self, name: str) -> str:
        text = self._host.commands.run(["apt-config", "shell", "place", name], timeout=self._timeout).stdout
        return text.partition("'")[2].rpartition("'")[0].rstrip("/") or "/"


def _told(done: Completed) -> str:
    """The errors that apt and dpkg tell, each with its indented lines; without any, all that they say."""
    found = re.findall(r"^(?:E: |.*error).*(?:\n .*)*", done.stderr, re.MULTILINE)
    return "\n".join(found) or done.stderr or done.stdout[-1000:]


def _any_architecture(found: t.Mapping[str, str], name: str) -> str:
    return next((version for each, version in found.items() if each.partition(":")[0] == name), "")
