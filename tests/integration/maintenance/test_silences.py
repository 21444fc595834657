# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts silenced for exactly the time of a lease, by a real Alertmanager (I9)."""

from __future__ import annotations

import calendar
import secrets
import socket
import time

import pytest

from .conftest import Alertmanager, until


@pytest.fixture
def silence(alerts):
    """Options for a host that no other test names, and what there is for it."""
    name = f"h{secrets.token_hex(4)}"
    options = {"url": alerts.url, "matchers": [{"name": "host", "value": name}]}

    def found():
        return [each for each in alerts.silences() if each["matchers"][0]["value"] == name]

    return name, options, found


def seconds(silence):
    """How long it lasts from now."""
    return calendar.timegm(time.strptime(silence["endsAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.time()


def outcomes(result):
    return {each["subject"]: (each["status"], each["summary"]) for each in result["outcomes"]}


def test_i9_alerts_are_silent_for_the_time_of_the_lease(run, host, alerts, silence):
    name, options, found = silence
    assert not alerts.alert(host=name)
    result = run("on", lease="1h", switch=host.switch(), alertmanager=options, reason="new disks")
    (made,) = found()
    assert made["createdBy"] == f"sre.runbooks/{socket.gethostname()}/maintenance"
    assert made["comment"] == "new disks (ops)"
    assert abs(seconds(made) - result["left_seconds"]) < 3
    assert alerts.alert(host=name)
    assert not alerts.alert(host=f"{name}-other")
    again = run("on", lease="1h", switch=host.switch(), alertmanager=options)
    assert not again["changed"]
    assert found() == [made]
    longer = run("on", lease="2h", switch=host.switch(), alertmanager=options)
    assert longer["changed"]
    (extended,) = found()
    assert extended["id"] == made["id"]
    assert abs(seconds(extended) - 7200) < 5
    assert run("off", switch=host.switch(), alertmanager=options)["changed"]
    assert found() == []
    assert not alerts.alert(host=name)
    assert not run("off", switch=host.switch(), alertmanager=options)["changed"]


def test_a_silence_ends_with_a_lease_that_nobody_ended(run, host, silence):
    _name, options, found = silence
    run("on", lease="5s", switch=host.switch(), alertmanager=options)
    assert len(found()) == 1
    until(lambda: not host.flag.exists())
    until(lambda: not found(), 3)


def test_silences_alone_and_those_of_others(run, host, alerts, silence):
    _name, options, found = silence
    assert run("on", lease="1h", alertmanager=options, _ansible_check_mode=True)["changed"]
    assert found() == []
    run("on", lease="1h", alertmanager=options, name="one")
    run("on", lease="1h", alertmanager=options, name="two")
    assert len(found()) == 2
    assert host.keepers() == [], "Alertmanager ends them by itself"
    run("off", alertmanager=options, name="one")
    (left,) = found()
    assert left["createdBy"].endswith("/two")
    run("off", alertmanager=options, name="two")
    assert found() == []


def test_what_alertmanager_refuses_is_a_warning(run, host, alerts):
    wrong = {"url": alerts.url, "matchers": [{"name": "host", "value": "(", "regex": True}]}
    result = run("on", switch=host.switch(), alertmanager=wrong)
    status, text = outcomes(result)["silence:maintenance"]
    assert (status, result["active"]) == ("warning", True)
    assert "status 400" in text


def test_alertmanager_down_stops_nobody_and_is_caught_up_with(run, host, tmp_path):
    manager = Alertmanager(tmp_path)
    options = {"url": manager.url, "matchers": [{"name": "host", "value": "here"}]}
    result = run("on", lease="1h", switch=host.switch(), alertmanager=options)
    assert (result["status"], result["active"], host.flag.exists()) == ("warning", True, True)
    assert "alerts are not silenced" in outcomes(result)["silence:maintenance"][1]
    with manager.running():
        assert run("on", lease="1h", switch=host.switch(), alertmanager=options)["changed"]
        (silence,) = manager.silences()
        assert seconds(silence) <= 3600
    result = run("off", alertmanager=options)
    assert (result["status"], host.flag.exists()) == ("warning", False)
