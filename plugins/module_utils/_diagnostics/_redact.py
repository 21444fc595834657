# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets taken out of a bundle, the same value by the same mark in all its parts (I4).

Patterns are those of log_scan, and some for command lines and SQL. A value that a pattern or the user names is a secret wherever it stands,
also in a part that was read before: `final` looks for the values themselves, once everything is known.
"""

from __future__ import annotations

import json
import re
import threading
import typing as t
import urllib.parse

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _redact

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Pattern

# A given secret shorter than this would take half of the bundle with it; of a learned one that is likelier still.
SHORTEST_GIVEN = 4
SHORTEST_LEARNED = 8
# Each is looked for in every block; more than these are hidden only where a pattern finds them.
MOST_LEARNED = 300
KEY_LINES = 150
DEEPEST = 20
_MARK = re.compile(r"<secret-\d+>|\*{4,}")
_SCHEME = re.compile(r"(?i)(bearer|basic|digest|token)\s+([^\s,;]+)")
_BARE = re.compile(r"([\s\\\"']*)(.*?)([\s\\\"']*)", re.DOTALL)
_AGAIN = re.compile(r"([\s\\\"']*<secret-\d+>)(.+)", re.DOTALL)
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{16,}")
_KEY_LINE = re.compile(rb"(?:.*[\s>])?[A-Za-z0-9+/=]{16,}\s*\Z")


def _parts(template: str) -> list[int | str]:
    r"""A template such as `\\1 ` as groups and texts, for expanding it anew for each match takes longer than the match."""
    return [int(each[1]) if re.fullmatch(r"\\\d", each) else each for each in re.split(r"(\\\d)", template) if each]


# Rules of log_scan as (expression, what stands before the value, what stands after it).
_OURS = (
    (
        r"(?i)((?<![\w-])--?[\w-]*(?:pass(?:word|wd|phrase)?|secret|token|api-?key|access-?key)[\w-]*\s+)(?!-)[^\s;|&\"'\\]+",
        r"\1?",
    ),
    (r"(?i)(\b(?:password|identified\s+by|identified\s+with\s+\w+\s+(?:by|as))\s+')(?:[^'\\]|''|\\.)*(')", r"\1?\2"),
    (r"(?i)(\b(?:requirepass|masterauth|auth)\s+)[^\s\"'\\]+", r"\1?"),
    (r"(\s-u\s*[\w.-]+:)[^\s@\"'\\]+", r"\1?"),
)
# JSON within a text of JSON has its quotes escaped, and the value ends at the next of them.
_ESCAPED = rf"(?i)((?:{_redact._NAMES})[A-Za-z0-9_-]*\\+[\"']\s*:\s*\\+[\"'])(?:(?!\\+[\"']).)+"
_RULES: list[tuple[re.Pattern[str], list[int | str], list[int | str]]] = [
    (expression, _parts(instead.split(_redact.HIDDEN)[0]), _parts(instead.split(_redact.HIDDEN)[1]))
    for expression, instead in [
        (re.compile(_ESCAPED), rf"\1{_redact.HIDDEN}"),
        *_redact._RULES,
        *[(re.compile(text), instead.replace("?", _redact.HIDDEN)) for text, instead in _OURS],
    ]
]
# A line without any of these matches no rule. Small letters, for lines are compared in small letters.
_TRIGGERS = (
    b"pass", b"pwd", b"secret", b"token", b"key", b"credential", b"session", b"signature", b"private key", b"authorization", b"cookie",
    b"bearer", b"basic", b"://", b"eyj", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-", b"xox", b"sk-", b"sk_", b"akia",
    b"asia", b"aiza", b"identified", b"auth", b" -u",
)  # fmt: skip


class Keys:
    """What one part knows of a private key whose lines are going by."""

    def __init__(self) -> None:
        self.lines: list[bytes] | None = None


class Redactor:
    """`placeholder` may be called from any thread, the rest from the main one only."""

    def __init__(self, given: t.Iterable[str], patterns: t.Sequence[Pattern]) -> None:
        self._marks: dict[str, str] = {}
        self._everywhere: dict[bytes, bytes] = {}
        self._learned = 0
        self._depth = 0
        self._ordered: list[tuple[bytes, bytes]] = []
        self._patterns = patterns
        self._rules = [(expression, self._instead(before, after)) for expression, before, after in _RULES]
        self._lock = threading.Lock()
        for value in given:
            self._give(value)

    @property
    def count(self) -> int:
        """How many different secrets were found."""
        return len(set(self._marks.values()))

    def _give(self, value: str) -> None:
        """A secret that somebody told, and the forms that it has in URLs, JSON and over several lines."""
        if len(value.strip()) < SHORTEST_GIVEN:
            return
        mark = self.placeholder(value)
        forms = {value, urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value), json.dumps(value)[1:-1]}
        forms |= {line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_LEARNED}
        with self._lock:
            for form in forms:
                self._marks.setdefault(form, mark)
                self._everywhere[form.encode("utf-8", "surrogateescape")] = mark.encode()

    def placeholder(self, value: str) -> str:
        """The mark that stands for `value`, always the same."""
        with self._lock:
            if value not in self._marks:
                self._marks[value] = f"<secret-{len(self._marks) + 1}>"
                if _telling(value) and self._learned < MOST_LEARNED:
                    self._learned += 1
                    self._everywhere[value.encode("utf-8", "surrogateescape")] = self._marks[value].encode()
            return self._marks[value]

    def block(self, raw: bytes, keys: Keys) -> bytes:
        """A block of whole lines without what patterns find; `TooSlow` for a pattern of the user that does not end."""
        raw = self._without_keys(raw, keys)
        if self._patterns:
            raw = self._by_users(raw)
        spans = _suspects(raw)
        if not spans:
            return raw
        pieces, done = [], 0
        for start, end in spans:
            pieces.append(raw[done:start])
            line = raw[start:end].decode("utf-8", "surrogateescape")
            pieces.append(self.line(line).encode("utf-8", "surrogateescape"))
            done = end
        return b"".join([*pieces, raw[done:]])

    def line(self, text: str) -> str:
        """One line without what the rules find."""
        for expression, instead in self._rules:
            text = expression.sub(instead, text)
        return text

    def final(self, raw: bytes) -> bytes:
        """`raw` without the values that are known by now."""
        if len(self._ordered) != len(self._everywhere):
            with self._lock:
                self._ordered = sorted(self._everywhere.items(), key=_length, reverse=True)
        for value, mark in self._ordered:
            if value in raw:
                raw = raw.replace(value, mark)
        return raw

    def text(self, text: str) -> str:
        """A message without secrets."""
        return self.whole(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def whole(self, raw: bytes) -> bytes:
        """A text as bytes without secrets."""
        keys = Keys()
        return self.final(self.block(raw, keys) + self.end(keys))

    def everything(self, value: t.Any) -> t.Any:
        """JSON without secrets: every text in it, names too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.everything(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.everything(each) for each in value]
        return value

    def end(self, keys: Keys) -> bytes:
        """What is left of a part whose last lines were those of a key."""
        return self._key(keys) if keys.lines is not None else b""

    def _instead(self, before: t.Sequence[int | str], after: t.Sequence[int | str]) -> t.Callable[[re.Match[str]], str]:
        def instead(match: re.Match[str]) -> str:
            head, tail = _expanded(before, match), _expanded(after, match)
            value = match[0][len(head) : len(match[0]) - len(tail)]
            return f"{head}{self._marked(value)}{tail}"

        return instead

    def _marked(self, value: str) -> str:
        """A mark instead of what is between quotes; quotes and backslashes stay, or a line of JSON would be none any more."""
        known = _AGAIN.match(value)
        if known is not None:
            return f"{known[1]}{self._rest(known[2])}"
        quoted = _BARE.fullmatch(value)
        before, bare, after = quoted.groups() if quoted else ("", value, "")
        if not bare or _MARK.fullmatch(bare):
            return value
        scheme = _SCHEME.match(bare)
        if scheme:
            return f"{before}{scheme[1]} {self._marked(scheme[2])}{after}"
        return f"{before}{self.placeholder(bare)}{after}"

    def _rest(self, text: str) -> str:
        """What an expression took together with a value that was hidden before."""
        if not text:
            return ""
        if self._depth >= DEEPEST:
            return self.placeholder(text)
        self._depth += 1
        try:
            return self.line(text)
        finally:
            self._depth -= 1

    def _by_users(self, raw: bytes) -> bytes:
        text = raw.decode("utf-8", "surrogateescape")
        with pattern.Watch() as watch:
            for each in self._patterns:
                watch.begin(each.option, each.expression.pattern)
                text = each.expression.sub(self._of_user, text)
                watch.end()
        return text.encode("utf-8", "surrogateescape")

    def _of_user(self, match: re.Match[str]) -> str:
        """The first group is the secret, or else all of the match."""
        if match.re.groups and match[1] is not None:
            start, end = match.span(1)
            start, end = start - match.start(), end - match.start()
            return f"{match[0][:start]}{self._marked(match[1])}{match[0][end:]}"
        return self._marked(match[0]) if match[0] else ""

    def _without_keys(self, raw: bytes, keys: Keys) -> bytes:
        """Private keys go through several lines, so that no rule for lines finds them."""
        if keys.lines is None and b"PRIVATE KEY-----" not in raw:
            return raw
        kept: list[bytes] = []
        for line in raw.splitlines(keepends=True):
            if keys.lines is not None:
                keys.lines.append(line)
                if b"-----END " in line or len(keys.lines) > KEY_LINES:
                    kept.append(self._key(keys))
                continue
            begin = line.find(b"-----BEGIN ")
            if begin >= 0 and b"PRIVATE KEY-----" in line[begin:] and b"-----END " not in line[begin:]:
                # The rest of a key may stand on the same line, with line ends that were escaped.
                keys.lines = [line[begin:]]
                kept.append(line[:begin])
            elif begin < 0 and b"-----END " in line and b"PRIVATE KEY-----" in line:
                keys.lines = [line]
                while kept and _KEY_LINE.match(kept[-1]):
                    keys.lines.insert(0, kept.pop())
                kept.append(self._key(keys))
            else:
                kept.append(line)
        return b"".join(kept)

    def _key(self, keys: Keys) -> bytes:
        lines, keys.lines = keys.lines or [], None
        body = b"".join(found for line in lines for found in _BASE64.findall(line)) or b"private key"
        return f"{self.placeholder(body.decode('ascii'))}\n".encode()


def _expanded(parts: t.Sequence[int | str], match: re.Match[str]) -> str:
    return "".join([(match[each] or "") if isinstance(each, int) else each for each in parts])


def _length(form: tuple[bytes, bytes]) -> int:
    return len(form[0])


def _telling(value: str) -> bool:
    """Whether a learned value is worth looking for everywhere: words and paths are, most likely, none that only one place may hold."""
    if len(value) < SHORTEST_LEARNED or value.startswith("/") or _MARK.search(value):
        return False
    return any(each.isdigit() for each in value) or not value.isalpha()


def _suspects(raw: bytes) -> list[tuple[int, int]]:
    """Where the lines begin and end that a rule may match. Searching bytes for words is much faster than any expression."""
    low = raw.lower()
    spans: dict[int, int] = {}
    for trigger in _TRIGGERS:
        at = low.find(trigger)
        while at >= 0:
            end = low.find(b"\n", at)
            end = len(low) if end < 0 else end
            spans[low.rfind(b"\n", 0, at) + 1] = end
            at = low.find(trigger, end)
    return sorted(spans.items())
