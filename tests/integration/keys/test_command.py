# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider command (K3): keys by programs, which here speak to the admin API of the reference application."""

from __future__ import annotations

import json
import sys
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

from .rotation import Rotation, statuses
from .test_faults_keys import ALL_OK, refused_none
from .test_playbook_rotate_keys import Listings

# What a user of the provider writes: one program with three actions.
PROGRAM = """
import json, os, sys, urllib.request
asked = json.load(sys.stdin)
assert asked["action"] == sys.argv[1] == os.environ["SRE_RUNBOOKS_KEY_ACTION"]
def call(method, path, body=None):
    headers = {"Authorization": "Bearer " + os.environ["ADMIN_TOKEN"], "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["ADMIN_URL"] + path, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or "null")
if asked["action"] == "create":
    assert asked["label"] == sys.argv[2] == os.environ["SRE_RUNBOOKS_KEY_LABEL"]
    made = call("POST", "/auth/api-keys", {"name": asked["label"], "role": "ANALYST", "expires_in_days": 90})
    print(json.dumps({"id": made["id"], "value": made["key"], "expires": made["expires_at"]}))
elif asked["action"] == "list":
    print(json.dumps([{"id": each["id"], "label": each["name"], "created": each["created_at"], "expires": each["expires_at"],
                       "revoked": each["revoked_at"]} for each in call("GET", "/auth/api-keys")]))
else:
    assert asked["id"] == sys.argv[2]
    try:
        call("DELETE", "/auth/api-keys/" + asked["id"])
    except urllib.error.HTTPError as error:
        sys.exit(3 if error.code == 404 else 1)
"""


@pytest.fixture
def given(tmp_path, application):
    """Options that use the program."""
    path = tmp_path / "admin.py"
    path.write_text(PROGRAM)
    return {
        "type": "command",
        "create": [sys.executable, str(path), "create", "{label}"],
        "revoke": [sys.executable, str(path), "revoke", "{id}"],
        "list": [sys.executable, str(path), "list", "{none}"],
        "gone": [3],
        "environment": {"ADMIN_URL": application.url, "ADMIN_TOKEN": application.token},
    }


def whoami(application, value):
    return application.call("GET", "/api/v1/whoami", token=value).status


def test_k3_a_key_is_made_listed_and_revoked_by_programs(application, provider, given):
    module, options, work = provider(**given)
    with Listings() as listings:
        new = module.create(options, work)
    assert whoami(application, new.value) == 200
    assert abs(new.expires - time.time() - 90 * 86400) < 60
    (known,) = [each for each in module.observe(options, work) if each.id == new.id]
    assert (known.label, known.revoked) == (work.label, False)
    module.revoke(options, new.id, work)
    assert whoami(application, new.value) == 401
    module.revoke(options, new.id, work)
    module.revoke(options, "999999", work)
    assert not [line for line in listings.seen if new.value.encode() in line or application.token.encode() in line]


def test_a_rotation_by_programs(fleet, given):
    fleet.key["provider"] = {**given, "host": "db1"}
    assert statuses(Rotation(fleet, compromised=[fleet.name]).go()) == ALL_OK
    fleet.settled()
    assert not fleet.accepted(fleet.old["key"])
    refused_none(fleet)


def test_a_value_of_ones_own_goes_by_the_input(tmp_path, provider):
    got = tmp_path / "got.json"
    script = f'cat > {got}; echo "{{\\"id\\": \\"$1\\"}}"'
    module, options, work = provider(
        type="command", generate=True, create=["sh", "-c", script, "make", "{label}"], revoke=["true"]
    )
    with Listings() as listings:
        new = module.create(options, work)
    assert json.loads(got.read_text()) == {
        "action": "create", "name": "reporting", "label": work.label, "value": new.value,
    }  # fmt: skip
    assert new.id == work.label
    assert len(new.value) >= 43
    assert not [line for line in listings.seen if new.value.encode() in line]


SECRET = "a-Key-that-nobody-may-see"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (f'echo \'{{"id": 7, "secret": "{SECRET}"}}\'', "answered without a value"),
        (f'echo \'{{"value": "{SECRET}"}}\'', "answered without an id"),
        (f"echo {SECRET}", "answered without a JSON object"),
        (f"echo '[\"{SECRET}\"]'", "answered without a JSON object"),
        (f'echo \'{{"id": 7, "value": "{SECRET}"}}\'; echo {SECRET} >&2; exit 5', "ended with status 5"),
        (f'echo \'{{"id": 7, "value": " {SECRET}"}}\'', "answered without a value"),
        (f"echo {SECRET}; sleep 30", "did not end within 1 s"),
    ],
)
def test_an_answer_without_a_key_changes_nothing_and_shows_nothing(tmp_path, provider, script, told):
    revoked = tmp_path / "revoked"
    module, options, work = provider(
        type="command",
        create=["sh", "-c", script],
        revoke=["sh", "-c", f"echo $1 >> {revoked}", "revoke", "{id}"],
        timeout="1s",
    )
    with pytest.raises(RunbookError, match=told) as caught:
        module.create(options, work)
    assert SECRET not in str(caught.value)
    # What can be told by its id is revoked.
    assert revoked.exists() == ('"id"' in script)


def test_an_answer_without_a_key_rolls_nothing_out(fleet, given):
    fleet.key["provider"] = {**given, "host": "db1", "create": ["echo", "{}"]}
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "critical"
    assert "answered without" in said["db1"][0]["summary"]
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    refused_none(fleet)


def test_programs_that_fail_or_lie(application, provider, given):
    module, options, work = provider(**{**given, "revoke": ["true"]})
    new = module.create(options, work)
    with pytest.raises(RunbookError, match="lists it as active"):
        module.revoke(options, new.id, work)
    for spoilt, told in (
        ({"revoke": ["sh", "-c", "echo no such luck >&2; exit 1"]}, "no such luck"),
        ({"revoke": ["/nonexistent/program"]}, "program is not installed"),
    ):
        with pytest.raises(RunbookError, match=told):
            module.revoke({**options, **spoilt}, new.id, work)
    for listing in (["false"], ["echo", "{}"], ["echo", "no JSON"]):
        with pytest.raises(RunbookError, match=r"provider\.list"):
            module.observe({**options, "list": listing}, work)
    assert module.observe({**options, "list": ["echo", '[{"label": "x"}, 7, {"id": true}]']}, work) == []
    module.revoke({**options, "revoke": given["revoke"]}, new.id, work)
    assert whoami(application, new.value) == 401


@pytest.mark.parametrize(
    ("spoilt", "option"),
    [
        ({"create": []}, "create"),
        ({"revoke": [""]}, "revoke"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": "0s"}, "timeout"),
        ({"bytes": 4}, "bytes"),
        ({"environment": {"A B": "x"}}, "environment"),
    ],
)
def test_options_that_cannot_be_used(provider, given, spoilt, option):
    with pytest.raises(InputError) as caught:
        provider(**{**given, **spoilt})
    assert caught.value.option == f"keys.reporting.provider.{option}"
