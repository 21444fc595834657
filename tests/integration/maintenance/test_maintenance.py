# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.maintenance: maintenance mode as a lease that ends by itself (I9)."""

from __future__ import annotations

import json
import os
import stat
import time

import pytest

from .conftest import http, is_on, until


def only(result):
    (outcome,) = result["outcomes"]
    return outcome["status"], outcome["summary"]


def test_i9_the_application_goes_into_maintenance_and_out_of_it(run, host, application):
    result = run("on", lease="1h", switch=http(application), reason="release 2")
    assert (result["status"], result["changed"], result["active"], result["ours"]) == ("ok", True, True, True)
    assert 3590 < result["left_seconds"] <= 3600
    assert is_on(application)
    assert application.call("GET", "/api/v1/whoami").status == 503
    again = run("on", lease="1h", switch=http(application))
    assert (again["changed"], again["until"]) == (False, result["until"])
    status = run("status", switch=http(application))
    assert (status["owner"], status["changed"]) == ("ops", False)
    assert only(status)[1].startswith("on until")
    result = run("off", switch=http(application))
    assert (result["changed"], result["active"]) == (True, False)
    assert not is_on(application)
    assert host.lease() is None
    again = run("off", switch=http(application))
    assert (again["changed"], only(again)) == (False, ("ok", "off"))
    assert host.events() == ["begun", "off"]
    until(lambda: not host.keepers())


def test_i9_the_lease_ends_by_itself_and_what_comes_later_is_told(run, host, application):
    run("on", lease="3s", switch=http(application))
    (keeper,) = host.keepers()
    assert is_on(application)
    # A process of its own: no session, terminal or file of the run that began it.
    assert os.getsid(keeper) != os.getsid(0)
    assert {os.readlink(f"/proc/{keeper}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
    until(lambda: not is_on(application), 5)
    until(lambda: not host.keepers())
    assert host.events() == ["begun", "expired"]
    result = run("off", switch=http(application))
    status, text = only(result)
    assert status == "warning"
    assert text.endswith("when its lease was over")
    assert only(run("off", switch=http(application))) == ("ok", "off")


def test_a_renewal_is_followed_and_a_lease_is_never_shortened(run, host):
    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    run("on", lease="3s", switch=host.switch())
    before = now()
    result = run("on", lease="6s", switch=host.switch())
    ends = host.lease()["ends_boot"]
    assert result["changed"]
    assert before + 6 <= ends <= now() + 6
    assert ends - now() - 0.1 <= result["left_seconds"] <= 6
    assert len(host.keepers()) == 1
    shorter = run("on", lease="1s", switch=host.switch())
    assert not shorter["changed"]
    assert ends - now() - 0.1 <= shorter["left_seconds"] <= 6
    assert host.lease()["ends_boot"] == ends
    until(lambda: not host.flag.exists())
    assert now() >= ends


def test_two_owners(run, host):
    run("on", switch=host.switch(), reason="new disks")
    result = run("on", switch=host.switch(), owner="else")
    assert result["failed"]
    assert result["msg"].startswith("maintenance mode (maintenance) is held by ops (new disks) until 2")
    assert run("off", owner="else")["failed"]
    # Another name for the same switch would end it under the first.
    result = run("on", switch=host.switch(), name="other", owner="else")
    assert f"is another one, of ops, for file {host.flag}" in result["msg"]
    assert host.flag.exists()
    result = run("on", switch=host.switch(), owner="else", force=True)
    assert result["owner"] == "else"
    assert run("off", owner="else")["changed"]
    assert not host.flag.exists()


@pytest.mark.parametrize("end", ["off", "lease"])
def test_what_was_in_maintenance_before_stays(run, host, end):
    host.flag.write_text("by hand")
    result = run("on", lease="1s" if end == "lease" else "1h", switch=host.switch())
    assert (result["status"], result["ours"]) == ("warning", False)
    if end == "off":
        assert "stays" in only(run("off"))[1]
    until(lambda: host.lease() is None)
    assert host.flag.read_text() == "by hand"
    assert only(run("off", switch=host.switch(), owner="else")) == (
        "warning",
        "on, but not by a lease of ours: it stays",
    )


def test_check_mode_says_it_and_does_nothing(run, host):
    result = run("on", switch=host.switch(), _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"]
    assert only(result)[1].startswith("would be on until")
    assert not host.flag.exists()
    assert not host.state_dir.exists()
    run("on", switch=host.switch())
    result = run("off", _ansible_check_mode=True)
    assert (result["changed"], only(result)[1]) == (True, "would be switched off")
    assert host.flag.exists()


def test_somebody_switched_it_off_in_between(run, host):
    run("on", switch=host.switch())
    host.flag.unlink()
    assert only(run("status"))[0] == "warning"
    assert run("on", switch=host.switch())["changed"]
    assert host.flag.exists()
    host.flag.unlink()
    assert only(run("off"))[1] == "off: was off"


def test_programs_switch_too(run, host):
    flag = str(host.flag)
    switch = {
        "kind": "command", "on_argv": ["/usr/bin/touch", flag], "off_argv": ["/usr/bin/rm", flag], "look_argv": ["/usr/bin/test", "-e", flag],
    }  # fmt: skip
    run("on", lease="1s", switch=switch)
    assert host.flag.exists()
    until(lambda: not host.flag.exists())
    result = run("on", switch={**switch, "on_argv": ["/usr/bin/false"]})
    assert "/usr/bin/false ended with status 1" in result["msg"]
    assert host.lease() is None
    # Where nobody can ask, it is ours.
    blind = {key: value for key, value in switch.items() if key != "look_argv"}
    assert run("on", switch=blind)["ours"]
    assert run("off")["changed"]
    assert not host.flag.exists()


def test_secrets_are_kept_for_the_end_alone(run, host, application):
    results = [run("on", switch=http(application)), run("status")]
    path = host.state_dir / "maintenance/maintenance.json"
    assert application.token in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (keeper,) = host.keepers()
    for name in ("cmdline", "environ"):
        with open(f"/proc/{keeper}/{name}", "rb") as stream:
            assert application.token.encode() not in stream.read()
    results.append(run("off", switch=http(application)))
    assert application.token not in json.dumps(results)
    for left in host.state_dir.rglob("*"):
        assert left.is_dir() or application.token.encode() not in left.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"switch": {"kind": "dns"}}, "switch.kind: 'dns' is no kind of switch. Use one of command, file, http."),
        ({"switch": {"kind": "file", "path": "flag"}}, "is no absolute path of a file"),
        ({"switch": {"kind": "file", "path": "/x", "mode": "rw"}}, "switch.mode: 'rw' is no mode"),
        ({"switch": {"kind": "http", "url": "http://a@b/"}}, "holds a user or password"),
        ({"switch": {"kind": "http", "url": "http://b/", "off_url": "b"}}, "switch.off_url: 'b' is no HTTP address"),
        (
            {"switch": {"kind": "command", "on_argv": ["a"], "off_argv": ["/b"]}},
            "switch.on_argv: ['a'] names no program",
        ),
        ({"switch": {"kind": "file", "path": "/x", "colour": 1}}, "switch: colour. Supported parameters include"),
        ({"lease": "0s"}, "lease: '0s' is no length of a lease"),
        ({"lease": "8d"}, "lease: '8d' is no length of a lease"),
        ({"owner": " "}, "owner: ' ' says not who does this"),
        ({"name": "../x"}, "name: '../x' is no name"),
        ({"switch": None}, "switch: None switches nothing"),
        ({"alertmanager": {"url": "http://a", "matchers": [{"name": "a", "value": ""}]}}, "would silence everything"),
    ],
)
def test_bad_input_is_refused_before_anything(run, host, options, message):
    result = run("on", **{"switch": host.switch(), **options})
    assert result["failed"]
    assert message in result["msg"]
    assert not host.state_dir.exists()
