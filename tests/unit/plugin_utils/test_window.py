# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate sre.runbooks.window before what disrupts (C5): when a stage may begin, and what the record is told."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.sre.runbooks.plugins.action.window import ActionModule
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.modules import window as documentation
from ansible_collections.sre.runbooks.plugins.plugin_utils import collect, window
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import call_host

SUNDAY = {"at": "Sunday 02:00-04:00", "zone": "Europe/Madrid"}
PLAYBOOKS = Path(window.__file__).parents[2] / "playbooks"


def at(text, zone="Europe/Madrid"):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def ask(moment, *entries, stage="patching", playbook="weekly", **more):
    return window.ask(stage, window.read(list(entries), playbook, **more), moment)


def test_without_windows_nothing_that_disrupts_is_begun():
    nothing = {"begin": True, "window": [], "outcomes": []}
    for found in (ask(0.0), ask(at("2026-11-18T12:00"), {**SUNDAY, "for": ["monthly"]})):
        assert found["begin"] is False
        assert found["outcomes"][0]["status"] == "skipped"
        assert "Define runbooks_windows, or run with -e runbooks_now=true" in found["outcomes"][0]["summary"]
    assert ask(0.0, now=True) == nothing
    assert ask(0.0, stage="backup") == nothing
    assert ask(at("2026-11-18T12:00"), SUNDAY, stage="backup") == nothing


@pytest.mark.parametrize(
    ("moment", "begin"),
    [
        ("2026-11-22T01:59:59", False),
        ("2026-11-22T02:00:00", True),
        ("2026-11-22T03:30:00", True),
        ("2026-11-22T03:30:01", False),
        ("2026-11-22T04:00:00", False),
    ],
)
def test_a_stage_begins_in_its_window_with_time_enough_left(moment, begin):
    assert ask(at(moment), SUNDAY)["begin"] is begin


def test_the_time_that_a_stage_needs_is_a_matter_of_the_inventory():
    assert not ask(at("2026-11-22T03:30"), SUNDAY, needs={"patching": "31m"})["begin"]
    assert ask(at("2026-11-22T03:59:59"), SUNDAY, needs={"patching": "1s"})["begin"]
    assert not ask(at("2026-11-22T03:30"), SUNDAY, stage="backup", gated=["backup"], needs={"backup": "1h"})["begin"]


def test_what_is_told_names_the_window_the_need_and_the_next_one():
    (told,) = ask(at("2026-11-18T12:00"), {**SUNDAY, "name": "night"}, {"at": "daily 23:00-23:30", "zone": "UTC"})[
        "outcomes"
    ]
    assert (told["subject"], told["stage"], told["status"]) == ("patching", "patching", "skipped")
    assert told["summary"] == (
        "not begun: no maintenance window is open (night: Sunday 02:00-04:00 Europe/Madrid, daily 23:00-23:30 UTC); "
        "the next one opens Wed 2026-11-18 23:00 UTC"
    )
    assert told["details"] == {"needs_seconds": 1800.0, "left_seconds": None, "next": "2026-11-18T23:00:00Z"}
    (told,) = ask(at("2026-11-22T03:40"), SUNDAY)["outcomes"]
    assert told["summary"] == (
        "not begun: patching needs 30.0 min, and the maintenance window Sunday 02:00-04:00 Europe/Madrid ends in 20.0 min; "
        "the next one opens Sun 2026-11-29 02:00 Europe/Madrid"
    )
    later = {"at": "daily 23:00-23:30", "zone": "UTC"}
    assert (
        "window Sunday 02:00-04:00 Europe/Madrid ends in"
        in ask(at("2026-11-22T03:40"), SUNDAY, later)["outcomes"][0]["summary"]
    )
    once = {"begin": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}
    assert ask(at("2026-11-22T03:40"), once)["outcomes"][0]["summary"].endswith("; no other one opens")
    old = {"days": ["sat", "sun"], "start": "02:00", "end": "04:00", "zone": "UTC"}
    assert "(sat, sun 02:00-04:00 UTC)" in ask(at("2026-11-18T12:00"), old)["outcomes"][0]["summary"]


def test_of_windows_that_meet_the_last_end_counts():
    later = {"at": "Sunday 04:00-06:00", "zone": "Europe/Madrid"}
    assert ask(at("2026-11-22T03:50"), SUNDAY, later)["begin"]


def test_an_hour_that_the_clocks_skip_is_no_time():
    """In Madrid the clocks go from 02:00 to 03:00 on 2027-03-28."""
    assert ask(at("2027-03-28T01:30:00", "UTC"), SUNDAY)["begin"]
    assert not ask(at("2027-03-28T01:30:01", "UTC"), SUNDAY)["begin"]


def test_the_override_begins_and_is_told_only_where_a_window_was_not_kept():
    answer = ask(at("2026-11-18T12:00"), SUNDAY, now=True)
    assert answer["begin"]
    (told,) = answer["outcomes"]
    assert (told["subject"], told["stage"], told["status"]) == ("window", "patching", "ok")
    assert told["summary"].startswith("begun all the same, by runbooks_now: no maintenance window is open")
    assert ask(at("2026-11-22T02:30"), SUNDAY, now=True)["outcomes"] == []


def test_what_is_left_of_the_window_is_given_to_roles_that_ask_again():
    (left,) = ask(at("2026-11-22T02:30"), SUNDAY)["window"]
    assert left == {"begin": "2026-11-22T00:30:00Z", "end": "2026-11-22T03:00:00Z"}
    assert ask(at("2026-11-18T12:00"), SUNDAY, now=True)["window"] == []


def test_a_host_without_any_of_the_inputs_has_nothing_to_do():
    inputs = ["runbooks_keys_", "key_rotation_keys"]
    found = window.idle("key_rotation", inputs, ["runbooks_keysmith", "x"])
    assert found is not None
    (told,) = found["outcomes"]
    assert (
        told["summary"] == "nothing to do here: the inventory has no runbooks_keys_* or key_rotation_keys for this host"
    )
    assert window.idle("key_rotation", inputs, ["runbooks_keys_a"]) is None
    assert window.idle("key_rotation", inputs, ["key_rotation_keys"]) is None
    assert window.idle("key_rotation", inputs, ["key_rotation_keys_of_old"]) is not None
    assert window.idle("patching", [], []) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"runbooks_windows": [{"at": "someday", "zone": "UTC"}]}, "runbooks_windows[0]"),
        ({"runbooks_windows_a": [{"at": "daily 02:00-04:00"}]}, "runbooks_windows[0].zone"),
        ({"runbooks_windows_a": {"at": "daily"}}, "runbooks_windows_a"),
        ({"runbooks_stage_needs": [1]}, "runbooks_stage_needs"),
        ({"runbooks_stage_needs": {"patchings": "1h"}}, "runbooks_stage_needs: 'patchings' is no stage that can keep a window. Use"),
        ({"runbooks_stage_needs": {"patching": "an hour"}}, "runbooks_stage_needs.patching"),
        ({"runbooks_gated_stages": "patching"}, "runbooks_gated_stages"),
        ({"runbooks_gated_stages": ["health"]}, "runbooks_gated_stages: 'health' is no stage that can keep a window. Use"),
        ({"runbooks_now": "perhaps"}, "runbooks_now: 'perhaps' is neither true nor false. Write -e runbooks_now=true."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_variable_and_the_remedy(variables, said):
    with pytest.raises(InputError, match=re.escape(said)):
        window.of_inventory(Templar(DataLoader(), variables), variables, "weekly")


def test_all_windows_of_the_inventory_are_joined():
    entries = [{"begin": f"2026-1{each}-01T00:00:00Z", "end": f"2026-1{each}-02T00:00:00Z"} for each in range(3)]
    variables = {
        "runbooks_windows_b": [entries[2]], "runbooks_windows_a": [entries[1]], "runbooks_windows": [entries[0]],
        "runbooks_windowsill": "no window", "runbooks_now": "yes",
    }  # fmt: skip
    found = window.of_inventory(Templar(DataLoader(), variables), variables, "weekly")
    assert found.entries == entries
    assert found.now
    assert found.gated == window.GATED


# --- The record ------------------------------------------------------------------------------------------------------


class Hostvars(dict):
    """What is needed of ansible-core's."""

    def raw_get(self, host):
        return self[host]


def recorded(**variables):
    stages = ["health", "patching"]
    found = collect.registered_by(Hostvars(web={"health_result": {"outcomes": []}, **variables}), "web", stages)
    outcomes = call_host("web", "", stages, found).outcomes
    assert not any("task was left out" in each["summary"] for each in outcomes)
    return [(each["stage"], each["subject"], each["status"]) for each in outcomes]


def test_a_stage_that_was_held_back_is_one_skipped_outcome_whatever_its_tasks_registered():
    gate = ask(at("2026-11-18T12:00"), SUNDAY)
    held = [("patching", "patching", "skipped")]
    assert recorded(patching_window_result=gate) == held
    assert recorded(patching_window_result=gate, patching_result={"skipped": True, "msg": "task was left out"}) == held
    assert recorded() == [("roll_call", "patching", "critical")]


def test_an_override_stands_before_what_the_stage_found():
    gate = ask(at("2026-11-18T12:00"), SUNDAY, now=True)
    said = {"subject": "patching", "stage": "patching", "status": "ok", "summary": "done"}
    window_row, own = ("patching", "window", "ok"), ("patching", "patching", "ok")
    assert recorded(patching_window_result=gate, patching_result={"outcomes": [said]}) == [window_row, own]
    assert recorded(patching_window_result=gate, patching_result={"skipped": True})[0][2] == "skipped"
    failed = recorded(patching_window_result=gate, patching_result={"failed": True, "msg": "odd"})
    assert failed == [("roll_call", "patching", "critical"), window_row]
    # A stage that began and has no result is missed, and so is one whose gate was left out.
    assert recorded(patching_window_result=gate) == recorded(patching_window_result={"skipped": True}) == recorded()


# --- The playbooks ---------------------------------------------------------------------------------------------------


def tasks(playbook):
    for play in yaml.safe_load((PLAYBOOKS / f"{playbook}.yml").read_text(encoding="utf-8")):
        for task in play["tasks"]:
            yield play, task


@pytest.mark.parametrize("playbook", ["weekly", "monthly", "quarterly"])
def test_every_stage_that_can_keep_a_window_is_asked_right_before_it(playbook):
    last, gates, stages, expected = None, set(), set(), None
    for play, task in tasks(playbook):
        role = (task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role") or {}).get(
            "name", ""
        )
        name = role.removeprefix("sre.runbooks.")
        if "sre.runbooks.window" in task:
            given = {**play.get("module_defaults", {}).get("sre.runbooks.window", {}), **task["sre.runbooks.window"]}
            last = given["stage"]
            gates.add(last)
            assert given["playbook"] == playbook
            assert task["register"] == f"{last}_window_result"
            assert task["tags"] == [last]
            # What keeps no window unless it is told to costs nothing but a look.
            assert (last in window.GATED) == ("reachable" in task["when"])
        elif name == "report":
            expected = str(task["vars"]["report_stages"])
        elif name:
            stages.add(name)
            assert task["tags"] == [name]
            assert name not in window.NEEDS or last == name
            assert name not in window.NEEDS or f"{name}_window_result.begin" in task["when"]
    assert gates == stages & set(window.NEEDS)
    assert expected is not None
    assert all(stage in expected for stage in stages)


def test_documented_options_are_the_arguments():
    documented = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert {
        option: {key: value for key, value in about.items() if key != "description"}
        for option, about in documented.items()
    } == ActionModule.ARGUMENTS
    assert not ActionModule._requires_connection
    told = " ".join(documented["needs"]["description"])
    assert all(f"C({stage})" in told for stage in window.NEEDS)
    assert all(f"V({stage})" in " ".join(documented["gated"]["description"]) for stage in window.NEEDS)
