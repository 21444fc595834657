# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.rotating_key: ages, limits, proofs, and what cannot be used (K1, K3)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time

import pytest
from ansible.errors import AnsibleTemplatePluginError

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _verify
from ansible_collections.sre.runbooks.plugins.plugin_utils import keys

from .rotation import Rotation, statuses

ALL_OK = {"db1": "ok", "web1": "ok", "web2": "ok", "web3": "ok"}


def older(application, key, days):
    """Make a key of the application's table older."""
    with contextlib.closing(sqlite3.connect(application.database, timeout=15)) as opened, opened as connection:
        connection.execute("UPDATE api_keys SET created_at = datetime('now', ?) WHERE id = ?", (f"-{days} days", key))


def test_k1_a_key_of_a_table_is_rotated_when_it_is_90_days_old_and_the_old_one_revoked_after_its_overlap(fleet):
    fleet.key["provider"] = {
        "host": "db1", "type": "store", "engine": "sqlite", "path": str(fleet.application.database), "role": "ANALYST",
        "prefix": "ra_", "owner": fleet.name,
    }  # fmt: skip
    older(fleet.application, fleet.old["id"], 89)
    assert statuses(Rotation(fleet).go()) == ALL_OK
    assert fleet.held() == {fleet.old["key"]}
    (fleet.folder / "db1/state/keys.json").unlink()
    older(fleet.application, fleet.old["id"], 91)
    fleet.key["overlap"] = "1s"
    assert statuses(Rotation(fleet).go()) == ALL_OK
    new = fleet.settled()
    assert new != fleet.old["key"]
    time.sleep(1.1)
    assert statuses(Rotation(fleet).go()) == ALL_OK
    assert not fleet.accepted(fleet.old["key"])
    assert fleet.settled() == new
    assert [each["event"] for each in fleet.audit()] == ["created", "promoted", "revoked"]
    assert [each["event"] for each in fleet.audit("web1")] == ["distributed", "restarted", "proven_dead"]
    assert new not in json.dumps([fleet.audit(host) for host in fleet.all_hosts])


def test_k3_a_key_for_six_months(fleet):
    fleet.key["max_age"] = "180d"
    older(fleet.application, fleet.old["id"], 179)
    assert statuses(Rotation(fleet).go()) == ALL_OK
    assert fleet.held() == {fleet.old["key"]}
    (fleet.folder / "db1/state/keys.json").unlink()
    older(fleet.application, fleet.old["id"], 181)
    assert statuses(Rotation(fleet).go()) == ALL_OK
    assert fleet.settled() != fleet.old["key"]


def test_a_revoked_key_that_still_works_is_critical_and_kept_for_the_next_proof(fleet):
    Rotation(fleet, compromised=[fleet.name]).go()
    new = fleet.settled()
    before = fleet.journal()["revoked"][-1]["fingerprint"]
    kept = fleet.home("web1") / "state/keys" / before
    assert not kept.exists()
    # Somebody makes it valid again.
    kept.write_text(fleet.old["key"])
    with contextlib.closing(sqlite3.connect(fleet.application.database, timeout=15)) as opened, opened as connection:
        connection.execute("UPDATE api_keys SET revoked_at = NULL WHERE id = ?", (fleet.old["id"],))
    said = Rotation(fleet).go()
    assert statuses(said)["web1"] == "critical"
    assert "still works" in said["web1"][0]["summary"]
    assert kept.exists()
    assert fleet.held() == {new}


def test_a_service_that_does_not_use_the_key_proves_nothing(fleet):
    fleet.key["verify"].update(used_by={"url": f"{fleet.application.url}/no-such-page"}, within="1s")
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "critical"
    assert "does not use it" in said["db1"][0]["summary"]
    assert fleet.held() == {fleet.old["key"]}
    ports = [(fleet.home(host) / "port").read_text() for host in fleet.HOSTS]
    fleet.key["verify"]["used_by"]["url"] = f"http://127.0.0.1:{ports[0]}/"
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    assert fleet.settled() != fleet.old["key"]


def test_a_file_that_was_given_another_key_by_hand_keeps_the_old_one_alive(fleet, monkeypatch):
    Rotation(fleet, force=[fleet.name]).go()
    new = fleet.settled()
    path = fleet.home("web2") / ".env"
    path.write_text(path.read_text().replace(new, fleet.old["key"]))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 2 * 86400)
    said = Rotation(fleet).go()
    assert statuses(said) == {**ALL_OK, "db1": "warning", "web2": "critical"}
    assert "the old key is not revoked: web2" in said["db1"][0]["summary"]
    assert fleet.accepted(fleet.old["key"])


def test_no_more_keys_than_the_limit_are_made_in_one_run(application, call):
    store = {"type": "store", "engine": "sqlite", "path": str(application.database), "role": "VIEWER"}
    given = [{"name": f"limited{number}", "provider": store} for number in range(3)]
    result = call(keys=given, stage="create", limit=2)
    assert sorted(result["made"]) == ["limited0", "limited1"]
    assert [each["status"] for each in result["outcomes"]] == ["ok", "ok", "warning"]
    assert "key_rotation_limit" in result["outcomes"][2]["summary"]
    assert result["facts"]["limited2"]["waits"] == "limit"


def test_check_mode_of_each_stage_writes_nothing(application, call, tmp_path):
    store = {"type": "store", "engine": "sqlite", "path": str(application.database), "role": "VIEWER"}
    before = len(application.admin("GET", "/auth/api-keys").body)
    for stage in ("status", "create", "promote", "revoke"):
        result = call(check=True, keys=[{"name": "checked", "provider": store}], stage=stage)
        assert result["changed"] == (stage == "create")
        assert "made" not in result
    assert len(application.admin("GET", "/auth/api-keys").body) == before
    assert not (tmp_path / "state").exists()


HTTP = {"type": "http", "url": "http://127.0.0.1:1/"}
USES = {"path": "/etc/x.env", "variable": "X"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"name": "a b"}], "keys[0].name"),
        ([{"name": "a"}, {"name": "a"}], "is used twice"),
        ([{"name": "a", "provider": {"type": "vaults"}}], "keys.a.provider.type: 'vaults' is no provider. Use one of"),
        ([{"name": "a", "max_age": "0d"}], "keys.a.max_age"),
        ([{"name": "a", "overlap": "soon"}], "keys.a.overlap"),
        ([{"name": "a", "maxage": "1d"}], "maxage"),
        ([{"name": "a", "consumers": [USES]}], "keys.a.verify: None is missing"),
        ([{"name": "a", "verify": HTTP, "consumers": [{**USES, "path": "x.env"}]}], "keys.a.consumers[0].path"),
        (
            [{"name": "a", "verify": HTTP, "consumers": [{**USES, "restart": "x", "reload": "x"}]}],
            "one action too many",
        ),
        ([{"name": "a", "verify": HTTP, "consumers": [{**USES, "format": "toml"}]}], "toml"),
        ([{"name": "a", "verify": {"type": "ftp"}}], "keys.a.verify.type"),
        ([{"name": "a", "verify": {"type": "http", "url": "host"}}], "is no HTTP address"),
        ([{"name": "a", "verify": {"type": "command", "argv": []}}], "keys.a.verify.argv"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_with_option_value_and_remedy(call, given, told, tmp_path):
    result = call(keys=given)
    assert result["failed"]
    assert told in result["msg"]
    assert not (tmp_path / "state").exists()


def test_proofs_by_a_database_and_by_a_command(postgresql_server, run_command):
    server, commands = postgresql_server, Commands(run_command)
    server.psql("CREATE ROLE proven LOGIN PASSWORD 'right-Value-1'")
    try:
        reach = {"type": "postgresql", "host": server.host, "port": server.port, "user": "proven", "within": "0s"}
        verify, _secrets = _verify.read(reach, "verify")
        _verify.prove(verify, "right-Value-1", commands)
        _verify.prove(verify, f"postgresql://proven:right-Value-1@{server.host}:{server.port}/postgres", commands)
        with pytest.raises(_verify.Refused, match="authentication failed"):
            _verify.call(verify, "wrong-Value-2", commands)
        server.psql("ALTER ROLE proven NOLOGIN")
        with pytest.raises(_verify.Refused, match="not permitted to log in"):
            _verify.call(verify, "right-Value-1", commands)
        # A server that is away has refused nothing.
        verify, _secrets = _verify.read({**reach, "port": 1}, "verify")
        with pytest.raises(RunbookError) as caught:
            _verify.call(verify, "right-Value-1", commands)
        assert not isinstance(caught.value, _verify.Refused)
    finally:
        server.psql("DROP ROLE proven")
    script = 'test "$SRE_RUNBOOKS_KEY" = right && exit 0; echo "no $SRE_RUNBOOKS_KEY" >&2; exit "${CODE:-1}"'
    verify, _secrets = _verify.read({"type": "command", "argv": ["sh", "-c", script]}, "verify")
    _verify.prove(verify, "right", commands)
    with pytest.raises(_verify.Refused) as caught:
        _verify.call(verify, "other-value", commands)
    assert "other-value" not in str(caught.value)


def test_a_host_gets_the_part_of_a_key_that_it_needs():
    groups = {"all": ["db1", "web1", "web2"], "web": ["web1", "web2"]}
    provider = {"type": "http", "host": "db1", "headers": {"Authorization": "secret"}}
    key = {
        "name": "a",
        "provider": provider,
        "consumers": [{"hosts": "web", **USES}, {"hosts": ["web1", "db1"], **USES}],
    }
    (made,) = keys.parts([key], "db1", groups)
    assert made["provider"] == provider
    assert made["expected"] == ["web1", "web2", "db1"]
    assert made["consumers"] == [USES]
    (used,) = keys.parts([key], "web2", groups)
    assert "secret" not in str(used)
    assert used["provider_host"] == "db1"
    assert keys.parts([key], "other", groups) == []
    local = {"name": "b", "provider": {"type": "store"}, "consumers": [USES]}
    assert keys.parts([local], "web1", groups)[0]["expected"] == ["web1"]
    with pytest.raises(AnsibleTemplatePluginError, match=r"keys\.a\.consumers\.hosts: 'wbe' is no host and no group"):
        keys.parts([{**key, "consumers": [{"hosts": "wbe", **USES}]}], "web1", groups)


def test_of_several_outcomes_about_one_thing_the_first_failure_counts():
    def said(status, summary):
        return {"outcomes": [{"subject": "key:a", "status": status, "summary": summary}]}

    told = [said("ok", "1"), {}, said("critical", "2"), said("critical", "3"), said("ok", "4")]
    assert [each["summary"] for each in keys.outcomes(told)] == ["2"]
    assert [each["summary"] for each in keys.outcomes([said("ok", "1"), said("ok", "2")])] == ["2"]
