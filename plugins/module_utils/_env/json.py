# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON with dotted names, `server.api.key`; a number is the place in a list. Indentation and order stay, for only the value is written."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env._text import refuse_control, segments

EMPTY = "{}\n"
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(strict=True)


class _Member(t.NamedTuple):
    """A member of an object or list: its name, where it begins, where its value begins and ends."""

    name: str
    start: int
    value: int
    end: int


def refuse(variable: str) -> None:
    """A name joined by dots."""
    segments(variable)


def read(text: str, variable: str) -> str | None:
    """The text that stands there; RunbookError when it is something else than a text."""
    _parsed(text)
    _around, member = _find(text, segments(variable))
    return None if member is None else _string(text, member)


def replaced(text: str, variable: str, value: str) -> str:
    """Write `value` in its place, or behind the last member of the object it belongs to."""
    refuse_control(value)
    _parsed(text)
    names = segments(variable)
    around, member = _find(text, names)
    written = json.dumps(value, ensure_ascii=text.isascii())
    if member is not None:
        _string(text, member)
        return text[: member.value] + written + text[member.end :]
    if text[around] != "{":
        raise RunbookError("names a place that the list does not have. Name one that is there.")
    name = json.dumps(names[-1], ensure_ascii=text.isascii())
    members = _members(text, around)
    if not members:
        return f"{text[: around + 1]}{name}: {written}{text[around + 1 :]}"
    last = members[-1]
    before = text[members[-2].end : last.start].partition(",")[2] if len(members) > 1 else text[around + 1 : last.start]
    _name, name_end = _DECODER.raw_decode(text, last.start)
    return f"{text[: last.end]},{before}{name}{text[name_end : last.value]}{written}{text[last.end :]}"


def settled(text: str, variable: str, value: str) -> bool:
    """Whether the value stands there."""
    return read(text, variable) == value


def others(text: str, variable: str) -> t.Any:
    """The document without the variable."""
    document = _parsed(text)
    at = document
    names = segments(variable)
    for name in names[:-1]:
        at = at[int(name)] if isinstance(at, list) else at.get(name, {})
    if isinstance(at, list):
        at[int(names[-1])] = None
    else:
        at.pop(names[-1], None)
    return document


def notes(text: str, variable: str) -> list[str]:
    """Of several members with one name the last one counts."""
    around, member = _find(text, segments(variable))
    count = sum(each.name == member.name for each in _members(text, around)) if member else 0
    return [f"stands there {count} times, the last one counts; remove the others"] if count > 1 else []


def _parsed(text: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise RunbookError(f"is no JSON: {where}. Correct the file, or give its format.") from None


def _find(text: str, names: t.Sequence[str]) -> tuple[int, _Member | None]:
    """Where the object or list begins that the variable belongs to, and the variable in it."""
    at = _skip(text, 0)
    member = None
    for index, name in enumerate(names):
        if text[at] not in "{[":
            raise RunbookError(f"{'.'.join(names[:index]) or 'the document'} has no members. Name a text in an object.")
        found = [each for each in _members(text, at) if each.name == name]
        member = found[-1] if found else None
        if index == len(names) - 1:
            return at, member
        if member is None:
            raise RunbookError(
                f"{'.'.join(names[: index + 1])} is not there. Add it as an object, or correct the name."
            )
        at = member.value
    return at, member


def _members(text: str, around: int) -> list[_Member]:
    found: list[_Member] = []
    closing = {"{": "}", "[": "]"}[text[around]]
    at = _skip(text, around + 1)
    while text[at] != closing:
        start, name = at, str(len(found))
        if closing == "}":
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _value, end = _DECODER.raw_decode(text, at)
        found.append(_Member(name, start, at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _string(text: str, member: _Member) -> str | None:
    value, _end = _DECODER.raw_decode(text, member.value)
    if value is not None and not isinstance(value, str):
        raise RunbookError("holds something else than a text. Name another, or make it a text by hand.")
    return value
