# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""D8: rows come from CSV or JSON; every bad one is told by its line, and none is half applied."""

from __future__ import annotations

import codecs
import subprocess

import pytest

from .conftest import MEMORY_KIB, ended


@pytest.fixture
def goods(world):
    """A table with one row, a unique name, and a check."""
    world.sql(
        f"CREATE TABLE goods (id {world.types['int']} PRIMARY KEY, name varchar(10) NOT NULL UNIQUE, "
        "size integer CHECK (size > 0), made date)"
    )
    world.sql("INSERT INTO goods VALUES (1, 'old', 5, '2020-01-01')")
    return {**world.entry, "table": "goods"}


def write(tmp_path, text, name="goods.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return str(path)


def rows(world):
    return world.sql("SELECT id, name, size FROM goods ORDER BY id").splitlines()


def test_good_rows_are_written_and_a_second_import_changes_nothing(world, goods, one, tmp_path):
    path = write(tmp_path, 'id,name,size,made\n2,bolt,7,2021-02-03\n3,"a ""b"",c",,\n')
    would = one("import", {**goods, "src": path}, check=True)
    assert (would["status"], would["ran"], would["metrics"]["rows_written"]) == ("ok", True, 2), would
    assert len(rows(world)) == 1
    done = one("import", {**goods, "src": path})
    assert (done["status"], done["ran"], done["metrics"]["rows_written"]) == ("ok", True, 2), done
    assert rows(world) == ["1\told\t5" if world.engine != "postgresql" else "1|old|5"] + [
        line if world.engine != "postgresql" else line.replace("\t", "|")
        for line in ("2\tbolt\t7", '3\ta "b",c\t' + ("" if world.engine == "postgresql" else "NULL"))
    ]
    again = one("import", {**goods, "src": path}, on_duplicate="skip")
    assert (again["status"], again["ran"]) == ("ok", False), again
    assert (again["metrics"]["rows_written"], again["metrics"]["rows_unchanged"]) == (0, 2)
    twice = one("import", {**goods, "src": path})
    assert (twice["status"], twice["details"]["bad"]) == ("critical", {"duplicate": 2})


BAD = [
    ("5,six", "columns", "2 columns instead of 4"),
    ('6,"open,1,', "malformed", "a quote is opened and not closed"),
    ('7,a"b"c,1,', "malformed", "a quote stands where none may be, in column 2"),
    ("1,dup,1,", "duplicate", ""),
    ("8,old,1,", "duplicate", ""),
    ("9,much too long a name,1,", "refused", ""),
    ("ten,ten,1,", "refused", ""),
    ("11,eleven,many,", "refused", ""),
    ("12,twelve,-1,", "refused", ""),
    ("13,,1,", "refused", ""),
    ("14,\xe9\xff,1,", "encoding", "is no utf-8: byte 4 of the line is 0xe9"),
    ("15,fifteen,1,,", "columns", "5 columns instead of 4"),
    ('16,"open again,1,', "malformed", "a quote is opened and not closed"),
]


@pytest.mark.parametrize("how", ["refuse", "skip"])
def test_every_bad_row_is_told_by_its_line_and_none_half_applied(world, goods, one, tmp_path, how):
    """One of each kind between good rows; a row of three lines before them moves the numbers."""
    lines = ["id,name,size,made", '100,"a', "b", 'c",1,2020-01-01']
    wanted = {}
    for number, (text, kind, reason) in enumerate(BAD):
        lines.append(f"{200 + number},good {number},1,")
        lines.append(text)
        wanted[len(lines)] = (kind, reason)
    lines.append("300,last,1,")
    path = write(tmp_path, "\r\n".join(lines) + "\r\n", encoding="latin-1")
    for check in (True, False):
        done = one("import", {**goods, "src": path}, check=check, on_bad_rows=how)
        told = {each["line"]: (each["kind"], each["reason"]) for each in done["details"]["bad_rows"]}
        assert {line: kind for line, (kind, _r) in told.items()} == {
            line: kind for line, (kind, _r) in wanted.items()
        }, done
        for line, (_kind, reason) in wanted.items():
            assert reason in told[line][1]
            assert told[line][1], "a reason is given"
        assert done["metrics"]["rows_bad"] == len(BAD)
        assert done["metrics"]["rows"] == 2 * len(BAD) + 2
        kept = how == "skip"
        assert (done["status"], done["ran"]) == (("warning", True) if kept else ("critical", False))
        assert len(world.ids("goods")) == (1 if check or not kept else 1 + len(BAD) + 2), done


def test_more_bad_rows_than_are_told_are_counted(world, goods, one, tmp_path):
    path = write(
        tmp_path, "id,name,size,made\n" + "".join(f"{n},n{n},{'x' if n % 2 else 1},\n" for n in range(2, 1302))
    )
    done = one("import", {**goods, "src": path}, report=3)
    assert done["details"]["bad"] == {"refused": 650}, done
    assert [each["line"] for each in done["details"]["bad_rows"]] == [3, 5, 7]
    assert len(rows(world)) == 1


def test_duplicates_may_update(world, goods, one, tmp_path):
    path = write(tmp_path, "id,name,size,made\n1,new,6,2020-01-01\n2,two,2,\n")
    done = one("import", {**goods, "src": path}, on_duplicate="update")
    assert (done["status"], done["metrics"]["rows_written"]) == ("ok", 2), done
    assert [line.replace("|", "\t") for line in rows(world)] == ["1\tnew\t6", "2\ttwo\t2"]
    again = one("import", {**goods, "src": path}, on_duplicate="update")
    assert (again["ran"], again["metrics"]["rows_unchanged"]) == (False, 2), again
    path = write(tmp_path, "id,name,size,made\n1,new,8,2020-01-01\n2,two,2,\n3,three,3,\n")
    assert one("import", {**goods, "src": path}, on_duplicate="update")["metrics"]["rows_written"] == 2
    named = one("import", {**goods, "src": path, "key": ["size"]}, on_duplicate="update")
    assert named["status"] == "critical"
    assert "no unique key" in named["summary"]


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbfid,name,size,made\r\n2,"two\nlines",1,\r\n\r\n3,x,1,\r\n',
        'id,name,size,made\n2,"two\nlines",1,\n3,x,1,'.encode("utf-16"),
        b'{"id": 2, "name": "two\\nlines", "size": 1, "made": null}\n\n{"made": null, "size": 1, "name": "x", "id": 3}\n',
        b'[{"id": 2, "name": "two\\nlines", "size": 1, "made": null},\n  {\n  "made": null, "size": 1, "name": "x", "id": 3}]',
    ],
)
def test_byte_order_marks_line_ends_and_forms(world, goods, one, tmp_path, data):
    name = (
        "g.csv"
        if b"id,name" in data or data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        else "g.json"
        if data[:1] == b"["
        else "g.jsonl"
    )
    encoding = "utf-16" if data[:2] == codecs.BOM_UTF16_LE else "utf-8"
    done = one("import", {**goods, "src": write(tmp_path, data, name), "encoding": encoding})
    assert (done["status"], done["metrics"]["rows_written"]) == ("ok", 2), done
    assert world.sql("SELECT length(name) FROM goods WHERE id = 2") == "9"


def test_bad_json_by_line(world, goods, one, tmp_path):
    good = '{"id": %d, "name": "n%d", "size": 1, "made": null}'
    lines = [
        good % (2, 2),
        '{"id": 3,',
        "[1]",
        '{"id": 4, "name": "n4", "size": 1}',
        '{"id": 5, "id": 6, "name": "x", "size": 1, "made": null}',
        '{"id": 7, "name": "seven", "size": 1, "made": null, "x": 1}',
        '{"id": 8, "name": "n8", "size": NaN, "made": null}',
        good % (9, 9),
    ]
    done = one("import", {**goods, "src": write(tmp_path, "\n".join(lines), "g.jsonl")})
    assert [(each["line"], each["kind"]) for each in done["details"]["bad_rows"]] == [
        (2, "malformed"), (3, "malformed"), (4, "columns"), (5, "malformed"), (6, "columns"), (7, "malformed"),
    ], done  # fmt: skip
    assert "lacks made" in done["details"]["bad_rows"][2]["reason"]
    assert len(rows(world)) == 1
    broken = one("import", {**goods, "src": write(tmp_path, '[{"id": 2}', "g.json")})
    assert broken["status"] == "critical"
    assert "breaks off" in broken["summary"]


def test_columns_are_mapped(world, goods, one, tmp_path):
    path = write(tmp_path, "Nr;Was;Notiz;size;made\n2;two;x;NULL;NULL\n")
    entry = {**goods, "src": path, "delimiter": ";", "null": "NULL"}
    strange = one("import", entry)
    assert strange["status"] == "critical"
    assert "'Nr', 'Was', 'Notiz' are no columns of goods" in strange["summary"]
    done = one("import", {**entry, "columns": {"Nr": "id", "Was": "name", "Notiz": None}})
    assert done["status"] == "ok", done
    bare = write(tmp_path, "9,three\n", "bare.csv")
    assert one("import", {**goods, "src": bare, "names": ["id", "name"]})["status"] == "ok"
    assert len(rows(world)) == 3
    for columns, word in (({"Nope": "id"}, "stand not in the file"), ({"id": "name"}, "same one")):
        assert word in one("import", {**goods, "src": bare, "names": ["id", "name"], "columns": columns})["summary"]


def test_a_row_that_points_nowhere_is_bad(world, goods, one, tmp_path):
    world.sql(
        f"CREATE TABLE parts (id integer primary key, good {world.types['int']}, FOREIGN KEY (good) REFERENCES goods (id))"
    )
    path = write(tmp_path, "id,good\n1,1\n2,77\n3,1\n")
    done = one("import", {**world.entry, "table": "parts", "src": path})
    assert [(each["line"], each["kind"]) for each in done["details"]["bad_rows"]] == [(3, "refused")], done
    assert world.sql("SELECT count(*) FROM parts") == "0"


def test_limits_and_what_is_not_there(world, goods, one, tmp_path):
    path = write(tmp_path, "id,name,size,made\n2,b,1,\n3,c,1,\n")
    assert "more than 1 rows" in one("import", {**goods, "src": path}, limits={"rows": 1})["summary"]
    assert "limits.bytes" in one("import", {**goods, "src": path}, limits={"bytes": "3B"})["summary"]
    assert "there is no file" in one("import", {**goods, "src": path + "x"})["summary"]
    assert "there is no table" in one("import", {**goods, "table": "none", "src": path})["summary"]
    assert "file is empty" in one("import", {**goods, "src": write(tmp_path, "", "e.csv")})["summary"]
    assert len(rows(world)) == 1


def test_there_and_back_again(world, one, tmp_path):
    """What an export wrote, an import brings back, in every format."""
    world.sql(
        f"CREATE TABLE t (id integer primary key, a {world.types['text']}, b {world.types['bin']}, c double precision)"
    )
    blob = {"sqlite": "x'{}'", "postgresql": "'\\x{}'", "mysql": "x'{}'"}[world.engine].format(bytes(range(256)).hex())
    world.sql(
        f"INSERT INTO t VALUES (1, NULL, NULL, NULL), (2, '', {blob}, 0.1), (3, 'NULL', {blob}, -1.5e-300), (4, 'a,\"b\"''c é😀', NULL, 123456789.123)"
    )
    dump = f"SELECT id, a, {world.hexed('b')}, c FROM t ORDER BY id"
    before = world.sql(dump)
    for name in ("t.csv", "t.jsonl", "t.json.zst"):
        path = str(tmp_path / name)
        assert one("export", {**world.entry, "table": "t", "dest": path})["status"] == "ok"
        world.sql("DELETE FROM t")
        done = one("import", {**world.entry, "table": "t", "src": path})
        assert (done["status"], done["metrics"]["rows_written"]) == ("ok", 4), done
        assert world.sql(dump) == before


def test_an_import_streams(world, tmp_path, started):
    """60 000 rows, 13 MB, packed: at most 64 MiB of memory."""
    world.sql(f"CREATE TABLE t (id integer primary key, a {world.types['text']})")
    path = tmp_path / "t.csv"
    path.write_text("id,a\n" + "".join(f"{n},{'x' * 200}\n" for n in range(60_000)))
    subprocess.run(["zstd", "-q", str(path)], check=True)
    arguments = {"databases": [{**world.entry, "table": "t", "src": f"{path}.zst"}], "state_dir": str(tmp_path / "s")}
    process = started("import", arguments)
    result, memory = ended(process)
    assert result["outcomes"][0]["metrics"]["rows_written"] == 60_000, result
    assert memory < MEMORY_KIB
    assert world.sql("SELECT count(*) FROM t") == "60000"
