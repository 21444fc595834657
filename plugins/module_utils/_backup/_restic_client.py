# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newest proven copy once more in a restic repository: another disk, a host behind sftp, a bucket.

A snapshot holds one copy with its manifest, has the copy's time, and the tags `sre-runbooks`, the source's name and the
level it was proven at. What the repository keeps is decided over its own snapshots by the same policy, so that a folder of
copies that got lost takes nothing with it there.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest, _plan
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._restic import Repository

TAG = "sre-runbooks"
PINNED = "pinned"
# Hosts that share a repository lock each other out for as long as one of them removes data.
LOCKED_SECONDS = 600.0
PAUSE_SECONDS = 5.0
# Versions before 0.17 end with 1 in all these cases.
_MISSING = ("Is there a repository at the following location", "repository does not exist")
_LOCKED = "already locked"


class Kept(t.NamedTuple):
    """What a person should know of a copy in the repository; `problem` is why old ones could not be removed from it."""

    snapshot: str
    seconds: float
    forgotten: dict[str, str]
    problem: str | None = None


def look(repository: Repository, work: Work) -> str | None:
    """See that the repository can be used, without changing anything; a word on what would be done first."""
    try:
        _Client(repository, work).run("snapshots", "--json", "--no-lock", "--no-cache", "--latest=1")
    except _Missing:
        if not repository.init:
            raise
        return "would be created"
    return None


def keep(
    repository: Repository, copy: _catalog.Copy, pins: t.Container[str], policy: _plan.Policy, frozen: bool, work: Work
) -> Kept:
    """Bring `copy` to the repository, see that it is there, record that, let go of what `policy` does not keep there.

    `pins` are the paths of pinned copies. RunbookError when the copy is not there in the end.
    """
    started = time.monotonic()
    client = _Client(repository, work)
    try:
        snapshots = client.snapshots()
    except _Missing:
        if not repository.init:
            raise
        client.run("init")
        snapshots = []
    # A run that was killed may have brought it there already, whole or not.
    there = [each["id"] for each in snapshots if copy.path in each["paths"]]
    whole = [each for each in there if client.lacks(each, copy) is None]
    snapshot = whole[0] if whole else client.backup(copy)
    problem = None if whole else client.lacks(snapshot, copy)
    if problem:
        raise RunbookError(problem)
    if not whole:
        if there:
            client.run("forget", "--quiet", *there)
        snapshots = [_entry(snapshot, copy), *(each for each in snapshots if each["id"] not in there)]
    document = _catalog.manifest(copy)
    document["restic"] = {
        "repository": repository.shown,
        "snapshot": snapshot,
        "time": _manifest.timestamp(time.time()),
    }
    _manifest.write(copy.path, document)
    forgotten: dict[str, str] = {}
    try:
        forgotten = {} if frozen else client.forget(snapshots, pins, policy)
    except RunbookError as error:
        problem = str(error)
    return Kept(snapshot, round(time.monotonic() - started, 3), forgotten, problem)


def check(repository: Repository, work: Work) -> str:
    """Let restic check the whole repository; what it read. RunbookError with what it found."""
    subset = [f"--read-data-subset={repository.subset}"] if repository.subset else []
    try:
        _Client(repository, work).run("check", "--quiet", *subset)
    except CommandFailed as error:
        raise RunbookError(
            f"restic check finds damage in {repository.shown}: {error}. Make sure of the local copies, then repair the repository."
        ) from error
    return f"structure checked, {repository.subset} of the data read" if repository.subset else "structure checked"


class _Missing(RunbookError):
    """There is no repository at that place."""


class _Client:
    """restic with one repository, for one source."""

    def __init__(self, repository: Repository, work: Work) -> None:
        self._repository = repository
        self._work = work

    def run(self, *arguments: str) -> str:
        """Run a command of restic; wait while others lock the repository. _Missing when there is none."""
        until = time.monotonic() + LOCKED_SECONDS
        tried = False
        while True:
            try:
                return self._once(*arguments)
            except CommandFailed as error:
                if _LOCKED not in error.stderr and error.rc != 11:
                    raise
                if time.monotonic() > until:
                    raise
            if not tried:
                # Removes locks of processes that are dead, and of others only when they are older than half an hour.
                self._once("unlock", "--quiet")
                tried = True
            else:
                time.sleep(PAUSE_SECONDS)

    def _once(self, *arguments: str) -> str:
        environment = dict(self._repository.environment)
        hidden = {"RESTIC_PASSWORD": environment.pop("RESTIC_PASSWORD", "")}
        hidden = {name: value for name, value in hidden.items() if value}
        try:
            return self._work.commands.run(
                ["restic", *self._repository.arguments, *arguments],
                secrets=hidden,
                environment=environment,
                timeout=self._work.seconds(),
            ).stdout
        except CommandFailed as error:
            if error.rc == 10 or (
                "wrong password" not in error.stderr and any(each in error.stderr for each in _MISSING)
            ):
                raise _Missing(
                    f"there is no restic repository at {self._repository.shown}, or it cannot be reached: {error}. "
                    "Create it by restic init, set restic.init to true, or correct restic.repository."
                ) from error
            raise

    def backup(self, copy: _catalog.Copy) -> str:
        """Store the copy and its manifest; the id of the snapshot."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(copy.created))
        tags = [part for tag in _entry("", copy)["tags"] for part in ("--tag", tag)]
        lines = self.run(
            "backup", "--json", "--quiet", "--host", platform.node(), *tags, "--time", stamp, "--", copy.path, copy.manifest_path
        )  # fmt: skip
        for line in _documents(lines):
            if line.get("message_type") == "summary":
                return str(line["snapshot_id"])
        raise RunbookError("restic backup names no snapshot. Install restic 0.14 or newer.")

    def lacks(self, snapshot: str, copy: _catalog.Copy) -> str | None:
        """What the snapshot does not hold of the copy and its manifest; None when it holds both."""
        listed = {each.get("path"): each.get("size", 0) for each in _documents(self.run("ls", "--json", snapshot))}
        where = f"the snapshot {snapshot[:8]} in {self._repository.shown}"
        if copy.manifest_path not in listed:
            return f"{where} holds no {copy.manifest_path}"
        if listed.get(copy.path) != copy.size_bytes:
            return f"{where} holds {listed.get(copy.path, 0)} bytes of {copy.path}, which has {copy.size_bytes}"
        return None

    def snapshots(self) -> list[dict[str, t.Any]]:
        """The snapshots of this source's copies, by this host from this folder; newest first."""
        text = self.run("snapshots", "--json", "--host", platform.node(), "--tag", f"{TAG},{self._work.name}")
        found = [
            each
            for each in json.loads(text) or []
            if any(os.path.dirname(path) == self._work.folder for path in each["paths"])
        ]
        return sorted(found, key=_moment, reverse=True)

    def forget(
        self, snapshots: t.Sequence[t.Mapping[str, t.Any]], pins: t.Container[str], policy: _plan.Policy
    ) -> dict[str, str]:
        """Remove what the policy does not keep; the names of the copies that were in it, with the reason."""
        copies = [_as_copy(each, self._work.name, pins) for each in snapshots]
        decisions = _plan.retention(copies, policy, self._work.level, time.time())
        doomed = {each.copy.path: each for each in decisions if not each.keep}
        if doomed:
            self.run("forget", "--quiet", "--prune", *doomed)
        return {os.path.basename(each.copy.manifest_path): each.reason for each in doomed.values()}


def _entry(snapshot: str, copy: _catalog.Copy) -> dict[str, t.Any]:
    """What restic lists of the snapshot of a copy."""
    tags = [TAG, copy.name, copy.level or "unproven"]
    return {"id": snapshot, "time": _manifest.timestamp(copy.created), "paths": [copy.path], "tags": tags}


def _as_copy(snapshot: t.Mapping[str, t.Any], name: str, pins: t.Container[str]) -> _catalog.Copy:
    """A snapshot as retention looks at copies; its id stands for the path, the path of the copy for that of the manifest."""
    path = next((each for each in snapshot["paths"] if not each.endswith(_catalog.MANIFEST)), "")
    tags = snapshot.get("tags") or []
    level = max((tag for tag in tags if tag in _catalog.LEVELS), key=_catalog.LEVELS.index, default=None)
    pinned = PINNED in tags or path in pins
    return _catalog.Copy(name, "restic", snapshot["id"], path, _moment(snapshot), 0, level, False, None, pinned)


def _moment(snapshot: t.Mapping[str, t.Any]) -> float:
    """The time of a snapshot in seconds since the epoch; fractions have nine digits, which Python 3.9 cannot read."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[-+]\d\d:\d\d)", snapshot["time"])
    if match is None:
        raise RunbookError(f"restic gives the time {snapshot['time']!r}, which cannot be read")
    return datetime.datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp()


def _documents(lines: str) -> t.Iterator[dict[str, t.Any]]:
    for line in lines.splitlines():
        if line.startswith("{"):
            yield json.loads(line)
