# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A session kept open in a server's client program: statements go in, lines come out up to a mark."""

from __future__ import annotations

import re
import secrets
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import (
    Column,
    Rejected,
    Row,
    Session,
    Source,
    Table,
    Work,
)

Result = t.TypeVar("Result")
_PIECE = 1 << 18
# What a client says about its errors is read only when it has ended, and it waits for ever once a pipe is full of it: MariaDB's
# repeats the whole statement. So only the end of it is kept. The client's status is that of the shell.
_LAST_WORDS = (
    'exec 3>&1 5>&2; rc=$({ { "$@" >&3 3>&- 4>&- 5>&-; echo $? >&4; } 2>&1 | tail -c 2000 >&5; } 4>&1); exit "$rc"'
)
WORDY = ["sh", "-c", _LAST_WORDS, "sh"]
# What it says among its answers instead.
TOGETHER = ["sh", "-c", 'exec "$@" 2>&1', "sh"]


# No session was to be had, or it was lost; in contrast to a statement that failed.
_UNREACHED = re.compile(r"FATAL|^ERROR (?:10\d\d|1698|2\d\d\d) \(")


class Ended(RunbookError):
    """The client ended before it answered; why, it says on its way out."""


class Refused(t.NamedTuple):
    """What the server said to a statement."""

    reason: str
    duplicate: bool


class Pipe:
    """The two ends of a client."""

    def __init__(self, requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        self._requests = requests
        self._answers = t.cast("t.Any", answers)
        self.mark = f"end-{secrets.token_hex(8)}".encode()
        self._rest = b""
        # What begins a line that says, among answers, that there will be none any more.
        self.fatal: re.Pattern[bytes] | None = None

    def send(self, text: str) -> None:
        """Send statements."""
        try:
            self._requests.write(text.encode("utf-8", "surrogatepass"))
            self._requests.flush()
        except BrokenPipeError as error:
            raise Ended("the session ended early. See the server's log.") from error

    def lines(self) -> t.Iterator[list[bytes]]:
        """The lines up to the one that begins with the mark, which comes last, some at a time, without their line feeds."""
        parts = [self._rest]
        while True:
            piece = self._answers.read1(_PIECE)
            if not piece:
                raise Ended("the session ended early. See the server's log.")
            parts.append(piece)
            if b"\n" not in piece:
                continue
            lines = b"".join(parts).split(b"\n")
            parts = [lines.pop()]
            if self.fatal is not None and self.fatal.search(piece):
                said = [line for line in lines if self.fatal.match(line)]
                if said:
                    raise RunbookError(
                        f"{said[0].decode(errors='replace')}: the connection is lost. See the server's log."
                    )
            # Nothing comes after the mark: the client waits for the next statement.
            if lines[-1].startswith(self.mark):
                self._rest = parts[0]
                yield lines
                return
            yield lines

    def answer(self) -> list[bytes]:
        """All lines before the mark's, and what stands behind the mark."""
        found = [line for lines in self.lines() for line in lines]
        return [*found[:-1], found[-1][len(self.mark) :].strip()]


def converse(
    argv: list[str], work: Work, place: dict[str, t.Any], talk: t.Callable[[Pipe], Result], hint: str
) -> Result:
    """Run the client while `talk` uses it; RunbookError with the client's own words when it ended, and with `hint`."""
    results: list[Result] = []

    def begin(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        try:
            results.append(talk(Pipe(requests, answers)))
        except Ended as error:
            # The program's own failure tells more.
            raise BrokenPipeError from error

    try:
        work.commands.converse([argv], begin, timeout=work.seconds(), **place)
    except CommandFailed as error:
        said = [line.strip() for line in error.stderr.splitlines() if line.startswith(("ERROR", "FATAL"))]
        if said and not _UNREACHED.search(said[-1]):
            raise RunbookError(f"{' / '.join(said[-2:])}.") from error
        raise RunbookError(f"{' / '.join(said[-2:]) or error}. {hint}") from error
    if not results:
        raise RunbookError(f"the session ended early. {hint}")
    return results[0]


class ClientSession(Session):
    """What sessions in client programs have in common."""

    def attempt(self, sql: str) -> tuple[int, Refused | None]:
        """Run a statement of the open transaction; when the server refuses it, nothing of it stays."""
        raise NotImplementedError

    def insertion(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> str:
        """The statement that inserts some rows."""
        raise NotImplementedError

    def insert(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> tuple[int, list[Rejected]]:
        """All rows in one statement; where that is refused, the two halves, and so on until the rows to blame are alone."""
        written = 0
        rejected = []
        todo = [(0, len(rows))]
        while todo:
            low, high = todo.pop()
            number, problem = self.attempt(self.insertion(table, columns, rows[low:high], on_duplicate, key))
            if problem is None:
                written += number
            elif high - low == 1:
                rejected.append(Rejected(low, problem.reason, problem.duplicate))
            else:
                middle = (low + high) // 2
                todo += [(middle, high), (low, middle)]
        return written, rejected

    def values(self, columns: t.Sequence[Column], rows: t.Sequence[Row]) -> str:
        """The rows after VALUES."""
        kinds = [column.kind for column in columns]
        return ",\n".join(f"({', '.join([self.literal(v, k) for v, k in zip(row, kinds)])})" for row in rows)


def hint(source: Source) -> str:
    """What to look at when a session cannot be had."""
    return (
        f"See that the server runs, and check database ({source['database']}), host, port, user, password and run_as "
        f"of {source['name']}."
    )
