# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""D7: old rows are exported, checked, then deleted in batches; nothing is deleted that is not safely exported."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import NEW, OLD, exports, manifest, unpacked


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_old_rows_go_and_new_ones_stay(world, archive, options, form):
    entry = world.events(rows=30, new=3)
    would = archive(entry, check=True, format=form)
    assert would["status"] == "ok", would
    assert "would export 30 of 33 rows (90.9 %" in would["summary"], would
    assert not exports(options)
    assert len(world.ids()) == 33
    assert not Path(options["state_dir"]).exists()
    done = archive(entry, format=form, batch=7)
    assert done["status"] == "ok", done
    assert done["ran"], done
    assert done["metrics"] | {"rows": 30, "deleted": 30, "changed": 0} == done["metrics"]
    assert world.ids() == [31, 32, 33]
    (path,) = exports(options)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    text = unpacked(path)
    if form == "csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert [int(row["id"]) for row in rows] == list(range(1, 31))
    assert rows[4]["note"] == "x 5"
    assert rows[4]["made"].startswith(OLD)
    document = manifest(path)
    assert (document["rows"], document["first_key"], document["last_key"]) == (30, ["1"], ["30"])
    assert document["deletion"]["deleted"] == 30
    assert subprocess.check_output(["sha256sum", path], text=True).split()[0] == document["sha256"]
    assert "password" not in document["source"]
    again = archive(entry, format=form)
    assert (again["status"], again["ran"]) == ("ok", False)
    assert "nothing to do" in again["summary"]
    assert len(exports(options)) == 1


@pytest.mark.parametrize(
    ("kind", "types", "old", "new"),
    [
        (
            "timestamp",
            {"postgresql": "timestamp", "mysql": "timestamp", "sqlite": "TIMESTAMP"},
            f"'{OLD}'",
            "'2037-01-01 00:00:00'",
        ),
        ("date", {"postgresql": "date", "mysql": "date", "sqlite": "DATE"}, "'2020-01-02'", "'2999-01-01'"),
        ("epoch", {"postgresql": "bigint", "mysql": "bigint", "sqlite": "INTEGER"}, "1577934245", "32472144000"),
        ("epoch_ms", {"postgresql": "numeric", "mysql": "double", "sqlite": "REAL"}, "1577934245000", "32472144000000"),
        (
            "text",
            {"postgresql": "text", "mysql": "varchar(40)", "sqlite": "TEXT"},
            "'2020-01-02T03:04:05.678Z'",
            "'2999-01-01'",
        ),
    ],
)
def test_times_of_every_kind(world, archive, kind, types, old, new):
    """NULL, and what is no time, is never old."""
    world.sql(f"CREATE TABLE t (id integer primary key, made {types[world.engine]} NULL)")
    world.sql(
        f"INSERT INTO t VALUES (1, {old}), (2, {new}), (3, NULL)" + (", (4, 'long ago')" if kind == "text" else "")
    )
    for asked in ("auto", kind):
        done = archive({**world.entry, "table": "t", "column": "made", "column_type": asked}, check=True)
        assert done["metrics"]["rows"] == 1, (asked, done)
    assert archive({**world.entry, "table": "t", "column": "made"})["metrics"]["deleted"] == 1
    assert world.ids("t") == ([2, 3, 4] if kind == "text" else [2, 3])


def test_the_cutoff_is_exact(world, archive):
    """A row that is as old as the age, less ten seconds, stays."""
    world.events(rows=0, new=0)
    now = time.time()
    for number, age in enumerate((86400 - 10, 86400 + 10), start=1):
        world.sql(
            f"INSERT INTO events VALUES ({number}, '{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now - age))}', '')"
        )
    archive({**world.entry, "table": "events", "column": "made"}, older_than="1d")
    assert world.ids() == [1]


HOSTILE = "odd\"; DROP TABLE x; --' `n\\a\nm%e é😀"


def test_hostile_names_and_values_survive(world, archive, options, one, tmp_path):
    """Quotes, line ends, backslashes, emoji, NULL, empty text, the text NULL, binary, NUL where the server allows it; then back again."""
    # MariaDB's names are of the Basic Multilingual Plane.
    odd = HOSTILE.replace("😀", "") if world.engine == "mysql" else HOSTILE
    table, column, other = (world.quote(name) for name in (odd, "k" + odd, "v" + odd))
    kind = "varchar(200)" if world.engine == "mysql" else "text"
    when = world.quote("wh\"en`'")
    types = world.types
    world.sql(
        f"CREATE TABLE {table} ({column} {kind} PRIMARY KEY, {when} {types['time']}, {other} {types['text']}, "
        f"{world.quote('bin')} {types['bin']})"
    )
    texts = [
        "",
        "NULL",
        "\\N",
        "\\x41",
        "a,b;c\t|",
        'say "hi"',
        "it's",
        "line\nfeed",
        "cr\rlf\r\n",
        "back\\slash\\",
        "é😀\u2028",
        "=1+1",
        "x" * 50_000,
        "'; DROP TABLE x; --",
        "\\.",
        " lead",
        "7",
        "${HOME} $(id) %s {0}",
    ]
    hexed = {
        "sqlite": "CAST(x'{}' AS TEXT)",
        "postgresql": "convert_from('\\x{}', 'UTF8')",
        "mysql": "CONVERT(x'{}' USING utf8mb4)",
    }[world.engine]
    binary = {"sqlite": "x'{}'", "postgresql": "'\\x{}'", "mysql": "x'{}'"}[world.engine]
    if world.engine != "postgresql":
        texts.append("nul\0inside")
    for number, text in enumerate([*texts, None]):
        value = "NULL" if text is None else hexed.format(text.encode().hex())
        key = hexed.format(f"{number} {(text or '')[:20]}".encode().hex())
        content = "NULL" if number == 0 else binary.format(bytes(range(256)).hex() if number % 2 else "")
        world.sql(f"INSERT INTO {table} VALUES ({key}, '{OLD}', {value}, {content})")
    dump = f"SELECT {column}, {when}, {other}, {world.hexed('bin')} FROM {table} ORDER BY 1"
    before = world.sql(dump)
    for form in ("csv", "jsonl"):
        entry = {**world.entry, "table": odd, "column": "wh\"en`'"}
        done = archive(entry, format=form, batch=4)
        assert (done["status"], done["metrics"]["deleted"]) == ("ok", len(texts) + 1), done
        assert world.sql(dump) == ""
        path = exports(options)[-1]
        columns = {"rowid": None} if world.engine == "sqlite" else {}
        back = one("import", {**world.entry, "table": odd, "src": str(path), "columns": columns})
        assert (back["status"], back["metrics"]["rows_written"]) == ("ok", len(texts) + 1), back
        assert world.sql(dump) == before


def test_a_row_that_changed_after_its_export_stays_and_is_told(world, archive, options, monkeypatch):
    """Between export and deletion a writer changes one row, deletes another, and adds an old one: that one was not exported."""
    from ansible_collections.sre.runbooks.plugins.module_utils._tables import _archive_export

    entry = world.events(rows=20)
    real = _archive_export.verify

    def busy(manifest_, work):
        real(manifest_, work)
        world.sql("UPDATE events SET note = 'changed' WHERE id = 5")
        world.sql("DELETE FROM events WHERE id = 6")
        world.sql(f"INSERT INTO events VALUES (-1, '{OLD}', 'late')")

    monkeypatch.setattr(_archive_export, "verify", busy)
    done = archive(entry, batch=6)
    assert done["status"] == "warning", done
    assert done["metrics"]["deleted"] == 18, done
    assert (done["details"]["changed_keys"], done["details"]["gone"]) == ([["5"]], 1)
    assert "1 have changed since their export and stay" in done["summary"]
    assert world.ids() == [-1, 5, 21, 22, 23]
    monkeypatch.undo()
    assert archive(entry)["metrics"]["deleted"] == 2
    assert world.ids() == [21, 22, 23]
    assert len(exports(options)) == 2


def test_keys_of_several_columns(world, archive):
    world.sql(f"CREATE TABLE t (a integer, b varchar(20), made {world.types['time']}, PRIMARY KEY (a, b))")
    world.sql("INSERT INTO t VALUES " + ", ".join(f"({n % 3}, 'b''{n}', '{OLD if n % 2 else NEW}')" for n in range(20)))
    done = archive({**world.entry, "table": "t", "column": "made"}, batch=3)
    assert done["metrics"]["deleted"] == 10, done
    assert world.sql("SELECT count(*) FROM t") == "10"


def test_a_table_without_a_key(world, archive):
    """SQLite has the rowid; the servers have nothing, so that rows cannot be told apart."""
    world.sql(f"CREATE TABLE t (made {world.types['time']}, note varchar(20))")
    world.sql(f"INSERT INTO t VALUES ('{OLD}', 'a'), ('{OLD}', 'a'), ('{NEW}', 'b')")
    done = archive({**world.entry, "table": "t", "column": "made"})
    if world.engine == "sqlite":
        assert done["metrics"]["deleted"] == 2
    else:
        assert done["status"] == "critical"
        assert "neither a primary key nor a unique one" in done["summary"]
    assert world.sql("SELECT count(*) FROM t") == ("1" if world.engine == "sqlite" else "3")


def test_a_unique_key_without_null_will_do(world, archive):
    world.sql(f"CREATE TABLE t (code varchar(20) NOT NULL UNIQUE, made {world.types['time']})")
    world.sql(f"INSERT INTO t VALUES ('a', '{OLD}'), ('b', '{NEW}')")
    assert archive({**world.entry, "table": "t", "column": "made"})["metrics"]["deleted"] == 1
    assert world.sql("SELECT code FROM t") == "b"


def test_foreign_keys_refuse_unless_told(world, archive):
    world.events(rows=4)
    keyed = f"CREATE TABLE order_lines (id integer primary key, event {world.types['int']}, FOREIGN KEY (event) REFERENCES events (id) ON DELETE CASCADE)"
    world.sql(keyed)
    world.sql("INSERT INTO order_lines VALUES (1, 2), (2, 2)")
    entry = {**world.entry, "table": "events", "column": "made"}
    refused = archive(entry)
    assert refused["status"] == "critical", refused
    assert "foreign_keys" in refused["summary"]
    assert "order_lines" in refused["summary"]
    assert len(world.ids()) == 7
    assert archive(entry, foreign_keys="unreferenced")["metrics"]["deleted"] == 3
    assert world.ids() == [2, 5, 6, 7]
    assert archive(entry, foreign_keys="cascade")["metrics"]["deleted"] == 1
    assert world.ids() == [5, 6, 7]
    assert world.ids("order_lines") == []


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"rows": 29, "percent": 100}, "limits.rows is 29"),
        ({"bytes": "100B", "percent": 100}, "limits.bytes is 100 B"),
        ({"percent": 90}, "limits.percent is 90"),
        ({}, "limits.percent is 90"),
    ],
)
def test_limits_refuse_with_the_plan(world, archive, options, limits, word):
    entry = world.events(rows=30, new=3)
    for check in (True, False):
        done = archive(entry, check=check, limits=limits)
        assert done["status"] == "critical", done
        assert word in done["summary"], done
        assert "30 of 33 rows" in done["summary"], done
        assert done["details"]["rows"] == 30
        assert not done["ran"]
    assert len(world.ids()) == 33
    assert not exports(options)


def test_time_is_up_between_batches_and_the_next_run_goes_on(world, archive, options):
    entry = world.events(rows=30)
    done = archive(entry, batch=1, pause="300ms", limits={"percent": 100, "seconds": "3s"})
    assert done["status"] == "warning", done
    assert "limits.seconds has passed" in done["summary"], done
    left = len(world.ids()) - 3
    assert 0 < left < 30
    would = archive(entry, check=True)
    assert f"go on to delete {left} rows" in would["summary"]
    assert archive(entry)["status"] == "ok"
    assert world.ids() == [31, 32, 33]
    assert len(exports(options)) == 1


def test_where_and_several_tables_with_defaults_from_above(world, call, options):
    world.events(rows=10)
    world.sql(f"CREATE TABLE logs (id integer primary key, at_time {world.types['time']})")
    world.sql(f"INSERT INTO logs VALUES (1, '{OLD}'), (2, '{NEW}')")
    entry = {
        **world.entry,
        "column": "made",
        "tables": [{"table": "events", "where": "note <> 'x 3' -- kept"}, {"table": "logs", "column": "at_time"}],
    }
    result = call("archive", databases=[entry], **options)
    assert [(each["subject"], each["metrics"]["deleted"]) for each in result["outcomes"]] == [
        (f"{world.engine}:shop.events", 9), (f"{world.engine}:shop.logs", 1),
    ]  # fmt: skip
    assert world.ids() == [3, 11, 12, 13]
    assert world.ids("logs") == [2]


def test_old_exports_are_removed_only_when_asked_and_done_with(world, archive, options):
    entry = world.events(rows=5)
    archive(entry)
    (path,) = exports(options)
    document = manifest(path)
    Path(f"{path}.manifest.json").write_text(
        json.dumps({**{k: v for k, v in document.items() if k != "deletion"}, "created": "2020-01-01T00:00:00Z"})
    )
    archive(entry, keep_exports="30d")
    assert exports(options) == [path], "its rows may not have been dealt with"
    Path(f"{path}.manifest.json").write_text(json.dumps({**document, "created": "2020-01-01T00:00:00Z"}))
    archive(entry)
    assert exports(options) == [path]
    done = archive(entry, keep_exports="30d")
    assert exports(options) == []
    assert "1 exports are past keep_exports" in done["summary"]


def test_what_is_not_there(world, archive):
    world.events()
    for changes, word in (
        ({"table": "nothing"}, "there is no table"),
        ({"column": "nothing"}, "no column of events. It has id, made, note"),
        ({"where": "no_such = 1"}, "no_such"),
        ({"column": "note", "column_type": "date"}, None),
    ):
        done = archive({**world.entry, "table": "events", "column": "made", **changes})
        if word is None and world.engine == "sqlite":
            continue
        assert done["status"] == "critical", done
        assert (word or "holds no date time") in done["summary"], done
    assert len(world.ids()) == 33
