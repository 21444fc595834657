# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of Python environments and requirements: those with known vulnerabilities by pip-audit, those with newer versions by pip (K8).

pip-audit reads what is installed and executes nothing of it. Where its database cannot be reached, or it is not there, the versions
are told and the audit is `unknown`: it says nothing about vulnerabilities.
"""

from __future__ import annotations

import glob
import json
import os
import re
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
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    "environments": {"type": "list", "elements": "path", "default": []},
    "requirements": {"type": "list", "elements": "path", "default": []},
    "program": {"type": "path"},
    "service": {"type": "str", "choices": ["pypi", "osv"], "default": "pypi"},
    "url": {"type": "str"},
    "vulnerable": {"type": "str", "choices": ["warning", "critical"], "default": "critical"},
    "outdated": {"type": "bool", "default": False},
    "index_url": {"type": "str"},
}
SITE_PACKAGES = "lib/python*/site-packages"
TOLD = 200
_PINNED = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;#\\]+)", re.MULTILINE)
_FIELD = re.compile(r"^(Name|Version): *(.+)$", re.MULTILINE)
# pip tells of an index that it cannot reach, and ends well.
_NO_INDEX = re.compile(r"Retrying|Could not fetch|Connection|connection")


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Something must be looked at; an address is that of a service of OSV."""
    some(options, ("environments", "requirements"), where)
    absolute(options, ("environments", "requirements"), where)
    if options["url"] and options["service"] != "osv":
        raise InputError(
            f"{where}.url", options["url"], "is for service osv alone", "Give service: osv, or leave it out."
        )


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for each environment and each file of requirements."""
    found = []
    for path in places(options["environments"], "environments"):
        folders = site_packages(path)
        if not folders:
            found.append(Looked([], "", path, unknown=f"is no Python environment: it has no {SITE_PACKAGES}"))
            continue
        installed = versions(folders)
        asked = [part for folder in folders for part in ("--path", folder)]
        behind = _outdated(path, options, context) if options["outdated"] else ({}, "")
        found.append(_audited(path, asked, installed, behind, options, context))
    for path in places(options["requirements"], "requirements"):
        with open(path, encoding="utf-8", errors="replace") as stream:
            pinned = dict(_PINNED.findall(stream.read()))
        # Nothing is resolved nor built: what a lock file pins is what is asked for.
        asked = ["--requirement", path, "--no-deps", "--disable-pip"]
        found.append(_audited(path, asked, pinned, ({}, ""), options, context))
    return found


def site_packages(environment: str) -> list[str]:
    """The folders with packages of an environment, or `environment` itself where packages stand in it."""
    if glob.glob(f"{glob.escape(environment)}/*.dist-info"):
        return [environment]
    return sorted(glob.glob(f"{glob.escape(environment)}/{SITE_PACKAGES}"))


def versions(folders: t.Sequence[str]) -> dict[str, str]:
    """Name and version of each package by its metadata, without running that environment's Python."""
    found: dict[str, str] = {}
    for folder in folders:
        for pattern in ("*.dist-info/METADATA", "*.egg-info/PKG-INFO"):
            for path in glob.glob(f"{glob.escape(folder)}/{pattern}"):
                with open(path, encoding="utf-8", errors="replace") as stream:
                    fields = dict(_FIELD.findall(stream.read(65536).partition("\n\n")[0]))
                if len(fields) == 2:
                    found[fields["Name"].strip()] = fields["Version"].strip()
    return found


def _audited(
    target: str,
    asked: t.Sequence[str],
    installed: t.Mapping[str, str],
    behind: tuple[dict[str, str], str],
    options: t.Mapping[str, t.Any],
    context: Context,
) -> Looked:
    problem, document = "", None
    try:
        document = _ask(asked, options, context)
    except RunbookError as error:
        problem = f"whether they are vulnerable is not known, their versions only: {error}"
    metrics: dict[str, float] = {"packages": len(installed)}
    details: dict[str, t.Any] = {}
    findings: list[Finding] = []
    if document is not None:
        findings, skipped = vulnerabilities(document, options["vulnerable"])
        metrics["vulnerable"] = len({each.text.partition(":")[0] for each in findings})
        if skipped:
            details["not_looked_up"] = skipped[:TOLD]
            problem = f"{len(skipped)} packages are not in the database"
    else:
        details["versions"] = dict(sorted(installed.items())[:TOLD])
    newer, trouble = behind
    if options["outdated"] and not trouble:
        metrics["outdated"] = len(newer)
        details["outdated"] = dict(sorted(newer.items())[:TOLD])
    unknown = "; ".join(part for part in (problem, trouble) if part)
    summary = f"{target}: {len(installed)} packages" + (f", {len(newer)} outdated" if "outdated" in metrics else "")
    return Looked(findings, summary, target, metrics, details, unknown)


def _ask(asked: t.Sequence[str], options: t.Mapping[str, t.Any], context: Context) -> dict[str, t.Any]:
    argv = [
        options["program"] or _installed(context.state_dir),
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--desc",
        "off",
        *asked,
    ]
    argv += ["--vulnerability-service", options["service"]]
    if options["url"]:
        argv += ["--osv-url", options["url"]]
    done = context.host.commands.run(argv, timeout=context.timeout, check=False)
    try:
        document = json.loads(done.stdout)
        if isinstance(document["dependencies"], list):
            return dict(document)
    except (ValueError, TypeError, KeyError):
        pass
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    raise RunbookError(f"pip-audit ended with status {done.rc}: {lines[-1][:300] if lines else 'it says nothing'}")


def _installed(state_dir: str) -> str:
    """Where the role prerequisites installs it, else wherever the host has it."""
    path = os.path.join(state_dir, "venv/bin/pip-audit")
    return path if os.access(path, os.X_OK) else "pip-audit"


def vulnerabilities(document: t.Mapping[str, t.Any], status: str) -> tuple[list[Finding], list[str]]:
    """What pip-audit found, each advisory of each package, and the packages that it could not look up."""
    findings, skipped = [], []
    for each in document["dependencies"]:
        if "skip_reason" in each:
            skipped.append(str(each["name"]))
            continue
        for advisory in each.get("vulns", []):
            names = [advisory["id"], *advisory.get("aliases", [])]
            # What people know is the number of the CVE, where it has one.
            known = sorted(names, key=_cve_first)[0]
            fixed = ", ".join(advisory.get("fix_versions", []))
            remedy = f"fixed in {fixed}" if fixed else "no version fixes it yet"
            findings.append(Finding(known, status, f"{each['name']} {each['version']}: {known}, {remedy}"))
    return findings, skipped


def _cve_first(name: str) -> tuple[bool, str]:
    return not name.startswith("CVE-"), name


def _outdated(path: str, options: t.Mapping[str, t.Any], context: Context) -> tuple[dict[str, str], str]:
    """Packages with a newer version as `installed -> newest`, and why that is not known."""
    argv = [os.path.join(path, "bin/python"), "-m", "pip", "list", "--outdated", "--format", "json", "--retries", "1"]
    argv += ["--timeout", "5", "--disable-pip-version-check"]
    if options["index_url"]:
        argv += ["--index-url", options["index_url"]]
    try:
        # This executes the environment's code, so it runs as its owner.
        done = context.host.commands.run(argv, target=owner(path), timeout=context.timeout)
        if _NO_INDEX.search(done.stderr):
            return {}, "which packages are outdated is not known: the package index cannot be reached"
        return {each["name"]: f"{each['version']} -> {each['latest_version']}" for each in json.loads(done.stdout)}, ""
    except (RunbookError, ValueError, LookupError, TypeError) as error:
        return {}, f"which packages are outdated is not known: {error}"
