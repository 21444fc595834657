# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What mariadb-dump and mysqldump write, read while it passes by: rows of each table, objects, the mark of the end.

Nobody but the dump's own session sees its snapshot, and a second one of the same moment would need a lock over the whole
server. So the rows are counted where they surely are the dump's: in the dump.

The script falls in two parts that take turns. The data of a table stands between `LOCK TABLES … WRITE;` and `UNLOCK TABLES;`
and is as large as the table: it is only counted. All else is split into statements as the client does it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch

# No statement outside the data is nearly as long.
LONGEST = 16 << 20
_COMPLETED = b"-- Dump completed"
_DATA_END = b"\nUNLOCK TABLES;\n"
_NAME = rb"`(?:[^`]|``)*`"
_SPACE = re.compile(rb"\s*")
_PART = re.compile(rb"[^'\"`;]+|'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|`[^`]*`", re.DOTALL)
# A whole quoted text, or (group 1) one that is still open at the end.
_QUOTED = re.compile(rb"'[^'\\]*(?:\\.[^'\\]*)*'|`[^`]*`|('[^'\\]*(?:\\.[^'\\]*)*\\?\Z|`[^`]*\Z)", re.DOTALL)
_COMMENTS = rb"(?:\s+|/\*(?!M?!).*?\*/)*(?:/\*M?!\d*\s*)?"
_FOREIGN = re.compile(
    _COMMENTS + rb"(?:USE|(?:CREATE|DROP)(?:\s+OR\s+REPLACE)?\s+(?:DATABASE|SCHEMA))\b", re.DOTALL | re.IGNORECASE
)
_ALTER_DATABASE = re.compile(rb"(ALTER DATABASE )" + _NAME)
_LOCK = re.compile(rb"LOCK TABLES (" + _NAME + rb") WRITE;\Z")
_DEFINER = rb"DEFINER=" + _NAME + rb"(?:@" + _NAME + rb")? ?"
_VIEW = re.compile(rb"/\*!50001 CREATE ALGORITHM=\w+ \*/\s*/\*!50013 (" + _DEFINER + rb")?")
_ROUTINE = re.compile(
    rb"(?:/\*!\d+ )?CREATE(?:\*/)? (?:OR REPLACE )?(?:/\*!\d+ )?(" + _DEFINER + rb")?(?:\*/ )?(?:/\*!\d+ )?"
    rb"(?:AGGREGATE )?(PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE BODY|PACKAGE)\b"
)  # fmt: skip
_CREATE = re.compile(_COMMENTS + rb"CREATE\b", re.DOTALL | re.IGNORECASE)
_EVENT_STATUS = re.compile(
    rb" " + _NAME + rb" ON SCHEDULE\s.*?\s(ON COMPLETION (?:NOT )?PRESERVE (?:ENABLE|DISABLE ON \w+|DISABLE))\b",
    re.DOTALL,
)
# A trigger is dumped as it was typed in, with the database's name if that was given.
_WORD = rb"(?:" + _NAME + rb"|\"[^\"]*\"|[^\s.`\"]+)"
_TRIGGER_NAMES = re.compile(
    rb"\s+(?:IF\s+NOT\s+EXISTS\s+)?(" + _WORD + rb"\s*\.\s*)?" + _WORD + rb"\s+(?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE)"
    rb"\s+ON\s+(" + _WORD + rb"\s*\.\s*)?" + _WORD, re.IGNORECASE,
)  # fmt: skip


class Script:
    """A dump that passes by in pieces.

    `figures` holds the rows of each table and the numbers of objects. With `database` the script is rewritten so that it
    fills a database of that name and touches nothing else: no other default character set, no trigger in another
    database. Unless told to `keep` them, events get disabled, for else they fire, and nothing belongs to a user who may
    not be there (definers).
    """

    def __init__(self, database: str | None = None, keep: bool = False) -> None:
        self._keep = keep
        self._target = None if database is None else quoted(database).encode()
        self._buffer = b""
        self._at = 0
        self._scanned = 0
        self._in_body = False
        self._data: _Rows | None = None
        self._table = ""
        self._completed = False
        self._tables: dict[str, int] = {}
        self._objects: dict[str, int] = {}

    @property
    def figures(self) -> dict[str, t.Any]:
        """`tables` is rows by name, of the tables whose rows are in the dump; `objects` numbers by kind."""
        return {"tables": dict(self._tables), "objects": dict(self._objects)}

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; return what is to be executed of it. Mismatch for what no dump of one database has."""
        self._buffer = self._buffer[self._at :] + piece if self._at < len(self._buffer) else piece
        self._at = 0
        out: list[bytes] = []
        while self._rows(out) if self._data else self._statement(out):
            pass
        return b"".join(out)

    def finish(self) -> None:
        """The end of the input; Mismatch when it is not the dump's."""
        rest = self._buffer[self._at :].strip()
        if self._data or rest or not self._completed:
            raise Mismatch("the dump ends before its end: the line -- Dump completed is missing")

    def _statement(self, out: list[bytes]) -> bool:
        """Take one statement or one line off the buffer; False when it is not all there yet."""
        buffer = self._buffer
        start = t.cast("re.Match[bytes]", _SPACE.match(buffer, self._at)).end()
        head = buffer[start : start + 16]
        if len(head) < 16 and b"\n" not in head and not head.endswith(b";"):
            return self._wait(start)
        if head.startswith((b"--", b"DELIMITER ", b"/*!999999\\-", b"/*M!999999\\-")):
            end = buffer.find(b"\n", start) + 1
            if not end:
                return self._wait(start)
            self._line(buffer[start:end], out)
        elif self._in_body:
            end = buffer.find(b";;\n", start) + 3
            if end < 3:
                return self._wait(start)
            self._execute(buffer[start:end], out)
        else:
            end = self._end_of_statement(start)
            if not end:
                return self._wait(start)
            self._execute(buffer[start:end], out)
        self._at = end
        return True

    def _wait(self, start: int) -> bool:
        if len(self._buffer) - start > LONGEST:
            raise Mismatch(f"a statement has more than {LONGEST} bytes: this is no dump of mariadb-dump or mysqldump")
        return False

    def _end_of_statement(self, start: int) -> int:
        """Where the statement ends that begins at `start`; 0 when that is still to come. Nothing is looked at twice."""
        at = start + self._scanned
        while at < len(self._buffer):
            part = _PART.match(self._buffer, at)
            if part is None:
                # What stands here is the semicolon, or a quotation mark that is closed in a later piece.
                if self._buffer[at : at + 1] == b";":
                    self._scanned = 0
                    return at + 1
                break
            at = part.end()
        self._scanned = at - start
        return 0

    def _line(self, line: bytes, out: list[bytes]) -> None:
        if line.startswith(b"DELIMITER "):
            self._in_body = line.strip() == b"DELIMITER ;;"
        elif line.startswith(b"--"):
            self._completed = line.startswith(_COMPLETED)
            return
        else:
            # The sandbox of the client: older clients and those of MySQL stop at it. --binary-mode does the same for us.
            return
        out.append(line)

    def _execute(self, text: bytes, out: list[bytes]) -> None:
        self._completed = False
        if _FOREIGN.match(text):
            raise Mismatch(
                f"the dump speaks of another database ({text[:60].decode(errors='replace').strip()} …). "
                "A dump of one database never does: it was made with --databases, or changed."
            )
        if self._in_body:
            text = self._routine(text)
        elif text.startswith(b"LOCK TABLES "):
            locked = _LOCK.match(text)
            if locked:
                self._table, self._data = _unquoted(locked[1]), _Rows(locked[1])
        elif text.startswith(b"CREATE TABLE `"):
            self._count("tables")
        elif text.startswith(b"CREATE SEQUENCE "):
            self._count("sequences")
        elif _VIEW.match(text):
            self._count("views")
            text = text if self._keep else _without(text, t.cast("re.Match[bytes]", _VIEW.match(text)).span(1))
        target = self._target
        if target is not None:
            text = _ALTER_DATABASE.sub(lambda match: match[1] + target, text, count=1)
            out += [text, b"" if self._in_body or self._data else b"\n"]

    def _routine(self, text: bytes) -> bytes:
        """A statement between other delimiters: the body of a routine, trigger or event, and what belongs to it."""
        found = _ROUTINE.match(text)
        if found is None:
            if _CREATE.match(text):
                # Perhaps an event, which would fire.
                raise Mismatch(f"a statement cannot be read: {text[:100].decode(errors='replace')} …")
            return text
        kind = found[2]
        self._count(kind.decode().lower().replace("package body", "package_bodie").replace(" ", "_") + "s")
        if self._target is None:
            return text
        spans = [] if self._keep else [found.span(1)]
        if kind == b"TRIGGER":
            names = _TRIGGER_NAMES.match(text, found.end())
            spans += [names.span(1), names.span(2)] if names else []
        elif kind == b"EVENT" and not self._keep:
            status = _EVENT_STATUS.match(text, found.end())
            if status is None:
                raise Mismatch(f"an event cannot be read: {text[:100].decode(errors='replace')} …")
            # One whose time has passed would not be created at all if it were not preserved.
            text = text[: status.start(1)] + b"ON COMPLETION PRESERVE DISABLE" + text[status.end(1) :]
        return _without(text, *spans)

    def _count(self, kind: str) -> None:
        self._objects[kind] = self._objects.get(kind, 0) + 1

    def _rows(self, out: list[bytes]) -> bool:
        """Count what is there of a table's data; True when its end was found."""
        rows = t.cast("_Rows", self._data)
        end = self._buffer.find(_DATA_END, self._at)
        stop = end + 1 if end >= 0 else max(self._at, len(self._buffer) - len(_DATA_END) + 1)
        if end < 0 and not rows.begun and stop - self._at < rows.head_bytes:
            return False
        data = self._buffer[self._at : stop]
        rows.feed(data)
        if self._target is not None:
            out.append(data)
        self._at = stop
        if end >= 0:
            self._tables[self._table] = self._tables.get(self._table, 0) + rows.count
            self._data = None
        return end >= 0


class _Rows:
    """Counts the rows in the INSERT statements of the table `name`.

    Values hold no line breaks, for those are escaped. MariaDB writes a row on a line, so that its end is seen without looking
    at the values; MySQL writes many, and what is in quotes must be left out.
    """

    def __init__(self, name: bytes) -> None:
        self.count = 0
        self.begun = False
        self.head_bytes = 2 * len(name) + 200
        self._head = b"INSERT INTO " + name + b" VALUES\n"
        self._by_line = False
        self._rest = b""
        self._open = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece; the first has `head_bytes` or is all there is."""
        if not self.begun:
            self.begun = True
            self._by_line = self._head in data[: self.head_bytes + len(self._head)]
        if self._by_line:
            text = self._rest + data
            self.count += text.count(b"),\n") + text.count(b");\n")
            self._rest = text[-2:]
            return
        plain = _QUOTED.sub(rb"\1", self._open + data)
        start = min((at for at in (plain.find(b"'"), plain.find(b"`")) if at >= 0), default=len(plain))
        plain, still_open = plain[:start], plain[start:]
        # Of an open text only its mark is needed, and whether the next character is escaped.
        backslashes = len(still_open) - len(still_open.rstrip(b"\\")) if still_open[:1] == b"'" else 0
        self._open = still_open[:1] + b"\\" * (backslashes % 2)
        text = self._rest + plain
        self.count += _tuples(text) - _tuples(self._rest)
        self._rest = text[-3:]


def _tuples(text: bytes) -> int:
    return text.count(b"),(") + text.count(b"),\n(") + text.count(b");\n")


def quoted(name: str) -> str:
    """An SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def _unquoted(name: bytes) -> str:
    return name[1:-1].replace(b"``", b"`").decode(errors="replace")


def _without(text: bytes, *spans: tuple[int, int]) -> bytes:
    """`text` without these parts; a span of a group that did not take part is (-1, -1)."""
    for start, end in sorted(spans, reverse=True):
        if start >= 0:
            text = text[:start] + text[end:]
    return text
