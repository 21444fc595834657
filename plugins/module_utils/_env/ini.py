# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""INI files as Python's configparser reads them: `section.key`; what is before the last dot is the section.

There is no quoting that all readers know, so what would need some is refused.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env._text import appended, line_end, segments

EMPTY = ""
_SECTION = re.compile(r"\[(.+)\][ \t]*(?:[#;].*)?")
_OPTION = re.compile(r"([^\s#;=:\[][^=:]*?)([ \t]*[=:][ \t]*)(.*?)[ \t]*")
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f]|^[\s\"'#;]|\s$|\s[#;]|%|[\ud800-\udfff]")


class _Option(t.NamedTuple):
    """A key: its section, its lower-case name, where its value stands, what is between name and value, and its line."""

    section: str
    name: str
    start: int
    end: int
    separator: str
    line: int


class _File(t.NamedTuple):
    """Keys in order, sections with the place behind their last key, and lines that continue a value."""

    options: list[_Option]
    sections: dict[str, int]
    continued: set[int]


def refuse(variable: str) -> None:
    """Section and key."""
    _split(variable)


def read(text: str, variable: str) -> str | None:
    """The value that counts: the last one."""
    found = _of(_scan(text), variable)
    if not found:
        return None
    value = text[found[-1].start : found[-1].end]
    if re.search(r"\s[#;]", value):
        raise RunbookError(
            "has a comment behind its value, which some readers take for a part of it. Put it on a line of its own."
        )
    return value


def replaced(text: str, variable: str, value: str) -> str:
    """Write `value` in the place that counts, or at the end of the section."""
    if _NO_VALUE.search(value):
        raise RunbookError(
            "the value cannot be written so that all readers of INI files see the same: it has %, control characters, space at an end,"
            " # or ; at its start or behind space, or a quote at its start. Choose a value without."
        )
    scanned = _scan(text)
    found = _of(scanned, variable)
    if found:
        read(text, variable)
        return text[: found[-1].start] + value + text[found[-1].end :]
    section, name = _split(variable)
    alike = [each for each in scanned.options if each.section == section] or scanned.options
    separator = alike[-1].separator if alike else " = "
    if not separator.strip():
        separator = " = "
    line = f"{name}{separator}{value}"
    if section not in scanned.sections:
        return appended(appended(appended(text, ""), f"[{section}]") if text else f"[{section}]{line_end(text)}", line)
    at = scanned.sections[section]
    if at == len(text):
        return appended(text, line)
    return f"{text[:at]}{line}{line_end(text)}{text[at:]}"


def settled(text: str, variable: str, value: str) -> bool:
    """Whether the value stands there."""
    return read(text, variable) == value


def others(text: str, variable: str) -> dict[tuple[str, str], str]:
    """All other keys with their values."""
    wanted = (_split(variable)[0], _split(variable)[1].lower())
    found = {(each.section, each.name): text[each.start : each.end] for each in _scan(text).options}
    return {key: value for key, value in found.items() if key != wanted}


def notes(text: str, variable: str) -> list[str]:
    """Of several keys with one name the last one counts."""
    count = len(_of(_scan(text), variable))
    return [f"stands there {count} times, the last one counts; remove the others"] if count > 1 else []


def _split(variable: str) -> tuple[str, str]:
    parts = segments(variable)
    section, name = ".".join(parts[:-1]), parts[-1]
    if not section or re.search(r"[\]\r\n]", section) or not re.fullmatch(r"[^\s#;=:\[][^=:\r\n]*", name):
        raise RunbookError("is no section and key. Write both joined by a dot, as in server.password.")
    return section, name


def _of(scanned: _File, variable: str) -> list[_Option]:
    section, name = _split(variable)
    found = [each for each in scanned.options if (each.section, each.name) == (section, name.lower())]
    if found and found[-1].line in scanned.continued:
        raise RunbookError("goes on in the next line. Write it in one line by hand.")
    return found


def _scan(text: str) -> _File:
    scanned = _File([], {}, set())
    section = ""
    at = 0
    for number, whole in enumerate(re.findall(r"[^\n]*\n|[^\n]+\Z", text)):
        line = whole.rstrip("\r\n")
        heading, option = _SECTION.fullmatch(line), _OPTION.fullmatch(line)
        if heading:
            section = heading[1]
            scanned.sections[section] = at + len(whole)
        elif line[:1] in (" ", "\t") and line.strip() and line.strip()[0] not in "#;" and scanned.options:
            scanned.continued.add(scanned.options[-1].line)
            scanned.sections[section] = at + len(whole)
        elif option:
            scanned.options.append(
                _Option(section, option[1].strip().lower(), at + option.start(3), at + option.end(3), option[2], number)
            )
            scanned.sections[section] = at + len(whole)
        at += len(whole)
    return scanned
