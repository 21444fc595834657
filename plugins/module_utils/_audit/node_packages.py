# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of npm projects: those with known vulnerabilities by `npm audit`, those with newer versions by `npm outdated` (K8).

npm asks its registry with the names and versions of the lock file; nothing is installed and no script runs. Where the registry cannot
be reached the versions are told and the audit is `unknown`.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import (
    Context,
    Finding,
    Looked,
    absolute,
    owner,
    places,
    some,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

OPTIONS: dict[str, t.Any] = {
    "folders": {"type": "list", "elements": "path", "default": []},
    "program": {"type": "path", "default": "npm"},
    "registry": {"type": "str"},
    "omit_dev": {"type": "bool", "default": True},
    "critical_from": {"type": "str", "choices": ["critical", "high", "moderate", "low"], "default": "high"},
    "outdated": {"type": "bool", "default": False},
}
SEVERITIES = ("info", "low", "moderate", "high", "critical")
TOLD = 200
_LOCKS = ("npm-shrinkwrap.json", "package-lock.json")


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Something must be looked at."""
    some(options, ("folders",), where)
    absolute(options, ("folders",), where)


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for each folder."""
    return [_folder(path, options, context) for path in places(options["folders"], "folders")]


def _folder(path: str, options: t.Mapping[str, t.Any], context: Context) -> Looked:
    locks = [os.path.join(path, name) for name in _LOCKS if os.path.isfile(os.path.join(path, name))]
    if not locks:
        return Looked(
            [], "", path, unknown=f"it has no {_LOCKS[1]}: what is installed cannot be told. Make one by npm install"
        )
    try:
        with open(locks[0], encoding="utf-8") as stream:
            locked = versions(json.load(stream), options["omit_dev"])
    except ValueError as error:
        return Looked([], "", path, unknown=f"{locks[0]} cannot be read: {error}")
    metrics: dict[str, float] = {"packages": len(locked)}
    details: dict[str, t.Any] = {}
    findings: list[Finding] = []
    troubles = []
    try:
        findings = vulnerabilities(
            _npm(["audit", "--package-lock-only"], path, options, context), locked, options["critical_from"]
        )
        metrics["vulnerable"] = len({each.text.partition(":")[0] for each in findings})
    except RunbookError as error:
        troubles.append(f"whether they are vulnerable is not known, their versions only: {error}")
        details["versions"] = dict(sorted(locked.items())[:TOLD])
    if options["outdated"]:
        try:
            behind = outdated(_npm(["outdated"], path, options, context), locked)
            metrics["outdated"] = len(behind)
            details["outdated"] = dict(sorted(behind.items())[:TOLD])
        except RunbookError as error:
            troubles.append(f"which packages are outdated is not known: {error}")
    summary = f"{path}: {len(locked)} packages" + (f", {metrics['outdated']} outdated" if "outdated" in metrics else "")
    return Looked(findings, summary, path, metrics, details, "; ".join(troubles))


def versions(lock: t.Mapping[str, t.Any], omit_dev: bool) -> dict[str, str]:
    """Name and version of each package in a lock file of version 2 or 3; the outermost of several versions of a name."""
    found: dict[str, str] = {}
    for place, entry in sorted(lock.get("packages", {}).items(), key=_by_depth):
        if not place or not isinstance(entry, dict) or (omit_dev and entry.get("dev")) or "version" not in entry:
            continue
        found.setdefault(entry.get("name") or place.rpartition("node_modules/")[2], str(entry["version"]))
    return found


def _by_depth(item: tuple[str, t.Any]) -> tuple[int, str]:
    return item[0].count("node_modules/"), item[0]


def _npm(words: t.Sequence[str], path: str, options: t.Mapping[str, t.Any], context: Context) -> dict[str, t.Any]:
    """What npm answers; its settings come from the project too, so it runs as the folder's owner."""
    argv = [
        options["program"],
        "--prefix",
        path,
        *words,
        "--json",
        "--ignore-scripts",
        "--no-update-notifier",
        "--no-fund",
    ]
    argv += ["--logs-max=0", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=20000"]
    if options["omit_dev"] and words[0] == "audit":
        argv.append("--omit=dev")
    if options["registry"]:
        argv += ["--registry", options["registry"]]
    done = context.host.commands.run(argv, target=owner(path), timeout=context.timeout, check=False)
    try:
        document = json.loads(done.stdout or "{}")
    except ValueError:
        document = None
    wrong = (
        not isinstance(document, dict)
        or "error" in document
        or (words[0] == "audit" and "vulnerabilities" not in document)
    )
    if wrong or done.rc not in (0, 1):
        raise RunbookError(f"npm {words[0]} ended with status {done.rc}: {_why(document, done.stderr)}")
    return dict(t.cast("dict[str, t.Any]", document))


def _why(document: t.Any, stderr: str) -> str:
    if isinstance(document, dict):
        error = document.get("error")
        told = document.get("message") or (error.get("summary") if isinstance(error, dict) else "")
        if told:
            return str(told)[:300]
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[0][:300] if lines else "it says nothing"


def vulnerabilities(document: t.Mapping[str, t.Any], locked: t.Mapping[str, str], critical_from: str) -> list[Finding]:
    """Each advisory of each package; packages that are vulnerable only by another that is listed add nothing."""
    findings: dict[tuple[str, str], Finding] = {}
    for each in document["vulnerabilities"].values():
        for via in each.get("via", []):
            if not isinstance(via, dict):
                continue
            name, known = str(via.get("name", each.get("name"))), str(via.get("url", "")).rpartition("/")[2]
            severity = via.get("severity", "high")
            rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
            status = "critical" if rank >= SEVERITIES.index(critical_from) else "warning"
            known = known or str(via.get("source"))
            text = f"{name} {locked.get(name, '')}".strip() + f": {known} ({severity}), {via.get('title', '')}"
            findings[name, known] = Finding(known, status, f"{text}, versions {via.get('range', '')}")
    return list(findings.values())


def outdated(document: t.Mapping[str, t.Any], locked: t.Mapping[str, str]) -> dict[str, str]:
    """Direct dependencies with a newer version, as `installed -> newest`."""
    found = {}
    for name, each in document.items():
        newest = each.get("latest") if isinstance(each, dict) else None
        if newest and newest != locked.get(name):
            found[name] = f"{locked.get(name, '?')} -> {newest}"
    return found
