# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""Rows as text: CSV (RFC 4180, a line feed ends a row) and JSON.

What a format writes depends on the row alone, never on its neighbours, so that two writings of a row can be compared.
CSV: NULL is an empty cell without quotes (or the text chosen for it), an empty text is `""`; binary content is `\x` and
hexadecimal digits without quotes, a text that looks so is in quotes. JSON: binary content is `{"$hex": "…"}`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import operator
import re
import sys
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import NUMBER, Column, Row

# A cell may be as long as the databases allow.
csv.field_size_limit(sys.maxsize)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
HEX = "$hex"


class Csv:
    """Writes rows as CSV; `safe` puts an apostrophe before text that a spreadsheet would take for a formula."""

    def __init__(
        self, columns: t.Sequence[Column], delimiter: str = ",", null: str = "", header: bool = True, safe: bool = False
    ) -> None:
        self.columns = columns
        self.delimiter = delimiter
        self.null = null
        self.safe = safe
        self.first = header
        self._special = re.compile(f'[{re.escape(delimiter)}"\r\n]')
        # One column alone: an empty line would be no row for csv. Columns without a type keep what looks like a number as it is.
        self._slow = safe or bool(null) or len(columns) == 1 or any(each.kind == "any" for each in columns)

    def begin(self) -> str:
        """The head of the file."""
        if not self.first:
            return ""
        return self.delimiter.join(self._text(each.name, False) for each in self.columns) + "\n"

    def rows(self, rows: t.Sequence[Row]) -> str:
        """The lines of some rows. Most rows hold nothing special, and the C code of csv writes them ten times as fast."""
        if not self._slow:
            kinds = set(map(type, itertools.chain.from_iterable(rows)))
            if bytes not in kinds and "" not in itertools.chain.from_iterable(rows):
                buffer = io.StringIO()
                csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n").writerows(rows)
                text = buffer.getvalue()
                if "\r" not in text and "\\x" not in text:
                    return text
        return "".join([self._line(row) for row in rows])

    def end(self) -> str:
        """The foot of the file."""
        return ""

    def _line(self, row: Row) -> str:
        return self.delimiter.join([self._cell(value, column) for value, column in zip(row, self.columns)]) + "\n"

    def _cell(self, value: t.Any, column: Column) -> str:
        if value is None:
            return self.null
        if isinstance(value, bytes):
            return "\\x" + value.hex()
        if isinstance(value, str):
            # Numbers of servers come as text; they are written as they are.
            if column.kind in ("number", "binary", "boolean") and value and not self._special.search(value):
                return value
            return self._text(value, column.kind == "any")
        return repr(value)

    def _text(self, value: str, any_kind: bool) -> str:
        if self.safe and value.startswith(_FORMULA):
            value = "'" + value
        quoted = (
            not value
            or value == self.null
            or value.startswith("\\x")
            or self._special.search(value)
            or (any_kind and NUMBER.fullmatch(value))
        )
        return '"' + value.replace('"', '""') + '"' if quoted else value


class JsonLines:
    """Writes rows as one JSON object a line."""

    separator = "\n"

    def __init__(self, columns: t.Sequence[Column]) -> None:
        self.columns = columns
        self._names = [json.dumps(column.name, ensure_ascii=False) + ": " for column in columns]

    def begin(self) -> str:
        """The head of the file."""
        return ""

    def rows(self, rows: t.Sequence[Row]) -> str:
        """The lines of some rows."""
        return "".join([self._object(row) + "\n" for row in rows])

    def end(self) -> str:
        """The foot of the file."""
        return ""

    def _object(self, row: Row) -> str:
        cells = [name + _json(value, column.kind) for name, value, column in zip(self._names, row, self.columns)]
        return "{" + ", ".join(cells) + "}"


class JsonArray(JsonLines):
    """Writes rows as one JSON array of objects."""

    def __init__(self, columns: t.Sequence[Column]) -> None:
        super().__init__(columns)
        self._before = "["

    def rows(self, rows: t.Sequence[Row]) -> str:
        parts = []
        for row in rows:
            parts.append(f"{self._before}\n{self._object(row)}")
            self._before = ","
        return "".join(parts)

    def end(self) -> str:
        return ("[" if self._before == "[" else "\n") + "]\n"


def _json(value: t.Any, kind: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f'{{"{HEX}": "{value.hex()}"}}'
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no infinity; every reader takes this for it.
        return "1e999" if value > 0 else "-1e999"
    if isinstance(value, (int, float)):
        return repr(value)
    if kind == "number" and _JSON_NUMBER.fullmatch(value):
        return str(value)
    if kind == "boolean":
        return "true" if value in ("t", "true", "1") else "false"
    if kind == "binary":
        return f'{{"{HEX}": "{value[2:]}"}}'
    if kind == "json":
        # Between tokens JSON allows line ends, inside of strings it does not.
        return str(value.replace("\n", " ").replace("\r", " "))
    return json.dumps(value, ensure_ascii=False)


class Records(t.NamedTuple):
    r"""Rows read back from an archive: each one's text without its line feed, and its key as texts, binary content as `\x…`."""

    texts: list[str]
    keys: list[tuple[str, ...]]


def records(
    format_name: str,
    texts: t.Iterable[str],
    names: t.Sequence[str],
    key: t.Sequence[str],
    rows: int = 1000,
    head: int = 0,
) -> t.Iterator[Records]:
    """Read an archive back, at most `rows` rows at a time; `names` are its columns, the first `head` rows are its head.

    `texts` are what `_files.split` gives.
    """
    if format_name == "jsonl":
        for batch in _batches((text[:-1].split("\n") for text in texts), rows, 0):
            found = [json.loads(text, parse_int=str, parse_float=str) for text in batch]
            yield Records(batch, [tuple([_plain(each[name]) for name in key]) for each in found])
        return
    at = [list(names).index(name) for name in key]
    for batch in _batches(_whole(texts), rows, head):
        if at == [0] and not any('"' in text for text in batch):
            # The key comes first, and nothing is in quotes: a third of the time that csv takes.
            yield Records(batch, [(text.partition(",")[0],) for text in batch])
            continue
        cells = csv.reader(_lines(batch))
        picked = map(operator.itemgetter(*at), cells)
        yield Records(batch, list(zip(picked)) if len(at) == 1 else list(picked))


def _lines(texts: t.Sequence[str]) -> t.Iterator[str]:
    """csv.reader takes lines; a row with line ends in quotes has several."""
    for text in texts:
        yield from (f"{line}\n" for line in text.split("\n"))


def _whole(texts: t.Iterable[str]) -> t.Iterator[list[str]]:
    """Rows, of which those with line ends in quotes have several lines: as long as a quote is open, the row goes on."""
    pending: list[str] = []
    odd = False
    for text in texts:
        lines = text[:-1].split("\n")
        if not pending and '"' not in text:
            yield lines
            continue
        found = []
        for line in lines:
            if line.count('"') & 1:
                odd = not odd
            pending.append(line)
            if not odd:
                found.append("\n".join(pending))
                pending = []
        yield found
    if pending:
        yield ["\n".join(pending)]


def _plain(value: t.Any) -> str:
    return "\\x" + str(value[HEX]) if isinstance(value, dict) and HEX in value else str(value)


def _batches(lists: t.Iterable[list[str]], rows: int, head: int, size: int = 1 << 20) -> t.Iterator[list[str]]:
    """Batches of at most `rows` texts and, but for a text longer than that, about `size` characters; the first `head` are left out."""
    batch: list[str] = []
    total = 0
    for texts in lists:
        if head:
            texts, head = texts[head:], max(0, head - len(texts))
        average = max(1, sum(map(len, texts)) // max(1, len(texts)))
        while texts:
            number = max(1, min(rows - len(batch), (size - total) // average))
            batch += texts[:number]
            texts = texts[number:]
            total += number * average
            if len(batch) >= rows or total + average > size:
                yield batch
                batch, total = [], 0
    if batch:
        yield batch
