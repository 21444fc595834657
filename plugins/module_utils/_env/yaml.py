# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML with dotted names, `server.api.key`; a number is the place in a list.

PyYAML tells where a value stands, the value is written there, and all else of the text stays: comments, order, quotes, line ends.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env._text import (
    appended,
    line_end,
    refuse_control,
    segments,
)

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment, unused-ignore]

EMPTY = ""
_TEXT, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
# What other readers of YAML than PyYAML take for yes and no.
_SWITCHES = ("y", "n")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _Found(t.NamedTuple):
    """The mapping or list that a variable belongs to, and the variable's value; both are PyYAML's nodes."""

    around: t.Any
    value: t.Any
    times: int


def refuse(variable: str) -> None:
    """A name joined by dots."""
    segments(variable)


def read(text: str, variable: str) -> str | None:
    """The text that stands there; RunbookError when it is something else than a text."""
    found = _find(_composed(text), segments(variable))
    return None if found.value is None else _string(found.value)


def replaced(text: str, variable: str, value: str) -> str:
    """Write `value` in its place, in its quotes where they do, or at the end of the mapping it belongs to."""
    refuse_control(value)
    names = segments(variable)
    root = _composed(text)
    found = _find(root, names)
    if found.value is None:
        return _added(text, root, found.around, names[-1], value)
    _string(found.value)
    start, end = _span(text, found)
    space = "" if text[start - 1 : start] in (" ", "\t", "\n", "[", "{", "") else " "
    return text[:start] + space + _written(value, found.value.style or "") + text[end:]


def settled(text: str, variable: str, value: str) -> bool:
    """Whether the value stands there."""
    return read(text, variable) == value


def others(text: str, variable: str) -> list[tuple[t.Any, ...]]:
    """All that a parser sees in the document besides the variable."""
    found = _find(_composed(text), segments(variable))
    at = found.value.start_mark.index if found.value is not None else -1
    seen: list[tuple[t.Any, ...]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.ScalarEvent) and _index(event) == at:
            if isinstance(found.around, yaml.MappingNode):
                seen.pop()
            continue
        values = [getattr(event, name, None) for name in ("anchor", "tag", "value", "implicit")]
        seen.append((type(event).__name__, *values[:2], values[2], str(values[3])))
    document = ("DocumentStartEvent", "DocumentEndEvent", "StreamStartEvent", "StreamEndEvent")
    content = [each for each in seen if each[0] not in document]
    # A document of this one variable is as good as an empty one.
    return [] if [each[0] for each in content] == ["MappingStartEvent", "MappingEndEvent"] else content


def notes(text: str, variable: str) -> list[str]:
    """Of several keys with one name the last one counts."""
    count = _find(_composed(text), segments(variable)).times
    return [f"stands there {count} times, the last one counts; remove the others"] if count > 1 else []


def _index(event: t.Any) -> int:
    """Where in the text an event of the parser begins."""
    return int(event.start_mark.index)


def _composed(text: str) -> t.Any:
    if yaml is None:
        raise MissingProgram("PyYAML, which YAML files are read with,", "python3-yaml")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # What PyYAML puts in quotes is text of the file, which may be a secret that begins with an asterisk.
        problem = re.sub(r"'.*'", "…", str(getattr(error, "problem", "")), flags=re.DOTALL)
        where = f"line {mark.line + 1}: {problem}" if mark else "it cannot be read"
        raise RunbookError(f"is no YAML of one document: {where}. Correct the file, or give its format.") from None


def _find(root: t.Any, names: t.Sequence[str]) -> _Found:
    node, around, count = root, None, 0
    for index, name in enumerate(names):
        if node is None and index == 0 and len(names) == 1:
            return _Found(None, None, 0)
        if isinstance(node, yaml.MappingNode):
            members = [value for key, value in node.value if key.value == name and isinstance(key, yaml.ScalarNode)]
        elif isinstance(node, yaml.SequenceNode):
            members = [value for place, value in enumerate(node.value) if str(place) == name]
        else:
            raise RunbookError(f"{'.'.join(names[:index]) or 'the document'} has no members. Name a text in a mapping.")
        around, count = node, len(members)
        node = members[-1] if members else None
        if node is None and index < len(names) - 1:
            raise RunbookError(
                f"{'.'.join(names[: index + 1])} is not there. Add it as a mapping, or correct the name."
            )
    return _Found(around, node, count)


def _string(node: t.Any) -> str | None:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in (_TEXT, _NULL):
        raise RunbookError("holds something else than a text. Name another, or put it in quotes by hand.")
    return None if node.tag == _NULL else node.value


def _span(text: str, found: _Found) -> tuple[int, int]:
    """Where the value stands in the text; what has an anchor, a tag, or stands elsewhere is refused."""
    start, end = found.value.start_mark.index, found.value.end_mark.index
    before = found.around.start_mark.index
    for each in found.around.value:
        key, value = each if isinstance(each, tuple) else (each, each)
        if value is found.value:
            before = key.end_mark.index if key is not value else before
    if start < before or text[start : start + 1] in ("&", "!"):
        raise RunbookError("is an alias, or has an anchor or a tag. Write it as a plain text by hand.")
    if found.value.style in ("|", ">"):
        raise RunbookError("is a text of several lines after | or >. Write it in double quotes by hand.")
    return start, end


def _written(value: str, style: str) -> str:
    """`value` as a scalar that every reader of YAML takes for a text."""
    if style == "" and _PLAIN.fullmatch(value) and value.lower() not in _SWITCHES and yaml.safe_load(value) == value:
        return value
    if style == "'" and not re.search(r"[\n\t]", value) and not _UNPRINTABLE.search(value):
        return "'" + value.replace("'", "''") + "'"
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _added(text: str, root: t.Any, around: t.Any, name: str, value: str) -> str:
    line = f"{_written(name, '')}: {_written(value, '')}"
    if root is None:
        return appended(text, line)
    if not isinstance(around, yaml.MappingNode) or around.flow_style:
        raise RunbookError("is not there, and stands in no block that could take it. Add it by hand first.")
    last = around
    while isinstance(last, (yaml.MappingNode, yaml.SequenceNode)) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    if getattr(last, "style", None) in ("|", ">") or last.start_mark.index < around.start_mark.index:
        raise RunbookError("is not there, and what is before it ends in | or >, or in an alias. Add it by hand first.")
    end = line_end(text)
    at = text.find("\n", last.end_mark.index)
    indented = " " * around.start_mark.column + line
    if at < 0:
        return f"{text}{end}{indented}"
    return f"{text[: at + 1]}{indented}{end}{text[at + 1 :]}"
