# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows out of CSV and JSON that somebody else wrote: each with its line, each mistake told, the rows after it read all the same."""

from __future__ import annotations

import codecs
import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

# A row longer than this is no row; it bounds the memory.
ROW_BYTES = 8 << 20
# A quote that opens and does not close would swallow the rest of the file.
OPEN_LINES = 1000
# In these a line feed is one byte that is part of nothing else, so that one bad line can be left out.
_BY_LINE = re.compile(
    r"utf-?8(-?sig)?|ascii|us-ascii|latin-?1|iso-?8859-\d+|cp\d+|windows-\d+|koi8-[ru]", re.IGNORECASE
)


class Line(t.NamedTuple):
    """A physical line, counted from 1, without its line feed; `problem` when it cannot be read."""

    number: int
    text: str
    problem: str = ""


class Record(t.NamedTuple):
    """A row: the line it begins in, its cells, which of them were in quotes, or the `kind` of mistake and its reason."""

    line: int
    cells: t.Any
    quoted: frozenset[int] = frozenset()
    kind: str = ""
    reason: str = ""


def lines(pieces: t.Iterable[bytes], encoding: str) -> t.Iterator[Line]:
    """The lines of a file; a byte order mark is left out."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    if not _BY_LINE.fullmatch(encoding):
        pieces, encoding = _decoded(pieces, encoding), "utf-8"
    for number, (data, too_long) in enumerate(_split(pieces), start=1):
        if too_long:
            yield Line(number, "", f"is longer than {ROW_BYTES >> 20} MiB")
            continue
        try:
            yield Line(number, data.decode(encoding if number == 1 else encoding.replace("-sig", "")))
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of the line is 0x{data[error.start]:02x}"
            yield Line(number, data.decode("latin-1"), f"is no {encoding.replace('-sig', '')}: {place}")


def _decoded(pieces: t.Iterable[bytes], encoding: str) -> t.Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise RunbookError(f"encoding: the file is no {encoding}: {error.reason}. Name the encoding it has.") from error


def _split(pieces: t.Iterable[bytes]) -> t.Iterator[tuple[bytes, bool]]:
    """Lines, and whether each is too long, in which case it is empty."""
    rest: list[bytes] = []
    size = 0
    for piece in pieces:
        first, *more = piece.split(b"\n")
        size += len(first)
        if size <= ROW_BYTES:
            rest.append(first)
        if not more:
            continue
        yield (b"", True) if size > ROW_BYTES else (b"".join(rest), False)
        yield from ((line, False) for line in more[:-1])
        rest, size = [more[-1]], len(more[-1])
    if size:
        yield (b"", True) if size > ROW_BYTES else (b"".join(rest), False)


class _Pushback:
    """Lines of which some can be given back."""

    def __init__(self, source: t.Iterator[Line]) -> None:
        self._source = source
        self._back: list[Line] = []

    def next(self) -> Line | None:
        return self._back.pop() if self._back else next(self._source, None)

    def give_back(self, some: t.Sequence[Line]) -> None:
        self._back += reversed(some)


def csv_records(source: t.Iterator[Line], delimiter: str) -> t.Iterator[Record]:
    """The rows of a CSV file (RFC 4180, lines that end with LF or CRLF); empty lines are left out."""
    pattern = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"{re.escape(delimiter)}]*))({re.escape(delimiter)}|\Z)')
    feed = _Pushback(source)
    while True:
        line = feed.next()
        if line is None:
            return
        taken = [line]
        if line.text.count('"') & 1 and not line.problem:
            closed = _close(feed, taken)
            if not closed:
                feed.give_back(taken[1:])
                yield Record(line.number, None, kind="malformed", reason="a quote is opened and not closed")
                continue
        text = "\n".join([each.text for each in taken])
        text = text[:-1] if text.endswith("\r") else text
        record = Record(line.number, text.split(delimiter)) if '"' not in text else _cells(line.number, text, pattern)
        bad = next((each for each in taken if each.problem), None)
        if record.kind and len(taken) > 1:
            # Rather the row that it begins in is bad than all that a stray quote swallowed.
            feed.give_back(taken[1:])
            yield record._replace(reason="a quote is opened and not closed as it should be")
        elif bad is not None:
            kind = "too_long" if "longer" in bad.problem else "encoding"
            reason = bad.problem if bad is line else f"line {bad.number} {bad.problem}"
            yield Record(line.number, None, kind=kind, reason=reason)
        else:
            yield record


def _close(feed: _Pushback, taken: list[Line]) -> bool:
    """Take lines until the quote is closed; false when it never is, or not within reason."""
    size = len(taken[0].text)
    while len(taken) < OPEN_LINES and size <= ROW_BYTES:
        line = feed.next()
        if line is None:
            return False
        taken.append(line)
        size += len(line.text)
        if line.text.count('"') & 1:
            return True
    return False


def _cells(number: int, text: str, pattern: re.Pattern[str]) -> Record:
    cells: list[str] = []
    quoted = set()
    position = 0
    while True:
        match = pattern.match(text, position)
        if match is None:
            reason = f"a quote stands where none may be, in column {len(cells) + 1}"
            return Record(number, None, kind="malformed", reason=reason)
        if match[1] is not None:
            quoted.add(len(cells))
            cells.append(match[1].replace('""', '"'))
        else:
            cells.append(match[2])
        position = match.end()
        if not match[3]:
            return Record(number, cells, frozenset(quoted))


def json_records(source: t.Iterator[Line]) -> t.Iterator[Record]:
    """The objects of a file with one in each line; floats stay the text that they are."""
    for line in source:
        if line.problem:
            yield Record(
                line.number, None, kind="too_long" if "longer" in line.problem else "encoding", reason=line.problem
            )
        elif line.text.strip():
            yield _object(line.number, line.text)


def _object(number: int, text: str) -> Record:
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        return Record(number, None, kind="malformed", reason=f"is no JSON: {error}")
    if not isinstance(found, dict):
        return Record(number, None, kind="malformed", reason="is no JSON object")
    return Record(number, found)


class Decimal(str):
    """A number with a fraction, as it was written."""


def _constant(text: str) -> t.Any:
    raise ValueError(f"{text} is no JSON")


def _pairs(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def array_records(source: t.Iterator[Line]) -> t.Iterator[Record]:
    """The objects of one JSON array, which may go over lines as it likes; what is no JSON ends it."""
    buffer, start, opened = "", 1, False
    for line in source:
        if line.problem:
            raise RunbookError(f"line {line.number} {line.problem}. A JSON array cannot be read past it.")
        buffer += line.text + "\n"
        while True:
            stripped = buffer.lstrip(" \t\r\n," if opened else " \t\r\n")
            start = line.number - stripped.count("\n") + 1
            if not opened and stripped.startswith("["):
                opened, buffer = True, stripped[1:]
                continue
            if opened and stripped.startswith("]"):
                return
            buffer = stripped
            end = _end(stripped) if opened else 0
            if not end:
                break
            yield _object(start, stripped[:end])
            buffer = stripped[end:]
        if len(buffer) > ROW_BYTES or (buffer and not opened):
            break
    raise RunbookError(
        f"line {start}: the file is no JSON array, or breaks off. Write one object a line and set format to jsonl."
    )


def _end(text: str) -> int:
    """Where the first value of the text ends; 0 when it is not whole."""
    if not text or text[-2:-1] not in "}],":
        return 0
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except ValueError:
        return 0
