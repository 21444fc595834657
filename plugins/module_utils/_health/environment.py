# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deployment needs of its host: variables that are set, a program that is new enough. Values are never shown."""

from __future__ import annotations

import os
import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("missing",)
OPTIONS: dict[str, t.Any] = {
    "file": {"type": "path"},
    "variables": {"type": "list", "elements": "str"},
    "program": {"type": "str"},
    "minimum_version": {"type": "str"},
    "arguments": {"type": "list", "elements": "str", "default": ["--version"]},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {"missing": {"critical": "> 0"}}
INHERENT = True
NAME = re.compile(r"[A-Za-z_]\w*")
# `NAME=value`, with `export` before it as shells want it; `#` begins a comment.
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")
VERSION = re.compile(r"\d+(?:\.\d+)*")
# An environment file is small; what is not is something else.
LARGEST_BYTES = 2**20


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A file and its variables, or a program and its version."""
    if bool(options["file"]) == bool(options["program"]):
        raise InputError("file", options["file"], "must be given when program is not", "Give exactly one of the two.")
    if options["file"]:
        if not options["variables"]:
            raise InputError("variables", options["variables"], "names no variable", "Name at least one.")
        for name in options["variables"]:
            if not NAME.fullmatch(name):
                raise InputError("variables", name, "is no variable's name", "Use letters, digits and underscores.")
        if options["minimum_version"]:
            raise InputError("minimum_version", options["minimum_version"], "is for a program", "Leave it out.")
    elif options["variables"]:
        raise InputError("variables", options["variables"], "are looked for in a file", "Name the file.")
    elif not VERSION.fullmatch(options["minimum_version"] or ""):
        raise InputError(
            "minimum_version", options["minimum_version"], "is no version", 'Write numbers, such as "18.2".'
        )


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Count what is missing."""
    if options["file"]:
        return [_variables(options["file"], list(dict.fromkeys(options["variables"])))]
    return [_program(options, host)]


def _variables(path: str, wanted: t.Sequence[str]) -> Observation:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        return Observation({"missing": len(wanted)}, f"{path}: there is no such file; missing are {', '.join(wanted)}")
    if len(text) > LARGEST_BYTES:
        raise RunbookError(f"{path}: is larger than 1 MiB. Name a file of variables.")
    values = assigned(text)
    missing = [name for name in wanted if name not in values]
    empty = [name for name in wanted if values.get(name) is False]
    told = [f"{words} {', '.join(names)}" for words, names in (("missing:", missing), ("empty:", empty)) if names]
    there = len(wanted) - len(missing) - len(empty)
    summary = f"{path}: {there} of {len(wanted)} variables are set"
    return Observation({"missing": len(wanted) - there}, "; ".join([summary, *told]))


def assigned(text: str) -> dict[str, bool]:
    """The variables of an environment file, and whether each has a value; the values themselves are not kept."""
    found = {}
    for line in text.splitlines():
        match = ASSIGNMENT.fullmatch(line)
        if match:
            value = match[2]
            if value[:1] not in ("'", '"'):
                value = re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
            found[match[1]] = value.partition(" #")[0].strip() not in ("", "''", '""')
    return found


def _program(options: t.Mapping[str, t.Any], host: Host) -> Observation:
    program, least = options["program"], options["minimum_version"]
    if shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/local/bin:/usr/sbin:/sbin") is None:
        return Observation({"missing": 1}, f"{program} is not installed, at least version {least} is needed")
    result = host.commands.run([program, *options["arguments"]], timeout=options["timeout"])
    # Some tell their version on the error output.
    match = re.search(rf"(?<![\w.]){VERSION.pattern}|(?<=\bv){VERSION.pattern}", result.stdout.strip() or result.stderr)
    if match is None:
        raise RunbookError(f"{program} {' '.join(options['arguments'])} tells no version. Give arguments that make it.")
    new_enough = parts(match[0]) >= parts(least)
    bound = "" if new_enough else f", at least {least} is needed"
    return Observation(
        {"missing": int(not new_enough)}, f"{program} is {match[0]}{bound}", details={"version": match[0]}
    )


def parts(version: str) -> list[int]:
    """`18.2.0` as numbers, without zeros at the end: 18 and 18.0 are the same."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
