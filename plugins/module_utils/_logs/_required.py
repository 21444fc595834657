# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""What a line must hold for a regular expression to match: the pre-filter for `grep`, and for Python (L1, B4).

An expression such as `HTTP/1\.[01]" (401|403)` needs one of a few short texts. `find` walks the parse tree of Python's own
parser and returns them; whatever it does not know makes the answer weaker, never wrong.
"""

from __future__ import annotations

import importlib
import math
import re
import typing as t

Position = frozenset[int]
Text = tuple[Position, ...]
"""A text as the bytes that may stand at each of its positions."""

_parser: t.Any = getattr(re, "_parser", None) or importlib.import_module("sre_parse")
_LONGEST_CLASS = 12
_MOST_TEXTS = 64
_LEAST_BITS = 16.0
_CATEGORIES = {
    "CATEGORY_DIGIT": frozenset(b"0123456789"),
    "CATEGORY_SPACE": frozenset(b" \t\r\f\v"),
}
_ZERO_WIDTH = ("AT", "ASSERT", "ASSERT_NOT")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


class Required(t.NamedTuple):
    """One of `texts` stands in every line that matches; with `exact` every line that holds one matches."""

    texts: tuple[Text, ...]
    exact: bool

    @property
    def literals(self) -> tuple[bytes, ...] | None:
        """The texts as plain bytes, or None where one has a choice of letters."""
        if any(len(position) != 1 for text in self.texts for position in text):
            return None
        return tuple(bytes(next(iter(position)) for position in text) for text in self.texts)

    @property
    def expression(self) -> str:
        """The texts as one expression that both `grep -E` in the C locale and Python's re over bytes read alike."""
        return "|".join("".join(_class(position) for position in text) for text in self.texts)


class _Found(t.NamedTuple):
    """`exact`: all texts the node can match, or None; `best`: the strongest texts it needs, or None; `width` of zero-width."""

    exact: list[Text] | None
    best: list[Text] | None
    conditions: bool = False


def find(expression: re.Pattern[str], plain_only: bool = False) -> Required | None:
    """What `expression` needs, or None when that is too little to be worth a filter.

    `plain_only` is for JSON lines, whose encoders write some characters as escapes: only letters, digits and a few marks
    count then, and nothing is exact.
    """
    try:
        tree = _parser.parse(expression.pattern, expression.flags & ~re.DEBUG)
    except (re.error, RecursionError):
        return None
    found = _sequence(tree, tree.state.flags)
    exact = found.exact is not None and not found.conditions
    texts = found.exact if found.exact is not None else found.best
    if texts is not None and plain_only:
        exact, texts = False, [_plain(text) for text in texts]
    if texts is None or _bits(texts) < _LEAST_BITS:
        return None
    return Required(tuple(sorted(set(texts), key=_order)), exact)


def _order(text: Text) -> list[list[int]]:
    return [sorted(position) for position in text]


def _sequence(nodes: t.Iterable[tuple[t.Any, t.Any]], flags: int) -> _Found:
    run: list[Text] = [()]
    candidates: list[list[Text]] = []
    broken = conditions = False
    for node in nodes:
        found = _node(str(node[0]), node[1], flags)
        conditions = conditions or found.conditions
        if found.exact is None:
            candidates += [run, *([found.best] if found.best else [])]
            run, broken = [()], True
            continue
        joined = len(run) * len(found.exact) <= _MOST_TEXTS
        if not joined:
            candidates.append(run)
            broken = True
        run = [left + right for left in (run if joined else [()]) for right in found.exact]
    if not broken:
        return _Found(run, None, conditions)
    best = max([*candidates, run], key=_bits)
    return _Found(None, best if _bits(best) > 0 else None, conditions)


def _node(name: str, value: t.Any, flags: int) -> _Found:
    if name in _ZERO_WIDTH:
        return _Found([()], None, True)
    if name == "LITERAL":
        return _literal(value, flags)
    if name == "IN":
        return _set(value, flags)
    if name == "SUBPATTERN":
        _group, added, removed, inner = value
        return _sequence(inner, (flags | added) & ~removed)
    if name == "ATOMIC_GROUP":
        return _sequence(value, flags)
    if name == "BRANCH":
        return _branch([_sequence(inner, flags) for inner in value[1]])
    if name in _REPEATS:
        return _repeat(value[0], value[1], _sequence(value[2], flags))
    return _Found(None, None, True)


def _literal(code: int, flags: int) -> _Found:
    if code in (10, 0xFFFD) or _wide(flags):  # no line holds the one; the other stands for whatever is no UTF-8
        return _Found(None, None, True)
    try:
        encoded = chr(code).encode()
    except UnicodeEncodeError:
        return _Found(None, None, True)
    return _Found([tuple(_cases(byte, flags) if code < 128 else frozenset([byte]) for byte in encoded)], None)


def _wide(flags: int) -> bool:
    """Whether letters and digits are those of all scripts: then a K has a third case, the Kelvin sign."""
    return not flags & re.ASCII or bool(flags & re.UNICODE)


def _cases(byte: int, flags: int) -> Position:
    both = bytes([byte]).swapcase()[0]
    return frozenset([byte, both]) if flags & re.IGNORECASE else frozenset([byte])


def _set(parts: t.Sequence[tuple[t.Any, t.Any]], flags: int) -> _Found:
    members: set[int] = set()
    if _wide(flags):
        return _Found(None, None, True)
    for kind, value in parts:
        name = str(kind)
        if name == "LITERAL":
            members.add(value)
        elif name == "RANGE" and value[1] - value[0] < 256:
            members.update(range(value[0], value[1] + 1))
        elif name == "CATEGORY" and str(value) in _CATEGORIES:
            members |= _CATEGORIES[str(value)]
        else:
            return _Found(None, None, True)
    members.discard(10)
    if not members or max(members) > 127:
        return _Found(None, None, True)
    position = frozenset(case for member in members for case in _cases(member, flags))
    return _Found([(position,)] if len(position) <= _LONGEST_CLASS else None, None, len(position) > _LONGEST_CLASS)


def _branch(branches: t.Sequence[_Found]) -> _Found:
    conditions = any(each.conditions for each in branches)
    if all(each.exact is not None for each in branches):
        texts = [text for each in branches for text in each.exact or ()]
        if len(texts) <= _MOST_TEXTS:
            return _Found(texts, None, conditions)
    bests = [each.exact if each.exact is not None else each.best for each in branches]
    if any(not best for best in bests):
        return _Found(None, None, conditions)
    return _Found(None, [text for best in bests for text in best or ()], conditions)


def _repeat(least: int, most: t.Any, inner: _Found) -> _Found:
    if least == 0:
        return _Found(None, None, True)
    if inner.exact is not None and least == most and len(inner.exact) ** least <= _MOST_TEXTS and least <= 32:
        texts: list[Text] = [()]
        for _number in range(least):
            texts = [left + right for left in texts for right in inner.exact]
        return _Found(texts, None, inner.conditions)
    return _Found(None, inner.exact if inner.exact is not None else inner.best, True)


def _bits(texts: t.Sequence[Text]) -> float:
    """How much the weakest text tells, less what a choice of many takes away."""
    if not texts:
        return 0.0
    weakest = min(sum(8 - math.log2(len(position)) for position in text) for text in texts)
    return weakest - math.log2(len(texts))


def _plain(text: Text) -> Text:
    """The longest part that JSON encoders never escape."""
    best: Text = ()
    part: Text = ()
    for position in text:
        usual = all(chr(byte).isalnum() or byte in b" _.:;,-()=[]" for byte in position if byte < 128)
        part = (*part, position) if usual and max(position) < 128 else ()
        best = max(best, part, key=len)
    return best


def _class(position: Position) -> str:
    if len(position) == 1:
        byte = next(iter(position))
        letter = chr(byte)
        if byte > 127:
            return letter
        return f"\\{letter}" if letter in ".[]()*+?{}|^$\\" else letter
    # In a bracket only these have a meaning, by their places: `]` first, `^` not first, `-` last. A backslash has none for
    # grep and one for Python.
    letters = "".join(sorted(chr(byte) for byte in position))
    if set(letters) & set("\\[]^-"):
        return "(" + "|".join(_class(frozenset([ord(letter)])) for letter in letters) + ")"
    return f"[{letters}]"
