# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""D8: the rows of a query or a table go to CSV or JSON."""

from __future__ import annotations

import json
import time

import pytest

from .conftest import MEMORY_KIB, ended, unpacked, wait_for


def people(world):
    world.sql(
        f"CREATE TABLE people (id {world.types['int']} PRIMARY KEY, name varchar(60), score numeric(12,4), "
        f"photo {world.types['bin']}, born date)"
    )
    blob = {"sqlite": "x'00ff22'", "postgresql": "'\\x00ff22'", "mysql": "x'00ff22'"}[world.engine]
    world.sql(
        f"INSERT INTO people VALUES (3, 'say \"hi\", all', 12.5, {blob}, '2001-02-03'), (1, '', NULL, NULL, NULL), "
        "(2, 'NULL', -1, NULL, '1999-12-31'), (4, '=1+2', 0, NULL, NULL)"
    )
    return world.entry


def test_a_table_in_each_format(world, one, tmp_path):
    entry = people(world)
    for name in ("people.csv", "people.jsonl", "people.json", "people.csv.zst"):
        path = tmp_path / "out" / name
        would = one("export", {**entry, "table": "people", "dest": str(path)}, check=True)
        assert (would["status"], would["ran"], path.exists()) == ("ok", True, False), would
        done = one("export", {**entry, "table": "people", "dest": str(path)})
        assert (done["status"], done["ran"], done["metrics"]["rows"]) == ("ok", True, 4), done
        assert done["details"]["sha256"] == would["details"]["sha256"]
        assert oct(path.stat().st_mode & 0o777) == "0o600"
        assert not one("export", {**entry, "table": "people", "dest": str(path)})["ran"], "the content is the same"
        text = unpacked(path) if name.endswith(".zst") else path.read_text()
        if ".csv" in name:
            lines = text.splitlines()
            assert lines[0] == "id,name,score,photo,born"
            assert lines[1] == '1,"",,,'
            assert lines[2].startswith("2,NULL,-1")
            assert lines[3].startswith('3,"say ""hi"", all",12.5')
            assert lines[3].endswith(",\\x00ff22,2001-02-03")
        else:
            rows = json.loads(text) if name == "people.json" else [json.loads(line) for line in text.splitlines()]
            assert rows[0] == {"id": 1, "name": "", "score": None, "photo": None, "born": None}
            assert rows[2] == {
                "id": 3,
                "name": 'say "hi", all',
                "score": 12.5,
                "photo": {"$hex": "00ff22"},
                "born": "2001-02-03",
            }
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "people.csv",
        "people.csv.zst",
        "people.json",
        "people.jsonl",
    ]


def test_a_query_keeps_its_order(world, one, tmp_path):
    entry = people(world)
    path = tmp_path / "q.jsonl"
    query = "SELECT id AS n, name FROM people WHERE id > 1 ORDER BY name DESC, id -- the last line is a comment"
    done = one("export", {**entry, "query": query, "dest": str(path)})
    assert done["status"] == "ok", done
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["n"] for row in rows] == sorted((2, 3, 4), key={2: "NULL", 3: "say", 4: "=1"}.get, reverse=True)
    assert isinstance(rows[0]["n"], int)
    limited = one("export", {**entry, "query": "SELECT id FROM people ORDER BY id DESC LIMIT 2;", "dest": str(path)})
    assert limited["metrics"]["rows"] == 2, limited
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [4, 3]


@pytest.mark.parametrize("statement", ["delete", "update", "function", "second"])
def test_a_query_that_writes_is_refused(world, one, tmp_path, statement):
    entry = people(world)
    if statement == "function" and world.engine == "postgresql":
        world.sql("CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'DELETE FROM people; SELECT 1'")
    if statement == "function" and world.engine == "mysql":
        world.sql(
            "SET GLOBAL log_bin_trust_function_creators = 1;\ndelimiter $$\nCREATE FUNCTION sneak() RETURNS int MODIFIES SQL DATA\n"
            "BEGIN DELETE FROM people WHERE id = 1; RETURN 1; END$$\ndelimiter "
        )
    query = {
        "delete": "DELETE FROM people RETURNING id" if world.engine != "mysql" else "DELETE FROM people",
        "update": "UPDATE people SET name = 'x'",
        "function": "SELECT sneak()" if world.engine != "sqlite" else "SELECT * FROM pragma_user_version(7)",
        "second": "SELECT 1; DELETE FROM people",
    }[statement]
    path = tmp_path / "out.csv"
    for check in (True, False):
        done = one("export", {**entry, "query": query, "dest": str(path)}, check=check)
        assert done["status"] == "critical", done
    assert not list(tmp_path.glob("*out.csv*"))
    assert world.sql("SELECT count(*) FROM people") == "4"


def test_what_csv_may_look_like(world, one, tmp_path):
    entry = people(world)
    path = tmp_path / "out.csv"
    options = {"delimiter": ";", "null": "NULL", "header": False, "encoding": "utf-8-sig", "spreadsheet_safe": True}
    one("export", {**entry, "query": "SELECT id, name, score FROM people ORDER BY id", "dest": str(path), **options})
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf1;")
    lines = data.decode("utf-8-sig").splitlines()
    assert lines[0] == '1;"";NULL'
    assert lines[1].startswith('2;"NULL";-1'), "a number is no formula, and the text NULL no NULL"
    assert lines[3].startswith("4;'=1+2;0")


def test_an_encoding_that_lacks_a_character(world, one, tmp_path):
    world.sql("CREATE TABLE t (id integer primary key, name varchar(20))")
    world.sql("INSERT INTO t VALUES (1, 'Zo\u00eb'), (2, '\u03a9')")
    path = tmp_path / "t.csv"
    for check in (True, False):
        done = one("export", {**world.entry, "table": "t", "dest": str(path), "encoding": "latin-1"}, check=check)
        assert done["status"] == "critical"
        assert "latin-1 has no '\u03a9' (U+03A9)" in done["summary"]
    done = one("export", {**world.entry, "table": "t", "where": "id = 1", "dest": str(path), "encoding": "latin-1"})
    assert path.read_bytes() == b"id,name\n1,Zo\xeb\n", done


def test_limits(world, one, tmp_path):
    entry = {**people(world), "table": "people", "dest": str(tmp_path / "out.csv")}
    assert "more than 3 rows" in one("export", entry, limits={"rows": 3})["summary"]
    assert "more than 10 B" in one("export", entry, limits={"bytes": "10B"})["summary"]
    assert not list(tmp_path.glob("*out.csv*"))
    assert one("export", entry, limits={"rows": 4, "bytes": "1MiB", "seconds": "30s"})["status"] == "ok"


def test_a_query_that_takes_too_long_is_ended_on_the_server(world, one, tmp_path):
    slow = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) AS m FROM n",
        "postgresql": "SELECT count(*) AS m FROM generate_series(1, 100000) a, generate_series(1, 100000) b",
        "mysql": "SELECT count(*) AS m FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq > 7",
    }[world.engine]
    started = time.monotonic()
    done = one("export", {**world.entry, "query": slow, "dest": str(tmp_path / "m.csv")}, limits={"seconds": "1s"})
    assert done["status"] == "critical", done
    assert time.monotonic() - started < 10
    running = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%series(1, 100000) b%' AND pid <> pg_backend_pid()",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%seq_1_to_100000 b%' AND id <> connection_id()",
    }
    if world.engine in running:
        wait_for(lambda: world.sql(running[world.engine]) == "0", 10)


def test_columns_of_one_name_are_refused(world, one, tmp_path):
    done = one("export", {**people(world), "query": "SELECT 1 AS a, 2 AS a", "dest": str(tmp_path / "o.json")})
    if world.engine == "sqlite":
        assert done["details"]["columns"] == ["a", "a:1"], "SQLite gives names itself"
    else:
        assert done["status"] == "critical"
        assert not (tmp_path / "o.json").exists()


def test_a_link_is_not_followed_and_a_damaged_file_is_replaced(world, one, tmp_path):
    entry = {**people(world), "table": "people"}
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "link.csv").symlink_to(tmp_path / "victim")
    assert one("export", {**entry, "dest": str(tmp_path / "link.csv")})["status"] == "critical"
    assert (tmp_path / "victim").read_text() == "keep"
    (tmp_path / "old.csv.zst").write_text("no zstd")
    assert one("export", {**entry, "dest": str(tmp_path / "old.csv.zst")})["ran"]
    assert "say" in unpacked(tmp_path / "old.csv.zst")


def test_an_export_streams(world, tmp_path, started):
    """200 000 rows of 200 bytes: 40 MB of content, at most 64 MiB of memory."""
    made = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i, hex(zeroblob(100)) AS t FROM n",
        "postgresql": "SELECT i, repeat('ab', 100) AS t FROM generate_series(1, 200000) i",
        "mysql": "SELECT seq, repeat('ab', 100) AS t FROM seq_1_to_200000",
    }[world.engine]
    path = tmp_path / "big.jsonl.zst"
    entry = {**world.entry, "query": made, "dest": str(path)}
    process = started("export", {"databases": [entry], "state_dir": str(tmp_path / "s")})
    _result, memory = ended(process)
    assert memory < MEMORY_KIB
    assert unpacked(path).count("\n") == 200_000
