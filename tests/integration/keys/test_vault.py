# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider vault (K3) on a KV version 2 engine, which hvac and community.hashi_vault read and write independently."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hvac
import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import vault
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import fingerprint

from .kv import Kv
from .rotation import Rotation, deadly, forked, statuses
from .test_faults_keys import ALL_OK

TOKEN = "root-Token-0123456789"
PATH = "team/my app"
OLD = "old-Value-0123456789"
CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def kv():
    made = Kv()
    yield made
    made.close()


@pytest.fixture
def client(kv):
    """hvac, and the secret as it was before the collection came."""
    made = hvac.Client(url=kv.url, token=TOKEN)
    made.secrets.kv.v2.create_or_update_secret(PATH, {"value": OLD, "url": "https://api.example.org"})
    return made


def options(kv, **more):
    return {"type": "vault", "url": kv.url, "path": PATH, "token": TOKEN, **more}


def test_k3_a_version_is_written_and_destroyed_as_hvac_sees_it(kv, client, provider):
    module, given, work = provider(**options(kv))
    (before,) = module.observe(given, work)
    assert (before.id, before.label, before.fingerprint) == ("1", work.name, fingerprint(work.name, OLD))
    work = work._replace(current="1")
    new = module.create(given, work)
    read = client.secrets.kv.v2.read_secret_version(PATH, raise_on_deleted_version=True)["data"]
    assert read["data"] == {
        "value": new.value,
        "url": "https://api.example.org",
        "sre_runbooks_label": f"{work.label} 2",
    }
    assert new.id == str(read["metadata"]["version"]) == "2"
    assert len(new.value) >= 43
    assert (module.observe(given, work)[1].id, module.observe(given, work)[1].label) == ("2", work.label)
    # A version that is deleted only can be brought back: it is destroyed all the same.
    client.secrets.kv.v2.delete_secret_versions(PATH, [1])
    module.revoke(given, "1", work._replace(current="2"))
    module.revoke(given, "1", work._replace(current="2"))
    client.secrets.kv.v2.undelete_secret_versions(PATH, [1])
    told = client.secrets.kv.v2.read_secret_metadata(PATH)["data"]
    assert [told["versions"][number]["destroyed"] for number in ("1", "2")] == [True, False]
    assert told["current_version"] == 2
    assert kv.alive(PATH) == [new.value]


def test_a_key_that_is_given_up_leaves_the_one_in_use_as_the_newest(kv, client, provider):
    module, given, work = provider(**options(kv))
    work = work._replace(current="1")
    new = module.create(given, work)
    # Somebody else changes another field meanwhile: the given-up key is in two versions.
    client.secrets.kv.v2.patch(PATH, {"url": "https://other.example.org"})
    module.revoke(given, new.id, work)
    assert kv.alive(PATH) == [OLD, OLD]
    newest = client.secrets.kv.v2.read_secret_version(PATH, raise_on_deleted_version=True)["data"]
    assert newest["data"]["value"] == OLD
    assert [each.id for each in module.observe(given, work)] == ["1"]
    module.revoke(given, new.id, work)
    assert kv.secrets[PATH].current == newest["metadata"]["version"]
    # The key in use is in two versions as well: revoked, it is in none.
    following = module.create(given, work)
    with pytest.raises(RunbookError, match="holds the key in use"):
        module.revoke(given, "4", work)
    module.revoke(given, "1", work._replace(current=following.id))
    assert kv.alive(PATH) == [following.value]


def test_a_key_is_revoked_after_its_version_has_made_room_for_others(kv, client, provider):
    module, given, work = provider(**options(kv))
    work = work._replace(current="1")
    for number in range(7):
        module.revoke(given, module.create(given, work._replace(label=f"given-up-{number}")).id, work)
    assert 1 not in kv.secrets[PATH].versions
    assert set(kv.alive(PATH)) == {OLD}
    assert {each.id for each in module.observe(given, work)} == {"1"}
    new = module.create(given, work)
    module.revoke(given, "1", work._replace(current=new.id))
    assert kv.alive(PATH) == [new.value]


def test_a_writer_that_comes_in_between_loses_nothing(kv, client, provider, monkeypatch):
    module, given, work = provider(**options(kv))
    others = ["first", "second"]

    def before(method, path):
        if method == "POST" and "/data/" in path and others:
            kv.write(PATH, {}, {"data": {"value": OLD, "by": others.pop(0)}})

    kv.before = before
    new = module.create(given, work)
    assert new.id == "4"
    assert kv.secrets[PATH].versions[4]["data"]["by"] == "second"
    kv.before = lambda method, path: (
        "/data/" in path and method == "POST" and kv.write(PATH, {}, {"data": {"value": OLD}})
    )
    with pytest.raises(RunbookError, match="written by others all the time"):
        module.create(given, work)


def test_a_secret_that_is_not_there_yet(kv, provider):
    module, given, work = provider(**options(kv, prefix="app_", field="password", path="new/one"))
    assert module.observe(given, work) == []
    new = module.create(given, work)
    assert new.value.startswith("app_")
    assert kv.secrets["new/one"].versions[1]["data"] == {"password": new.value, "sre_runbooks_label": f"{work.label} 1"}


def test_tokens_by_file_and_variable_and_namespaces(kv, client, provider, tmp_path, monkeypatch):
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    without = options(kv)
    del without["token"]
    module, given, work = provider(**without)
    with pytest.raises(RunbookError, match=r"there is no token. Set provider\.token or"):
        module.observe(given, work)
    kv.tokens["team-Token-0123456789"] = "team1"
    monkeypatch.setenv("BAO_TOKEN", "team-Token-0123456789")
    with pytest.raises(RunbookError, match=r"answered 403. Check the token and its policy") as caught:
        module.observe(given, work)
    assert "team-Token" not in str(caught.value)
    module, given, work = provider(**without, namespace="team1")
    assert len(module.observe(given, work)) == 1
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    module, given, work = provider(**without, token_variable="MY_TOKEN")
    assert len(module.observe(given, work)) == 1
    path = tmp_path / "token"
    module, given, work = provider(**without, token_file=str(path))
    with pytest.raises(RunbookError, match="No such file"):
        module.observe(given, work)
    path.write_text(f"{TOKEN}\n")
    assert len(module.observe(given, work)) == 1
    path.write_text("\n")
    with pytest.raises(RunbookError, match="holds no token"):
        module.observe(given, work)


def test_answers_that_are_no_help(kv, client, provider):
    module, given, work = provider(**options(kv))
    for spoilt, told in (({"mount": "kv1"}, "answered"), ({"token": "wrong-Token-999"}, "answered 403")):
        if "mount" in spoilt:
            # Vault says 404 for a mount that is not there: nothing is there, and nothing can be written.
            with pytest.raises(RunbookError, match=told):
                module.create({**given, **spoilt}, work)
            continue
        for call in (module.observe, module.create):
            with pytest.raises(RunbookError, match=told):
                call({**given, **spoilt}, work)
    kv.sealed = True
    with pytest.raises(RunbookError, match=r"answered 503\. Unseal it"):
        module.observe(given, work)
    with pytest.raises(RunbookError, match="is no version"):
        module.revoke(given, "app_a", work)


@pytest.fixture
def kept(fleet, kv, client):
    """The fleet's key is kept in Vault; the service accepts what stands in any version. Its programs are not told: they call another service."""
    program = fleet.folder / "service.py"
    program.write_text(
        "import os, sys, urllib.request, json\n"
        f"def get(what):\n    request = urllib.request.Request('{kv.url}/v1/secret/' + what, headers={{'X-Vault-Token': '{TOKEN}'}})\n"
        "    return json.load(urllib.request.urlopen(request))['data']\n"
        "for number, each in get('metadata/team/my%20app')['versions'].items():\n"
        "    if not each['destroyed'] and get('data/team/my%20app?version=' + number)['data']['value'] == os.environ['SRE_RUNBOOKS_KEY']:\n"
        "        sys.exit(0)\n"
        "sys.exit(1)\n"
    )
    fleet.key["provider"] = {**options(kv), "host": "db1"}
    fleet.key["verify"] = {"type": "command", "argv": [sys.executable, str(program)], "within": "0s"}
    for host in fleet.HOSTS:
        (fleet.home(host) / "reload").write_text("#!/bin/sh\n")
        path = fleet.home(host) / ".env"
        path.write_text(f"API_KEY={OLD}\n")
    return fleet


def test_a_rotation_and_one_that_is_killed(kept, kv):
    """Killed between writing a version and the journal: the version is found by its label."""

    def killed():
        real = vault.create

        def create(*arguments):
            real(*arguments)
            os.kill(os.getpid(), 9)

        vault.create = create
        Rotation(kept, force=[kept.name]).go()

    assert os.WIFSIGNALED(os.waitpid(forked(killed), 0)[1])
    assert len(kv.alive(PATH)) == 2
    assert statuses(Rotation(kept, force=[kept.name]).go()) == ALL_OK
    (new,) = kept.held()
    # The given-up one is destroyed, the old one was written again, and both it and the new one work.
    assert kv.alive(PATH) == [OLD, OLD, new]
    assert statuses(Rotation(kept, compromised=[kept.name]).go()) == ALL_OK
    (newest,) = kept.held()
    assert kv.alive(PATH) == [newest]
    assert kept.journal()["current"]["fingerprint"] == fingerprint(kept.name, newest)
    assert not kept.journal()["pending"]


def test_killed_at_steps_the_newest_version_always_works(kept, kv):
    for steps in (6, 8, 10, 12, 14, 16, 18, 22, 27, 33, 40, 48):

        def rotate(steps=steps):
            deadly(steps)
            Rotation(kept, compromised=[kept.name]).go()

        os.waitpid(forked(rotate), 0)
        assert all(key in kv.alive(PATH) for key in kept.held())
    # After more versions than Vault keeps. A consumer that has to take its old key back says so.
    assert statuses(Rotation(kept, compromised=[kept.name]).go())["db1"] == "ok"
    (newest,) = kept.held()
    assert kv.alive(PATH) == [newest]


def test_community_hashi_vault_reads_what_was_written_and_the_server_of_these_tests_is_as_it_expects(
    kv, client, provider, tmp_path
):
    """An independent witness on the controller: the lookups and modules of community.hashi_vault, which use hvac."""
    module, given, work = provider(**options(kv))
    new = module.create(given, work._replace(current="1"))
    module.revoke(given, "1", work._replace(current="2"))
    common = {"url": kv.url, "token": TOKEN, "auth_method": "token", "token_validate": True}
    name = "community.hashi_vault"
    lookup = "lookup('community.hashi_vault.vault_kv2_get', path, url=url, token=token{}).secret.value"
    play = {
        "hosts": "localhost", "gather_facts": False, "vars": {"url": kv.url, "token": TOKEN, "path": PATH},
        "module_defaults": {f"group/{name}.vault": common},
        "tasks": [
            {"ansible.builtin.assert": {"that": f"{lookup.format('')} == value"}},
            {"ansible.builtin.assert": {"that": f"{lookup.format(', version=2')} == value"}},
            {f"{name}.vault_kv2_get": {"path": PATH, "version": 1}, "register": "gone", "ignore_errors": True},
            {"ansible.builtin.assert": {"that": "gone is failed and 'Invalid or missing path' in gone.msg"}},
            {f"{name}.vault_kv2_write": {"path": PATH, "cas": 1, "data": {"value": "x"}}, "register": "raced", "ignore_errors": True},
            {"ansible.builtin.assert": {"that": "raced is failed and 'InvalidRequest' in raced.msg"}},
            {f"{name}.vault_kv2_write": {"path": PATH, "cas": 2, "data": {"value": "x"}}, "register": "written"},
            {"ansible.builtin.assert": {"that": "written.raw.data.version == 3"}},
            {f"{name}.vault_kv2_delete": {"path": PATH, "versions": [3]}},
            {f"{name}.vault_kv2_get": {"path": PATH}, "register": "deleted", "ignore_errors": True},
            {"ansible.builtin.assert": {"that": "deleted is failed"}},
            {f"{name}.vault_kv2_get": {"path": PATH, "token": "wrong", "token_validate": False}, "register": "bad", "ignore_errors": True},
            {"ansible.builtin.assert": {"that": "bad is failed and 'Forbidden' in bad.msg"}},
        ],
    }  # fmt: skip
    (tmp_path / "play.json").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(tmp_path / "play.json"),
            "-e", json.dumps({"value": new.value, "ansible_python_interpreter": sys.executable}),
        ],
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_REMOTE_TEMP": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"path": "/"}, "path"),
        ({"path": "a/../b"}, "path"),
        ({"path": "a?version=1"}, "path"),
        ({"mount": ""}, "mount"),
        ({"token_file": "/x"}, "token_file"),
        ({"label_field": "value"}, "field"),
        ({"bytes": 8}, "bytes"),
        ({"prefix": "a b"}, "prefix"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_options_that_cannot_be_used(provider, given, option):
    with pytest.raises(InputError) as caught:
        provider(**{"type": "vault", "url": "http://127.0.0.1:1", "path": "a", "token": TOKEN, **given})
    assert caught.value.option == f"keys.reporting.provider.{option}"
