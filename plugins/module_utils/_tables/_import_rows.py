# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the cells of a file become the values of a table's columns."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _formats
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import NUMBER, Column, Row, Table
from ansible_collections.sre.runbooks.plugins.module_utils._tables._parse import Decimal, Record

_HEX = re.compile(r"\\x(?:[0-9A-Fa-f]{2})*")
_INFINITE = {"inf": float("inf"), "-inf": float("-inf")}
Problem = t.Optional["tuple[str, str]"]


def reader(format_name: str, options: t.Mapping[str, t.Any], table: Table) -> CsvRows | JsonRows:
    """What reads rows of this format for this table."""
    return CsvRows(options, table) if format_name == "csv" else JsonRows(options, table)


def key(table: Table, columns: t.Sequence[Column]) -> tuple[str, ...]:
    """The first unique key all of whose columns the file has."""
    names = {column.name for column in columns}
    return next((each for each in table.uniques if set(each) <= names), ())


class _Rows:
    """Finds a column for each of the file's."""

    def __init__(self, options: t.Mapping[str, t.Any], table: Table) -> None:
        self.options = options
        self.table = table
        self.names: list[str] = []
        self.columns: list[Column] = []
        self._places: list[int] = []

    def match(self, names: t.Sequence[str]) -> None:
        """The file has these columns. A name that is mapped to nothing is left out, and so is a column that the server computes."""
        self.names = list(names)
        mapped: dict[str, t.Any] = self.options["columns"]
        strange = sorted(set(mapped) - set(names))
        twice = sorted({name for name in names if self.names.count(name) > 1})
        if twice:
            raise RunbookError(
                f"src: the columns {', '.join(twice)} stand in the file twice. Give them names of their own."
            )
        unknown = []
        for place, name in enumerate(names):
            target = mapped.get(name, name)
            if target is None or target == "":
                continue
            column = self.table.column(str(target))
            if column is None:
                unknown.append(name)
            elif not column.generated:
                self.columns.append(column)
                self._places.append(place)
        if strange or unknown:
            which = ", ".join(map(repr, strange or unknown))
            raise RunbookError(
                f"columns: {which} {'stand not in the file' if strange else f'are no columns of {self.table.name}'}. The file has "
                f"{', '.join(names)}; the table has {', '.join(each.name for each in self.table.columns)}. Map what is called otherwise."
            )
        if not self.columns:
            raise RunbookError(f"columns: none of {', '.join(names)} goes anywhere. Map at least one.")
        if len({column.name for column in self.columns}) < len(self.columns):
            raise RunbookError("columns: two columns of the file go to the same one of the table. Map each to its own.")


class CsvRows(_Rows):
    """Cells of CSV: text, NULL where the text for it stands without quotes."""

    def head(self, records: t.Iterator[Record]) -> t.Iterator[Record]:
        """Take the names from the first row, unless they were given."""
        if self.options["names"]:
            self.match(self.options["names"])
            return iter(())
        first = next(records, None)
        if first is None:
            raise RunbookError("src: the file is empty. It must have at least a row of names; or give names.")
        if first.kind:
            raise RunbookError(f"src: line {first.line}, the row of names: {first.reason}.")
        self.match(first.cells)
        return iter(())

    def row(self, record: Record) -> tuple[Problem, Row]:
        """The values for the table's columns, or what is wrong."""
        cells = record.cells
        if len(cells) != len(self.names):
            return ("columns", f"{len(cells)} columns instead of {len(self.names)}"), ()
        null = self.options["null"]
        row = []
        for place, column in zip(self._places, self.columns):
            text = cells[place]
            if place in record.quoted:
                row.append(text)
            elif text == null:
                row.append(None)
            else:
                row.append(_bare(text, column))
        return None, row


def _bare(text: str, column: Column) -> t.Any:
    """A cell without quotes: numbers and binary content stand so, where the column could hold text as well."""
    if column.kind in ("binary", "any", "native") and text.startswith("\\x") and _HEX.fullmatch(text):
        return bytes.fromhex(text[2:])
    if column.kind == "any" and NUMBER.fullmatch(text):
        return int(text) if text.lstrip("-").isdigit() else float(text)
    if column.kind == "number" and text in _INFINITE:
        return _INFINITE[text] if column.declared.upper() in ("REAL", "FLOAT", "DOUBLE") else text
    return text


class JsonRows(_Rows):
    """Values of JSON objects, all of which must have the keys of the first."""

    def head(self, records: t.Iterator[Record]) -> t.Iterator[Record]:
        """Look at objects up to the first good one for its keys; all of them are yet to be read."""
        seen = []
        for record in records:
            seen.append(record)
            if not record.kind or len(seen) > 1000:
                break
        good = seen[-1] if seen and not seen[-1].kind else None
        self.match(self.options["names"] or (list(good.cells) if good else [each.name for each in self.table.columns]))
        return iter(seen)

    def row(self, record: Record) -> tuple[Problem, Row]:
        """The values for the table's columns, or what is wrong."""
        found: dict[str, t.Any] = record.cells
        if found.keys() != set(self.names):
            missing, strange = sorted(set(self.names) - found.keys()), sorted(found.keys() - set(self.names))
            words = [f"lacks {', '.join(missing)}"] * bool(missing) + [
                f"has {', '.join(strange)}, which others have not"
            ] * bool(strange)
            return ("columns", "; ".join(words)), ()
        try:
            return None, [_value(found[self.names[place]], column) for place, column in zip(self._places, self.columns)]
        except ValueError as error:
            return ("malformed", str(error)), ()


def _value(value: t.Any, column: Column) -> t.Any:
    if isinstance(value, dict) and list(value) == [_formats.HEX]:
        return bytes.fromhex(str(value[_formats.HEX]))
    if isinstance(value, (dict, list)):
        return json.dumps(_floats(value), ensure_ascii=False)
    if isinstance(value, Decimal):
        return float(value) if column.kind in ("any", "native") or value.endswith("e999") else str(value)
    return value


def _floats(value: t.Any) -> t.Any:
    """Numbers inside of a document as numbers."""
    if isinstance(value, dict):
        return {name: _floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_floats(each) for each in value]
    return float(value) if isinstance(value, Decimal) else value
