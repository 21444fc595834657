# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real MariaDB with a real replica, and every way in which they do not answer (H5)."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

WRONG = "wrong-geheim-0123456789"


def options(server, **change):
    given = {"host": server.host, "port": server.port, "user": server.user, "password": server.password, **change}
    return {"connection": {name: value for name, value in given.items() if value is not None}, "timeout": "60s"}


@pytest.fixture
def tcp(mariadb_server, mariadb_database):
    return lambda **change: options(mariadb_server, **{"database": mariadb_database, **change})


def test_mysql_answers(check, tcp, mariadb_server, mariadb_database):
    mariadb_server.sql(
        "CREATE TABLE t SELECT seq, repeat('x', 500) AS x FROM seq_1_to_5000; ANALYZE TABLE t", mariadb_database
    )
    outcome = check("mysql", **tcp(), warning="> 30s", critical="> 50s")
    metrics = outcome["metrics"]
    assert outcome["status"] == "ok"
    assert 0 < metrics["response_seconds"] < 30
    assert 0 < metrics["connections_percent"] < 20
    assert 5000 * 500 < metrics["size_bytes"] < 5000 * 2000
    assert "replication_lag_seconds" not in metrics
    assert outcome["details"]["version"] == mariadb_server.sql("SELECT @@version")
    assert outcome["details"]["version"] in outcome["summary"]


def test_the_size_is_that_of_all_databases_where_none_is_named(check, tcp, mariadb_database):
    empty = check("mysql", **tcp())["metrics"]["size_bytes"]
    assert empty == 0 < check("mysql", **tcp(database=None))["metrics"]["size_bytes"]


def test_connections_of_others_count(check, tcp, mariadb_server):
    before = check("mysql", **tcp())["metrics"]["connections_percent"]
    client = ["mariadb", "--no-defaults", f"--socket={mariadb_server.socket}", "--user=root", "--batch", "--unbuffered"]
    open_ones = [
        subprocess.Popen(
            client,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "MYSQL_PWD": mariadb_server.password},
        )
        for _number in range(10)
    ]
    try:
        for each in open_ones:
            each.stdin.write(b"SELECT 1;\n")
            each.stdin.flush()
            assert each.stdout.readline()
        outcome = check("mysql", **tcp(), metrics={"connections_percent": {"warning": f"> {before + 5}"}})
    finally:
        for each in open_ones:
            each.communicate()
    assert outcome["status"] == "warning"
    most = int(mariadb_server.sql("SELECT @@max_connections"))
    assert outcome["metrics"]["connections_percent"] == pytest.approx(before + 100 * 10 / most, abs=2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", None])
def test_a_host_or_a_port_means_tcp(check, tcp, host):
    assert check("mysql", **tcp(host=host))["status"] == "ok"


def test_mysql_over_its_socket_as_an_operating_system_user(check, mariadb_server):
    """Peer authentication, as Debian sets it up for root and mysql; only root can take another's place."""
    user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    mariadb_server.sql(f"CREATE OR REPLACE USER `{user}`@localhost IDENTIFIED VIA unix_socket")
    connection = {"socket": str(mariadb_server.socket), **({"run_as": user} if os.geteuid() == 0 else {"user": user})}
    outcome = check("mysql", connection=connection, timeout="60s")
    assert outcome["status"] == "ok", outcome
    refused = check("mysql", connection={**connection, "user": "root"}, timeout="60s")
    assert refused["status"] == "critical"
    assert refused["summary"].startswith(
        f"MariaDB at {mariadb_server.socket}: mariadb ended with status 1: ERROR 1045 "
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": WRONG}, "ERROR 1045 (28000): Access denied for user"),
        ({"password": None}, "ERROR 1045 (28000): Access denied for user 'root'@'127.0.0.1' (using password: NO)"),
        ({"user": "nobody at all"}, "ERROR 1045 (28000): Access denied for user 'nobody at all'"),
        ({"port": 1}, "ERROR 2002 (HY000): Can't connect to server on '127.0.0.1' (1"),
        ({"database": "nosuch; DROP TABLE t"}, "ERROR 1049 (42000): Unknown database 'nosuch; DROP TABLE t'"),
        ({"socket": "/nowhere"}, "ERROR 2002 (HY000): Can't connect to local server through socket '/nowhere' (2)"),
    ],
    ids=["wrong password", "no password", "no user", "refused", "no database", "no socket"],
)
def test_mysql_that_does_not_let_us_in_is_critical(run, tcp, mariadb_server, change, message):
    result = run({"name": "x", "type": "mysql", **tcp(**change)})
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("MariaDB at ")
    assert message in outcome["summary"]
    assert mariadb_server.password not in json.dumps(result)
    assert WRONG not in json.dumps(result)


def test_mysql_that_hangs_is_critical_at_the_timeout(check, tcp, hanging):
    outcome = check("mysql", **{**tcp(port=hanging), "timeout": "1s"})
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"MariaDB at 127.0.0.1:{hanging}: mariadb did not end within 1 s")


def test_a_statement_ends_on_the_server_at_its_timeout(tcp, mariadb_server):
    """Killing the client alone would leave the server at work: check upon check, until all connections are used."""
    with patch_module_args({}):
        commands = Commands(AnsibleModule(argument_spec={}).run_command)
    connection = {**dict.fromkeys(mysql.CONNECTION), **tcp()["connection"]}
    started = time.monotonic()
    done = mysql.query(commands, connection, "SELECT BENCHMARK(1e10, md5(1));", 1, check=False)
    assert time.monotonic() - started < 30
    assert done.rc
    running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%BENCHMARK(%' AND info NOT LIKE '%processlist%'"
    wait_for(lambda: mariadb_server.sql(running) == "0")
    assert time.monotonic() - started < 20


def test_a_server_that_is_stopped_is_critical_at_the_timeout(check, tcp, mariadb_server):
    process = int((mariadb_server.socket.parent / "pid").read_text())
    os.kill(process, 19)  # SIGSTOP: the kernel accepts connections, nobody answers
    try:
        outcome = check("mysql", **{**tcp(), "timeout": "1s"})
    finally:
        os.kill(process, 18)
    assert outcome["status"] == "critical"
    assert "did not end within 1 s" in outcome["summary"]
    assert check("mysql", **tcp())["status"] == "ok"


def test_something_else_behind_the_port_is_critical(check, tcp, app):
    outcome = check("mysql", **{**tcp(port=int(app.url.rpartition(":")[2])), "timeout": "6s"})
    assert outcome["status"] == "critical"


def test_a_password_in_an_option_file_does_not_win_over_ours(check, tcp, tmp_path, monkeypatch, mariadb_server):
    (tmp_path / ".my.cnf").write_text(f"[client]\nuser=root\npassword={WRONG}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check("mysql", **tcp())["status"] == "ok"
    assert check("mysql", **tcp(password=None))["status"] == "critical"
    (tmp_path / ".my.cnf").write_text(f"[client]\nuser=root\npassword={mariadb_server.password}\n")
    assert check("mysql", **tcp(password=None, user=None))["status"] == "ok"


@pytest.fixture
def plain(mariadb_server):
    """A user with no privilege but to log in."""
    name, password = f"plain_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    mariadb_server.sql(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{password}'")
    yield {"user": name, "password": password, "database": None}
    mariadb_server.sql(f"DROP USER {name}@'127.0.0.1'")


def test_what_a_plain_user_may_not_see_is_unknown_not_0(check, tcp, plain):
    outcome = check("mysql", **tcp(**plain), metrics={"replication_lag_seconds": {"warning": "> 10s"}})
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("replication_lag_seconds is not known here; ")
    assert {"response_seconds", "connections_percent", "size_bytes"} == set(outcome["metrics"])
    assert check("mysql", **tcp(**plain))["status"] == "ok"


@pytest.mark.parametrize("program", ["mariadb", "mysql"])
def test_either_client_will_do(check, tcp, tmp_path, monkeypatch, program):
    (tmp_path / "timeout").symlink_to(shutil.which("timeout"))
    (tmp_path / program).symlink_to(shutil.which("mariadb"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check("mysql", **tcp())["status"] == "ok"


def test_without_a_client_mysql_is_unknown_by_package(check, tcp, monkeypatch, tmp_path):
    (tmp_path / "timeout").symlink_to(shutil.which("timeout"))
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = check("mysql", **tcp())
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("mariadb is not installed on this host. Install the package mariadb-client ")


# --- Replication -----------------------------------------------------------------------------------------------------


LAG = {"replication_lag_seconds": {"warning": "> 500 ms"}}


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def replicated(mariadb_server, mariadb_replica):
    mark = f"mark_{secrets.token_hex(4)}"
    mariadb_server.sql(f"CREATE DATABASE {mark}")
    wait_for(lambda: mark in mariadb_replica.sql("SHOW DATABASES"))
    mariadb_server.sql(f"DROP DATABASE {mark}")
    # While the replica does this too, it lags behind.
    wait_for(lambda: mark not in mariadb_replica.sql("SHOW DATABASES"))


def test_a_replica_that_keeps_up(check, mariadb_server, mariadb_replica):
    replicated(mariadb_server, mariadb_replica)
    wait_for(lambda: check("mysql", **options(mariadb_replica))["metrics"].get("replication_lag_seconds") == 0)
    assert check("mysql", **options(mariadb_replica), metrics=LAG)["status"] == "ok"


def test_a_replica_that_lags_behind(check, mariadb_server, mariadb_replica, mariadb_database):
    """A lock on the replica holds up what the primary has long done."""
    mariadb_server.sql("CREATE TABLE t (n INT)", mariadb_database)
    wait_for(lambda: mariadb_database in mariadb_replica.sql("SHOW DATABASES"))
    wait_for(lambda: "t" in mariadb_replica.sql("SHOW TABLES", mariadb_database))
    client = [
        "mariadb",
        "--no-defaults",
        f"--socket={mariadb_replica.socket}",
        "--user=root",
        "--batch",
        "--unbuffered",
    ]
    environment = {**os.environ, "MYSQL_PWD": mariadb_replica.password}
    seen = []

    def lags():
        seen.append(check("mysql", **options(mariadb_replica), metrics=LAG))
        return seen[-1]["metrics"].get("replication_lag_seconds", 0) >= 1

    with subprocess.Popen(
        [*client, mariadb_database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        holder.stdin.write(b"LOCK TABLES t READ; SELECT 'locked';\n")
        holder.stdin.flush()
        assert holder.stdout.readline()
        mariadb_server.sql("INSERT INTO t VALUES (1)", mariadb_database)
        wait_for(lags)
        # Its connection ends, and the lock with it.
        holder.communicate()
    assert seen[-1]["status"] == "warning"
    assert 1 <= seen[-1]["metrics"]["replication_lag_seconds"] <= 30
    wait_for(lambda: mariadb_replica.sql("SELECT n FROM t", mariadb_database) == "1")


def test_a_replica_whose_threads_were_stopped_is_critical(check, mariadb_server, mariadb_replica):
    mariadb_replica.sql("STOP SLAVE")
    try:
        outcome = check("mysql", **options(mariadb_replica), metrics=LAG)
    finally:
        mariadb_replica.sql("START SLAVE")
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("replication stands still: its threads do not run; ")
    replicated(mariadb_server, mariadb_replica)


def test_a_replica_that_met_an_error_is_critical_and_says_which(
    check, mariadb_server, mariadb_replica, mariadb_database
):
    mariadb_server.sql("CREATE TABLE t (n INT PRIMARY KEY)", mariadb_database)
    replicated(mariadb_server, mariadb_replica)
    mariadb_replica.sql("INSERT INTO t VALUES (1)", mariadb_database)
    mariadb_server.sql("INSERT INTO t VALUES (1)", mariadb_database)
    wait_for(lambda: check("mysql", **options(mariadb_replica))["status"] == "critical")
    outcome = check("mysql", **options(mariadb_replica))
    assert "Duplicate entry '1' for key 'PRIMARY'" in outcome["summary"]
    mariadb_replica.sql("DELETE FROM t", mariadb_database)
    mariadb_replica.sql("START SLAVE")
    replicated(mariadb_server, mariadb_replica)


def test_a_replica_that_may_not_log_in_is_critical_and_says_so(check, mariadb_server, mariadb_replica):
    mariadb_replica.sql(f"STOP SLAVE; CHANGE MASTER TO MASTER_PASSWORD='{WRONG}'; START SLAVE")
    try:
        wait_for(lambda: "Access denied" in check("mysql", **options(mariadb_replica))["summary"])
        outcome = check("mysql", **options(mariadb_replica))
    finally:
        mariadb_replica.sql(f"STOP SLAVE; CHANGE MASTER TO MASTER_PASSWORD='{mariadb_server.password}'; START SLAVE")
    assert outcome["status"] == "critical"
    assert WRONG not in outcome["summary"]
    replicated(mariadb_server, mariadb_replica)
