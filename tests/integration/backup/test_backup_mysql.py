# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup of a real MariaDB server (D1, D2, D4)."""

from __future__ import annotations

import json
import secrets
import stat
import subprocess
import threading

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_fill, _packing, _settings, _work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

from .conftest import copies

SCRATCH = r"SHOW DATABASES LIKE 'sre\_runbooks\_verify\_%'"
SCHEMA = """
CREATE TABLE teams (id int AUTO_INCREMENT PRIMARY KEY, name varchar(100) UNIQUE, twice int AS (id * 2));
CREATE TABLE tasks (id int PRIMARY KEY, team int, text text, picture blob, FOREIGN KEY (team) REFERENCES teams (id));
INSERT INTO teams (name) SELECT concat('team ', seq) FROM seq_1_to_10;
INSERT INTO tasks SELECT seq, 1 + seq % 10, concat('it''s \\\\ ),( ', char(10), '(', seq, ');'), unhex(sha1(seq)) FROM seq_1_to_3000;
CREATE TABLE `a ``table's
"name" ü;` (`x
y` int); INSERT INTO `a ``table's
"name" ü;` VALUES (1), (2);
CREATE TABLE nothing (a int);
CREATE VIEW busy AS SELECT team, count(*) AS tasks, 'a;
b' AS text FROM tasks GROUP BY team;
CREATE SEQUENCE numbers START WITH 7;
CREATE TABLE past (a int) WITH SYSTEM VERSIONING; INSERT INTO past VALUES (1); UPDATE past SET a = 2; DELETE FROM past;
DELIMITER //
CREATE PROCEDURE p() BEGIN /* it's a comment; */ SELECT 'USE nothing;'; END//
CREATE FUNCTION f(a int) RETURNS int DETERMINISTIC RETURN a + 1//
CREATE TRIGGER {database}.tr BEFORE INSERT ON {database}.nothing FOR EACH ROW BEGIN /* it's */ SET NEW.a = 1; END//
CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM tasks//
CREATE EVENT once ON SCHEDULE AT now() + INTERVAL 1 HOUR DO DELETE FROM tasks//
DELIMITER ;
"""


@pytest.fixture
def filled(mariadb_server, mariadb_database):
    """A database with what a real one has, and with names that make trouble."""
    mariadb_server.sql("SET NAMES utf8mb4;" + SCHEMA.format(database=mariadb_database), mariadb_database)
    return mariadb_database


@pytest.fixture
def source(mariadb_server, mariadb_database):
    return of(mariadb_server, mariadb_database)


def of(server, database, **changes):
    return {
        "name": "main", "engine": "mysql", "database": database, "host": server.host, "port": server.port,
        "user": server.user, "password": server.password, **changes,
    }  # fmt: skip


def content(path):
    return subprocess.run(["zstd", "-dqc", str(path)], check=True, capture_output=True).stdout


@pytest.fixture
def user(mariadb_server):
    """Make a user with the grants given; return name and password as options of a source."""
    names = []

    def go(*grants):
        names.append(f"u{secrets.token_hex(4)}")
        password = secrets.token_urlsafe(16)
        mariadb_server.sql(f"CREATE USER {names[-1]}@'127.0.0.1' IDENTIFIED BY '{password}'")
        for grant in grants:
            mariadb_server.sql(f"GRANT {grant} TO {names[-1]}@'127.0.0.1'")
        return {"user": names[-1], "password": password}

    yield go
    for name in names:
        mariadb_server.sql(f"DROP USER {name}@'127.0.0.1'")


def test_a_copy_is_restored_compared_and_described(one, source, filled, store, mariadb_server):
    outcome = one(source)
    assert outcome["status"] == "ok", outcome
    assert outcome["subject"] == "mysql:main"
    assert outcome["summary"].endswith("restored and compared: 5 tables, 3 014 rows")
    ((path, manifest),) = copies(store, "main")
    assert path.name.endswith("Z.sql.zst")
    name = 'a `table\'s\n"name" ü;'
    assert manifest["figures"]["tables"] == {"teams": 10, "tasks": 3000, name: 2, "nothing": 0, "past": 2}
    assert manifest["figures"]["objects"] == {
        "tables": 5, "views": 1, "sequences": 1, "procedures": 1, "functions": 1, "triggers": 1, "events": 2,
    }  # fmt: skip
    assert manifest["figures"]["charset"] == "utf8mb4"
    assert manifest["versions"]["server"] == mariadb_server.sql("SELECT @@version")
    assert manifest["sha256"] == subprocess.check_output(["sha256sum", path], text=True).split()[0]
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [
        ("checksum", True),
        ("restored", True),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, path.name + ".manifest.json"]
    assert mariadb_server.sql(SCRATCH) == ""
    text = content(path)
    assert b"\n-- Dump completed" in text
    assert source["password"] not in json.dumps(manifest)
    # The copy itself is as the server said it: owners and events are there.
    assert b"DEFINER=`root`@" in text
    assert b"ON COMPLETION NOT PRESERVE ENABLE" in text
    mariadb_server.sql("CREATE DATABASE by_hand")
    try:
        mariadb_server.sql(
            text.decode().replace(f"TRIGGER {filled}.tr BEFORE INSERT ON {filled}.", "TRIGGER tr BEFORE INSERT ON "), "by_hand",
        )  # fmt: skip
        assert mariadb_server.sql("SELECT count(*), sum(crc32(text)), sum(crc32(picture)) FROM tasks", "by_hand") == (
            mariadb_server.sql("SELECT count(*), sum(crc32(text)), sum(crc32(picture)) FROM tasks", filled)
        )
    finally:
        mariadb_server.sql("DROP DATABASE by_hand")


def test_the_copy_is_that_of_one_moment_while_rows_are_written(one, source, filled, store, mariadb_server):
    """Each transaction adds a row to both tables; the figures are counted in the dump itself."""
    mariadb_server.sql("CREATE TABLE a (n int); CREATE TABLE z (n int); DROP EVENT e", filled)
    stop = threading.Event()

    def write():
        statement = "BEGIN; INSERT INTO a VALUES (1); INSERT INTO z VALUES (1); COMMIT;"
        while not stop.is_set():
            mariadb_server.sql(statement * 200, filled)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcomes = [one(source, retention={"keep_last": 5}) for _number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert [outcome["status"] for outcome in outcomes] == ["ok"] * 3
    tables = [manifest["figures"]["tables"] for _path, manifest in copies(store, "main")]
    assert all(each["a"] == each["z"] for each in tables)
    assert tables[0]["a"] < tables[-1]["a"]


@pytest.mark.parametrize("level", ["checksum", "archive"])
def test_lower_levels_are_on_record_as_what_they_are(one, source, filled, store, level):
    assert one(source, verify=level)["status"] == "ok"
    ((_path, manifest),) = copies(store, "main")
    assert manifest["verifications"][-1]["level"] == level
    if level == "archive":
        assert manifest["verifications"][-1]["figures"] == {"tables": 5, "rows": 3014}
    assert one(source, verify=level, interval="1h")["summary"].startswith("nothing to do: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-secret"}, "ERROR 1045 (28000): Access denied"),
        ({"port": 1}, "Can't connect to server on '127.0.0.1'"),
        ({"database": "no_such_database"}, "ERROR 1049 (42000): Unknown database 'no_such_database'"),
        ({"exclude": ["*"]}, "there is no table that this user may read and `exclude` leaves"),
    ],
)
def test_a_source_that_fails_is_critical_and_stops_no_other(run, source, filled, store, changes, reason):
    broken = {**source, "name": "broken", **changes}
    result = run(broken, source, verify="checksum")
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert reason in result["outcomes"][0]["summary"]
    text = json.dumps(result)
    assert "wrong-secret" not in text
    assert source["password"] not in text
    assert not list((store / "broken").glob("*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"database": "mysql"}, "is no database of an application"),
        ({"database": ""}, "is no database of an application"),
        ({"globals": True}, "belongs to the backup of a database"),
        ({"globals": True, "database": None, "exclude": ["x"]}, "belongs to the backup of a database"),
        ({"format": "custom"}, "format. Supported parameters include"),
    ],
)
def test_bad_input_is_refused(run, source, changes, words):
    result = run({key: value for key, value in {**source, **changes}.items() if value is not None})
    assert result["failed"] is True
    assert words in result["msg"]


@pytest.mark.parametrize(
    "name", ["a b", "back`tick", "ünï 漢字", "--help", "semi;colon; DROP DATABASE x", "per%cent_x", "dot.ted", "it's \"quoted\"", "new\nline", "\u2028\x85"]
)  # fmt: skip
def test_databases_and_tables_of_any_name(one, mariadb_server, store, name):
    database = f"{name}{secrets.token_hex(3)}"
    quoted = "`" + database.replace("`", "``") + "`"
    table = "`" + name.replace("`", "``") + "`"
    mariadb_server.sql(
        f"SET NAMES utf8mb4; CREATE DATABASE {quoted}; CREATE TABLE {quoted}.{table} (n int); "
        f"INSERT INTO {quoted}.{table} VALUES (1), (2); CREATE TABLE {quoted}.left_out (n int)"
    )
    try:
        outcome = one(of(mariadb_server, database, exclude=["left*"]))
    finally:
        mariadb_server.sql(f"SET NAMES utf8mb4; DROP DATABASE {quoted}")
    assert outcome["status"] == "ok", outcome
    assert copies(store, "main")[0][1]["figures"]["tables"] == {name: 2}


def test_excluded_tables_are_in_neither_the_copy_nor_the_comparison(one, source, filled, store):
    assert one({**source, "exclude": ["task*", "busy"]})["status"] == "ok"
    ((path, manifest),) = copies(store, "main")
    assert "tasks" not in manifest["figures"]["tables"]
    assert b"CREATE TABLE `tasks`" not in content(path)


def test_tables_that_no_snapshot_covers_are_told(one, source, filled, mariadb_server):
    mariadb_server.sql(
        "CREATE TABLE old (n int) ENGINE=MyISAM; CREATE TABLE all_old (n int) ENGINE=MERGE UNION=(old)", filled
    )
    outcome = one(source)
    assert outcome["status"] == "warning"
    assert "1 tables without transactions (old) are each of another moment" in outcome["summary"]
    assert one({**source, "exclude": ["*old"]})["status"] == "ok"
    outcome = one({**source, "lock_tables": True})
    assert outcome["status"] == "ok", outcome


@pytest.mark.parametrize("more", [["BINLOG ADMIN ON *.*"], []])
def test_a_user_with_the_rights_it_needs_and_no_others(one, source, filled, user, mariadb_server, more):
    """As documented: with one right over the server proofs stay off the replicas, without any they go through the binary log."""
    rights = user(
        f"SELECT, SHOW VIEW, TRIGGER, EVENT ON {filled}.*", "SELECT ON mysql.proc", r"ALL ON `sre\_runbooks\_verify\_%`.*",
        *more,
    )  # fmt: skip
    # With a binary log, the server lets nobody but SUPER make triggers and functions without this.
    mariadb_server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    file, position = mariadb_server.sql("SHOW MASTER STATUS").split("\t")[:2]
    outcome = one({**source, **rights})
    mariadb_server.sql("SET GLOBAL log_bin_trust_function_creators = 0")
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["triggers"] == 1
    assert outcome["details"]["proof"]["procedures"] == 1
    logged = mariadb_server.sql(f"SHOW BINLOG EVENTS IN '{file}' FROM {position}")
    assert ("sre_runbooks_verify" in logged) == (not more)


def test_a_user_who_may_not_see_everything_is_told_so(one, source, filled, user):
    outcome = one({**source, **user(f"SELECT, SHOW VIEW ON {filled}.*")}, verify="archive")
    assert outcome["status"] == "warning"
    assert "the user may not see all triggers and events and routines of the database" in outcome["summary"]


def test_a_user_without_the_right_to_create_databases_gets_a_copy_that_is_not_called_proven(
    one, source, filled, store, user
):
    rights = user(f"SELECT, SHOW VIEW, TRIGGER, EVENT ON {filled}.*", "SELECT ON mysql.proc")
    outcome = one({**source, **rights})
    assert outcome["status"] == "critical"
    assert "NOT proven as restored: no scratch database could be made" in outcome["summary"]
    assert "Grant all on `sre_runbooks_verify_%`.*" in outcome["summary"]
    ((_path, manifest),) = copies(store, "main")
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [("checksum", True)]


def test_scratch_databases_of_killed_runs_are_dropped_and_no_others(one, source, filled, store, mariadb_server):
    ours = f"sre_runbooks_verify_{_work.token(str(store / 'main'))}_0badcafe"
    other = "sre_runbooks_verify_000000000000_0badcafe"
    for name in (ours, other):
        mariadb_server.sql(f"CREATE DATABASE {name}")
    try:
        outcome = one(source)
        names = mariadb_server.sql(SCRATCH)
    finally:
        mariadb_server.sql(f"DROP DATABASE {other}")
    assert outcome["details"]["swept"] == [f"database {ours}"]
    assert names == other


def test_a_restore_leaves_replicas_the_source_and_the_clock_alone(one, source, filled, store, mariadb_server):
    """Nothing of it is in the binary log; the source keeps its character set; no event of the scratch database can fire."""
    mariadb_server.sql(f"ALTER DATABASE {filled} CHARACTER SET latin1")
    log, position = mariadb_server.sql("SHOW MASTER STATUS").split("\t")[:2]
    assert one(source)["status"] == "ok"
    assert "sre_runbooks_verify" not in mariadb_server.sql(f"SHOW BINLOG EVENTS IN '{log}' FROM {position}")
    charset = f"SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = '{filled}'"
    assert mariadb_server.sql(charset) == "latin1"
    ((path, _manifest),) = copies(store, "main")
    assert b"ALTER DATABASE" in content(path), "else this shows nothing"
    (item,), _secrets = _settings.items([source])
    with patch_module_args({}):
        module = runbook.build({})
    work = Work(
        Commands(module.run_command), _packing.choose("zstd", None), str(path.parent), "main", "token", "restored"
    )
    mariadb_server.sql("CREATE DATABASE sre_runbooks_verify_test")
    try:
        _mysql_fill.fill(item.source, "sre_runbooks_verify_test", str(path), work)
        assert mariadb_server.sql(
            "SELECT event_name, status, on_completion FROM information_schema.events "
            "WHERE event_schema = 'sre_runbooks_verify_test' ORDER BY 1"
        ) == "e\tDISABLED\tPRESERVE\nonce\tDISABLED\tPRESERVE"  # fmt: skip
        assert "/* it's a comment; */" in mariadb_server.sql("SHOW CREATE PROCEDURE p", "sre_runbooks_verify_test")
    finally:
        mariadb_server.sql("DROP DATABASE sre_runbooks_verify_test")


def test_option_files_of_the_user_do_not_spoil_the_dump(one, source, filled, mariadb_server, tmp_path, monkeypatch):
    """Without a password those files are read, for one may stand there."""
    (tmp_path / ".my.cnf").write_text(
        f"[client]\npassword={mariadb_server.password}\n[mysqldump]\nforce\nno-data\nskip-comments\nskip-add-locks\nskip-quote-names\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = one({key: value for key, value in source.items() if key != "password"})
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["rows"] == 3014


def test_users_roles_and_grants(one, source, store, filled, mariadb_server, user):
    """Proven by a server of its own that says the same of its accounts."""
    user(f"INSERT (id, text) ON {filled}.tasks", f"SELECT ON {filled}.teams", f"EXECUTE ON PROCEDURE {filled}.p")
    name = user(r"ALL ON `x\_%`.*")["user"]
    mariadb_server.sql(f"CREATE ROLE 'o''dd'; GRANT 'o''dd' TO {name}@'127.0.0.1'; GRANT SELECT ON *.* TO 'o''dd'")
    globals_ = {key: value for key, value in source.items() if key != "database"} | {"globals": True}
    try:
        outcome = one(globals_)
    finally:
        mariadb_server.sql("DROP ROLE 'o''dd'")
    assert outcome["status"] in ("ok", "warning"), outcome["summary"]
    assert "restored and compared: " in outcome["summary"]
    ((path, manifest),) = copies(store, "main")
    assert path.name.endswith("Z.globals.sql.zst")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = content(path).decode()
    hashed = mariadb_server.sql(f"SHOW CREATE USER {name}@'127.0.0.1'").split("'")[-2]
    assert hashed in text
    assert hashed not in json.dumps(outcome) + json.dumps(manifest)
    assert f"CREATE USER IF NOT EXISTS `{name}`@`127.0.0.1`" in text
    assert manifest["figures"]["roles"] == 1
    assert not list(path.parent.glob(".*"))


def test_what_is_no_account_in_a_copy_of_accounts_fails(one, source, store):
    globals_ = {key: value for key, value in source.items() if key != "database"} | {"globals": True}
    assert one(globals_, verify="archive")["status"] in ("ok", "warning")
    ((path, _manifest),) = copies(store, "main")
    (item,), _secrets = _settings.items([globals_])
    with patch_module_args({}):
        module = runbook.build({})
    work = Work(
        Commands(module.run_command), _packing.choose("zstd", None), str(path.parent), "main", "token", "archive"
    )
    for text, words in (
        (b"DROP USER `root`@`localhost`;\n-- Dump completed\n", "holds statements that make no accounts"),
        (b"GRANT ALL ON *.* TO `x`@`%`;\n", "-- Dump completed is missing"),
    ):
        path.write_bytes(subprocess.run(["zstd", "-qc"], input=text, capture_output=True, check=True).stdout)
        with pytest.raises(_mysql_fill.Mismatch, match=words):
            item.engine.read(item.source, str(path), work)


@pytest.mark.parametrize("password", ["teams", "10", "root"])
def test_a_password_that_is_part_of_names_and_numbers(one, source, filled, mariadb_server, password):
    """What is blotted out of messages is not blotted out of what is compared."""
    mariadb_server.sql(
        f"CREATE USER wordy@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO wordy@'127.0.0.1' WITH GRANT OPTION"
    )
    rights = {"user": "wordy", "password": password}
    globals_ = {key: value for key, value in source.items() if key != "database"} | {"globals": True}
    try:
        outcome = one({**source, **rights})
        accounts = one({**globals_, **rights, "name": "accounts"}, verify="archive")
    finally:
        mariadb_server.sql("DROP USER wordy@'127.0.0.1'")
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["tables"] == 5
    assert "archive read" in accounts["summary"]


def test_an_encrypted_copy_is_proven(one, source, filled, store, tmp_path):
    """Compressed and encrypted while the rows are counted."""
    text = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stdout
    outcome = one(source, encryption={"recipients": [text.partition("public key: ")[2].split()[0]]})
    assert outcome["status"] == "ok", outcome
    assert "restored and compared: 5 tables, 3 014 rows" in outcome["summary"]
    assert copies(store, "main")[0][0].name.endswith(".sql.zst.age")
