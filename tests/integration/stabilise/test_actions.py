# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each stabilising action does, on real services (I5)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _journal
from ansible_collections.sre.runbooks.plugins.modules import backup

from .conftest import action, statuses


def connection(server, **more):
    return {"port": server.port, "password": server.password, **more}


@pytest.fixture
def keys(redis_server):
    """An empty database of Redis that belongs to one test."""
    redis_server.command("-n", "3", "FLUSHDB")
    yield redis_server
    redis_server.command("-n", "3", "FLUSHDB")


def count(server):
    return int(server.command("-n", "3", "DBSIZE"))


def test_i5_a_service_is_asked_to_recover(run, application):
    application.admin("PUT", "/admin/sick", {"error_rate": 1.0})
    verify = [{"name": "api", "type": "http", "url": f"{application.url}/api/v1/metrics", "expect": {"status": 200}}]
    heal = action(
        "heal", "http", url=f"{application.url}/admin/sick", method="DELETE",
        headers={"Authorization": f"Bearer {application.token}"},
    )  # fmt: skip
    result = run(heal, verify=verify)
    assert statuses(result) == [("http:heal", "ok"), ("host", "ok")]
    assert result["helped"] == "heal"
    assert application.token not in json.dumps(result)


def test_i5_a_service_that_refuses(run, application, flag):
    wrong = action(
        "heal", "http", url=f"{application.url}/admin/sick", method="DELETE", headers={"Authorization": "Bearer no"}
    )
    result = run(wrong, verify=flag.verify)
    assert result["outcomes"][0]["status"] == "critical"
    assert result["outcomes"][0]["summary"].endswith("/admin/sick: status 401")


def test_i5_the_keys_of_a_cache_are_removed_and_no_others(run, keys, flag):
    hostile = ['cache:it"s\\n', "cache:ü \x07", "cache: x", "cache:" + "k" * 300]
    for key in hostile:
        keys.command("-n", "3", "SET", key, "1")
    script = "for i = 1, 5000 do redis.call('SET', 'cache:' .. i, 'x') redis.call('SET', 'session:' .. i, 'x') end"
    keys.command("-n", "3", "EVAL", script, "0")
    flush = action("flush", "cache_flush", redis=connection(keys, database=3), patterns=["cache:*"])
    result = run(flush, verify=flag.verify)
    assert "removed 5004 keys" in result["outcomes"][0]["summary"]
    assert count(keys) == 5000
    assert keys.command("-n", "3", "EXISTS", "session:1") == "1"
    assert keys.password not in json.dumps(result)


def test_i5_a_whole_cache_database(run, keys, flag):
    keys.command("-n", "3", "SET", "a", "1")
    keys.command("-n", "4", "SET", "b", "1")
    flush = action("flush", "cache_flush", redis=connection(keys, database=3), everything=True)
    assert "1 keys" in run(flush, verify=flag.verify)["outcomes"][0]["summary"]
    assert (count(keys), keys.command("-n", "4", "DEL", "b")) == (0, "1")


def test_i5_redis_that_does_not_let_us_in(run, keys, flag):
    flush = action("flush", "cache_flush", redis={**connection(keys), "password": "not this"}, everything=True)
    outcome = run(flush, verify=flag.verify)["outcomes"][0]
    assert outcome["status"] == "critical"
    assert "WRONGPASS" in outcome["summary"]
    assert "not this" not in outcome["summary"]


def test_i5_a_queue_is_put_aside_and_can_be_had_again(run, keys, flag):
    keys.command("-n", "3", "RPUSH", "jobs", "a", "b", "c")
    clear = action("clear", "queue_clear", redis=connection(keys, database=3), key="jobs")
    result = run(clear, verify=flag.verify)
    assert "3 entries are kept as jobs:cleared:" in result["outcomes"][0]["summary"]
    assert keys.command("-n", "3", "EXISTS", "jobs") == "0"
    (aside,) = keys.command("-n", "3", "KEYS", "*").split()
    assert 86000 < int(keys.command("-n", "3", "TTL", aside)) <= 86400
    assert keys.command("-n", "3", "LRANGE", aside, "0", "-1").split() == ["a", "b", "c"]


def test_i5_a_queue_that_was_cleared_in_vain_is_as_before(run, keys, flag):
    keys.command("-n", "3", "XADD", "events", "*", "a", "1")
    clear = action("clear", "queue_clear", redis=connection(keys, database=3), key="events", undo=True)
    assert "Taken back: 1 entries are in events again" in run(clear, verify=flag.verify)["outcomes"][0]["summary"]
    assert keys.command("-n", "3", "XLEN", "events") == "1"
    assert keys.command("-n", "3", "TTL", "events") == "-1"


def test_i5_what_is_no_queue_and_what_is_empty(run, keys, flag):
    keys.command("-n", "3", "SET", "text", "x")
    wrong = action("wrong", "queue_clear", redis=connection(keys, database=3), key="text")
    empty = action("empty", "queue_clear", redis=connection(keys, database=3), key="nothing")
    result = run(wrong, empty, verify=flag.verify)
    assert "is a string, no queue" in result["outcomes"][0]["summary"]
    assert "the queue nothing was empty" in result["outcomes"][1]["summary"]


@pytest.fixture
def releases(tmp_path):
    """Three releases and a link to the newest."""
    folder = tmp_path / "releases"
    for number, name in enumerate(("2026-10", "2026-11", "2026-12")):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (1000 + number, 1000 + number))
    (tmp_path / "current").symlink_to("releases/2026-12")
    return tmp_path / "current"


def test_i5_the_release_before(run, releases, flag):
    result = run(action("back", "release_rollback", link=str(releases)), verify=flag.verify)
    assert os.readlink(releases) == "releases/2026-11"
    assert "is releases/2026-11 instead of releases/2026-12" in result["outcomes"][0]["summary"]


def test_i5_a_release_by_name_and_back_when_it_did_not_help(run, releases, flag):
    result = run(action("back", "release_rollback", link=str(releases), to="2026-10", undo=True), verify=flag.verify)
    assert os.readlink(releases) == "releases/2026-12"
    assert "is releases/2026-12 again" in result["outcomes"][0]["summary"]


def test_i5_no_older_release(run, releases, flag):
    releases.unlink()
    releases.symlink_to("releases/2026-10")
    result = run(action("back", "release_rollback", link=str(releases)), verify=flag.verify)
    assert "holds no release older than 2026-10" in result["outcomes"][0]["summary"]
    assert os.readlink(releases) == "releases/2026-10"


def test_i5_killed_after_the_link_was_set_the_next_run_goes_back_no_further(run, releases, flag):
    back = action("back", "release_rollback", link=str(releases), limit="5/h")
    child = os.fork()
    if not child:
        setattr(_journal.Journal, "end", lambda *_given: os.kill(os.getpid(), signal.SIGKILL))  # noqa: B010
        run(back, verify=flag.verify)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert os.readlink(releases) == "releases/2026-11"
    run(back, verify=flag.verify)
    assert os.readlink(releases) == "releases/2026-11"


def test_i5_a_package_that_has_no_older_version(run, flag):
    """apt's own lists of this machine are read; nothing is installed."""
    result = run(action("back", "release_rollback", package="coreutils", to="0.1"), verify=flag.verify)
    assert "coreutils: no version 0.1 can be had, only" in result["outcomes"][0]["summary"]
    result = run(action("gone", "release_rollback", package="no-such-package"), verify=flag.verify)
    assert "no-such-package: is not installed here" in result["outcomes"][0]["summary"]


def test_i5_a_database_is_restored(run, tmp_path, capsys):
    path, store = tmp_path / "app.db", tmp_path / "backups"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(500)])
    database.close()
    source = {"name": "app", "engine": "sqlite", "path": str(path)}
    given = {"directory": str(store), "sources": [source], "verify": "restored"}
    with patch_module_args({**given, "state_dir": str(tmp_path / "state")}), pytest.raises(SystemExit):
        backup.main()
    capsys.readouterr()
    page = path.read_bytes()
    path.write_bytes(page[:4096] + b"\xff" * 4096 + page[8192:])
    verify = [{"name": "app", "type": "sqlite", "path": str(path), "integrity": "full", "critical": "> 5"}]
    restore = action(
        "restore", "database_restore", restore={"name": "app", "directory": str(store), "safety_backup": False}
    )
    would = run(restore, verify=verify, _ansible_check_mode=True)
    assert would["outcomes"][0]["status"] == "ok"
    assert not would["healthy"]
    result = run(restore, verify=verify)
    assert result["helped"] == "restore", result
    assert "restored from" in result["outcomes"][0]["summary"]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (500,)


def test_i5_a_database_without_a_copy(run, tmp_path, flag):
    restore = action("restore", "database_restore", restore={"name": "app", "directory": str(tmp_path)})
    outcome = run(restore, verify=flag.verify)["outcomes"][0]
    assert outcome["status"] == "critical"
    assert "cannot be taken" in outcome["summary"]


def test_i5_a_unit_on_a_host_without_systemd_is_told(run, flag):
    result = run(action("restart", "service_restart"), services=["feature11"], verify=flag.verify)
    assert result["outcomes"][0]["status"] == "critical"
    assert "systemctl" in result["outcomes"][0]["summary"]
    assert time.time() - os.stat(flag.path.parent).st_mtime < 60


def test_i5_maintenance_mode_is_entered_for_a_time_and_taken_back(run, application, flag):
    """The mode goes on, does not help, and is taken back; a second time it stays and ends by itself."""

    def is_on():
        return application.admin("GET", "/admin/maintenance-mode").body["maintenance"]

    switch = {
        "kind": "http", "url": f"{application.url}/admin/maintenance-mode", "headers": {"Authorization": f"Bearer {application.token}"},
    }  # fmt: skip
    enter = action("close", "maintenance_mode", switch=switch, lease="3s")
    looked = run(enter, verify=flag.verify, _ansible_check_mode=True)
    assert "would enter maintenance mode: would be on until" in looked["outcomes"][0]["summary"]
    assert not is_on()
    result = run({**enter, "undo": True}, verify=flag.verify)
    assert result["outcomes"][0]["summary"].endswith(f"Taken back: maintenance mode off: DELETE {switch['url']}")
    assert not is_on()
    result = run(enter, verify=flag.verify, incident="INC-2")
    assert "maintenance mode on until" in result["outcomes"][0]["summary"]
    assert application.token not in json.dumps(result)
    assert is_on()
    deadline = time.monotonic() + 8
    while is_on():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert run(action("close", "maintenance_mode", switch={"kind": "x"}), verify=flag.verify)["msg"].startswith(
        "switch.kind: 'x' is no kind of switch"
    )
