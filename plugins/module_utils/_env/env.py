# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""`KEY=value` as systemd's EnvironmentFile, shells and the `.env` readers know it.

They agree on less than it seems: systemd expands nothing and knows no comment behind a value, a shell expands `$` in double quotes, and
python-dotenv expands `${…}` everywhere and leaves `\$` as it is. Values are written so that all of them read the same, or refused.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env._text import appended, refuse_control

EMPTY = ""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_REST = re.compile(r"[ \t]*(?:[ \t]#[^\r\n]*)?(?=[\r\n]|\Z)")
_SWALLOWED = re.compile(r"(?:\A|\n)[ \t]*[#;][^\n]*\\\r?\n\Z")
_COMMENT = re.compile(r"(?:^|[ \t])[ \t]*#")


class _Assignment(t.NamedTuple):
    """One assignment: where its value stands (`text[start:end]`, quotes included), its value, and whether a comment is behind it."""

    name: str
    start: int
    end: int
    value: str
    comment: bool


def refuse(variable: str) -> None:
    """A name that shells know."""
    if not _NAME.fullmatch(variable):
        raise RunbookError("is no name of an environment variable. Use letters, digits and underscores.")


def read(text: str, variable: str) -> str | None:
    """The value that counts: the last one."""
    found = _of(text, variable)
    return found[-1].value if found else None


def replaced(text: str, variable: str, value: str) -> str:
    """Write `value` in the place that counts, in its quotes where they do."""
    refuse(variable)
    found = _of(text, variable)
    if not found:
        return appended(text, f"{variable}={_quoted(value, '')}")
    place = found[-1]
    style = text[place.start : place.end][:1] if text[place.start : place.start + 1] in ("'", '"') else ""
    return text[: place.start] + _quoted(value, style) + text[place.end :]


def settled(text: str, variable: str, value: str) -> bool:
    """Whether the value stands there in a way that all read alike."""
    found = _of(text, variable)
    return bool(found) and found[-1].value == value and text[found[-1].start : found[-1].end] in _ways(value).values()


def others(text: str, variable: str) -> dict[str, str]:
    """All other variables with their values."""
    return {each.name: each.value for each in _scan(text) if each.name != variable}


def notes(text: str, variable: str) -> list[str]:
    """Places that are not what they seem."""
    found = _of(text, variable)
    told = [f"stands there {len(found)} times, the last one counts; remove the others"] if len(found) > 1 else []
    if found and found[-1].comment:
        told.append("has a comment behind its value, which systemd takes for a part of it; put it on a line of its own")
    if found and _SWALLOWED.search(text[: text.rfind("\n", 0, found[-1].start) + 1]):
        told.append(
            "follows a comment that ends in a backslash, which goes on in its line for systemd; take the backslash away"
        )
    return told


def _ways(value: str) -> dict[str, str]:
    """How `value` can be written so that systemd, shells and readers of `.env` files see the same, by the quote it begins with."""
    ways: dict[str, str] = {}
    if "${" in value:
        return ways
    if _BARE.fullmatch(value):
        ways[""] = value
    if not re.search(r"['\\]", value):
        ways["'"] = f"'{value}'"
    if not re.search(r"[$`]", value):
        ways['"'] = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return ways


def _quoted(value: str, style: str) -> str:
    refuse_control(value)
    ways = _ways(value)
    if not ways:
        raise RunbookError(
            "the value cannot be written so that systemd, shells and readers of .env files see the same: it has ${, or a $ or a backtick"
            " together with a single quote or a backslash. Choose a value without."
        )
    return ways.get(style) or ways.get("'" if style else "") or next(iter(ways.values()))


def _of(text: str, variable: str) -> list[_Assignment]:
    return [each for each in _scan(text) if each.name == variable]


def _scan(text: str) -> list[_Assignment]:
    """All assignments in order; what stands inside of a value of several lines is none."""
    found = []
    at = 0
    while at < len(text):
        match = _ASSIGNMENT.match(text, at)
        if match:
            start = match.end()
            end, value, comment = _value(text, start)
            found.append(_Assignment(match[1], start, end, value, comment))
            at = end
        at = _next_line(text, at)
    return found


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value(text: str, start: int) -> tuple[int, str, bool]:
    """The value that begins at `start`: its end, what it means, whether a comment is behind it."""
    if text[start : start + 1] in ("'", '"'):
        end, value = _unquoted(text, start)
        rest = _REST.match(text, end)
        if rest:
            return end, value, "#" in rest[0]
    end = start
    pieces = text[start : start + 1] in ("'", '"')  # as in "$HOME/bin":$PATH
    while end < len(text) and text[end] not in "\r\n":
        if pieces and text[end] in "'\"":
            end = _unquoted(text, end)[0]
        else:
            # A backslash takes the line's end along: the value goes on in the next.
            end += 3 if text.startswith("\\\r\n", end) else 2 if text[end] == "\\" else 1
    end = min(end, len(text))
    raw = text[start:end]
    comment = None if pieces else _COMMENT.search(raw)
    if comment:
        raw = raw[: comment.start()]
    raw = raw.rstrip(" \t")
    return start + len(raw), re.sub(r"\\(\r?\n|.)", lambda match: match[1].strip("\r\n"), raw), bool(comment)


def _unquoted(text: str, start: int) -> tuple[int, str]:
    """The quoted value that begins at `start`: where its closing quote ends, and what it means."""
    quote = text[start]
    pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.compile(pattern, re.DOTALL).match(text, start)
    if match is None:
        line = text.count("\n", 0, start) + 1
        raise RunbookError(f"the quote that opens in line {line} is never closed. Close it.")
    if quote == "'":
        return match.end(), match[1]
    return match.end(), re.sub(r'\\(\r?\n|["\\$`])', lambda found: found[1].strip("\r\n"), match[1])
