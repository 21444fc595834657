# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Older versions of a package, by apt or dnf."""

from __future__ import annotations

import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Work

INSTALL_SECONDS = 300.0
LIST_SECONDS = 30.0
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def versions(package: str, wanted: str, work: Work) -> tuple[str, str]:
    """The version that is installed, and the one to go to: `wanted`, or the newest that is older."""
    if shutil.which("apt-get"):
        now, there = _apt(package, work)
    elif shutil.which("dnf"):
        now, there = _dnf(package, work)
    else:
        raise RunbookError(f"{package}: this host has neither apt-get nor dnf. Roll back by a link instead.")
    if wanted != "previous":
        if wanted not in there:
            raise RunbookError(f"{package}: no version {wanted} can be had, only {', '.join(there)}. Correct to.")
        return now, wanted
    # Newest first, as both programs list them.
    older = there[there.index(now) + 1 :] if now in there else []
    if not older:
        raise RunbookError(f"{package}: no version older than {now} can be had. Keep old versions in the repository.")
    return now, older[0]


def install(package: str, version: str, work: Work) -> None:
    """Install exactly that version, whether it is older or newer."""
    if shutil.which("apt-get"):
        argv = [
            "apt-get", "install", "--yes", "--allow-downgrades", "--option=Dpkg::Options::=--force-confold",
            "--option=DPkg::Lock::Timeout=60", "--", f"{package}={version}",
        ]  # fmt: skip
    else:
        argv = ["dnf", "--assumeyes", "install", "--allowerasing", f"{package}-{version}"]
    work.commands.run(argv, environment=QUIET, timeout=work.seconds(INSTALL_SECONDS))


def _apt(package: str, work: Work) -> tuple[str, list[str]]:
    text = work.commands.run(["apt-cache", "policy", "--", package], timeout=work.seconds(LIST_SECONDS)).stdout
    now, there = "", []
    for line in text.splitlines():
        words = line.replace("***", "   ").split()
        if words[:1] == ["Installed:"]:
            now = words[1]
        elif (
            len(words) == 2
            and words[1].lstrip("-").isdecimal()
            and line.startswith((" *** ", "     "))
            and line[5] != " "
        ):
            there.append(words[0])
    if not now or now == "(none)":
        raise RunbookError(f"{package}: is not installed here. Correct package.")
    return now, there


def _dnf(package: str, work: Work) -> tuple[str, list[str]]:
    query = ["--queryformat=%{evr}\\n", package]
    now = work.commands.run(["rpm", "--query", *query], timeout=work.seconds(LIST_SECONDS)).stdout.split()
    argv = ["dnf", "--quiet", "repoquery", "--show-duplicates", *query]
    there = work.commands.run(argv, timeout=work.seconds(INSTALL_SECONDS)).stdout.split()
    return now[-1], list(reversed(there))
