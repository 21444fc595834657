# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.preflight on what is planned: windows, schedules, steps and contacts, as sre.runbooks.preflight_plans counts them."""

from __future__ import annotations

import datetime
import json
import sys

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.filter import preflight_plans
from ansible_collections.sre.runbooks.plugins.modules import preflight

GROUPS = {"all": ["app1", "app2"], "shop": ["app1"], "other": ["app2"]}
# A Monday, ten days before the clocks go back in Madrid.
NOW = datetime.datetime(2026, 10, 15, 12, tzinfo=datetime.UTC).timestamp()
MADRID = {"zone": "Europe/Madrid"}
SUNDAY = {"at": "Sunday 02:00-04:00", **MADRID}
WEEKLY = {"name": "weekly", "at": "Sunday 02:00", **MADRID}
DAILY = {"name": "daily", "at": "daily 09:00", **MADRID}
OPERATIONS = {"name": "operations", "level": "support", "urls": ["json://127.0.0.1/canary-of-a-url"]}


@pytest.fixture
def found(capsys, tmp_path):
    """Prove plans and return {subject: (status, rules, summary)}, without the kinds that found nothing."""

    def go(kinds=("schedules",), host="app1", groups=None, checks=(), scaling=(), **given):
        plans = preflight_plans.planned({"contacts": [OPERATIONS], **given}, host, groups or GROUPS, NOW)
        assert "canary" not in json.dumps(plans)
        options = {
            "state_dir": str(tmp_path / "state"),
            "kinds": list(kinds),
            "plans": plans,
            "checks": list(checks),
            "scaling": list(scaling),
        }
        with patch_module_args(options), pytest.raises(SystemExit):
            preflight.main()
        result = json.loads(capsys.readouterr().out)
        assert "canary" not in json.dumps(result)
        return {
            each["subject"]: (each["status"], each["details"].get("rules"), each["summary"])
            for each in result["outcomes"]
            if not each["subject"].startswith("preflight:")
        }

    return go


def test_c5_c8_plans_that_agree(found):
    """Also when the clocks change: the window and the schedule go by the same clock."""
    assert found(windows=[SUNDAY], schedules=[DAILY, {**WEEKLY}]) == {}


def test_c5_a_schedule_outside_its_window(found):
    ((status, rules, text),) = found(windows=[SUNDAY], schedules=[{**WEEKLY, "at": "Friday 15:00"}]).values()
    assert (status, rules) == ("critical", ["schedule_outside_window"])
    assert "each of its starts is outside the windows for weekly (Fri 2026-10-16 15:00 Europe/Madrid is)" in text
    assert "database_maintenance, patching" in text


def test_c5_a_schedule_that_is_outside_now_and_then(found):
    """Said in another zone, it is outside once the clocks have changed."""
    schedule = {"name": "weekly", "at": "Sunday 02:30", "zone": "UTC"}
    (told,) = found(windows=[{"at": "Sunday 03:00-04:50", **MADRID}], schedules=[schedule]).values()
    assert told[0] == "warning"
    assert "schedule_too_late" in told[1]
    (told,) = found(windows=[{"at": "Sunday 04:00-06:00", **MADRID}], schedules=[schedule]).values()
    assert (told[0], told[1]) == ("warning", ["schedule_outside_window"])
    assert "of its next 14 starts are outside" in told[2]


def test_c5_a_stage_that_needs_more_than_any_window_lasts(found):
    told = found(windows=[SUNDAY], schedules=[WEEKLY], needs={"patching": "3h"})["schedule:weekly"]
    assert (told[0], told[1]) == ("critical", ["stage_over_window"])
    assert "patching needs 3.0 h, the longest window lasts 2.0 h" in told[2]


def test_c5_a_run_that_begins_too_late_in_its_window(found):
    told = found(windows=[SUNDAY], schedules=[{**WEEKLY, "at": "Sunday 03:45"}])["schedule:weekly"]
    assert (told[0], told[1]) == ("warning", ["schedule_too_late"])


def test_c5_stages_that_need_more_together(found):
    needs = {"patching": "70m", "database_maintenance": "70m"}
    told = found(windows=[SUNDAY], schedules=[WEEKLY], needs=needs)["schedule:weekly"]
    assert (told[0], told[1]) == ("warning", ["stages_over_window"])


def test_c5_what_disrupts_without_a_window(found):
    told = found(schedules=[WEEKLY])["windows"]
    assert (told[0], told[1]) == ("warning", ["no_window"])
    assert "weekly: database_maintenance, patching" in told[2]
    # A window for something else is none; without schedules somebody runs it by hand.
    assert "windows" in found(windows=[{**SUNDAY, "for": ["monthly"]}], schedules=[WEEKLY])
    assert "weekly" in found()["windows"][2]
    # What is not scheduled disrupts nobody, and what tags leave out is not done.
    assert found(schedules=[DAILY]) == {}
    assert found(schedules=[{**WEEKLY, "tags": ["health", "backup"]}]) == {}


def test_c8_two_schedules_at_one_moment(found):
    told = found(windows=[SUNDAY], schedules=[{**DAILY, "at": "daily 02:00"}, WEEKLY])["schedule:weekly"]
    assert (told[0], told[1]) == ("warning", ["schedules_collide"])
    assert "the same moment as daily, 14 times in 100 days, first on Sun 2026-10-18 02:00" in told[2]
    # On other hosts they do not meet.
    assert found(windows=[SUNDAY], schedules=[{**DAILY, "at": "daily 02:00", "hosts": "other"}, WEEKLY]) == {}


def test_c8_hosts_and_schedules_that_have_none_of_the_other(found):
    other = {**DAILY, "hosts": "other"}
    assert found(schedules=[other])["schedules"][1] == ["host_unscheduled"]
    assert found(schedules=[other], host="app2") == {}
    nobody = {**DAILY, "name": "nightly", "playbook": "daily", "at": "daily 23:00", "hosts": "ship"}
    assert found(schedules=[DAILY, nobody])["schedule:nightly"][1] == ["schedule_for_nobody"]
    # It is said once.
    assert found(schedules=[DAILY, nobody], host="app2") == {}


def test_c8_playbooks_and_tags_that_do_not_exist(found):
    assert found(schedules=[{**DAILY, "name": "dayly"}])["schedule:dayly"][:2] == ("critical", ["playbook_unknown"])
    told = found(schedules=[{**DAILY, "tags": ["backups"]}])["schedule:daily"]
    assert (told[0], told[1]) == ("critical", ["tags_unknown"])
    # What another collection or the site itself has, is not known here.
    assert (
        found(
            schedules=[
                {**DAILY, "playbook": "acme.things.daily"},
                {**DAILY, "name": "own", "playbook": "own.yml", "at": "daily 10:00"},
            ]
        )
        == {}
    )


def test_what_is_over(found):
    ended = {**DAILY, "at": "daily 09:00"}
    ended = {"name": "daily", "rule": "FREQ=DAILY;BYHOUR=9;BYMINUTE=0;UNTIL=20260101T000000Z", **MADRID}
    assert found(schedules=[ended])["schedule:daily"][1] == ["schedule_never"]
    past = {"begin": "2026-01-01T02:00:00+01:00", "end": "2026-01-01T04:00:00+01:00", "name": "migration"}
    assert [told[1] for subject, told in found(windows=[SUNDAY, past]).items() if subject.startswith("window:")] == [
        ["window_never"]
    ]


def test_what_cannot_be_read_hides_nothing_else(found):
    """A zone that does not exist, none at all, a phrase that says nothing, a name that is there twice, a step without cadence."""
    told = found(
        kinds=["schedules", "steps", "contacts"],
        windows=[
            {**SUNDAY, "zone": "Europe/Madird"},
            {"at": "Sunday 02:00-04:00", "name": "no zone"},
            {"at": "some day", "name": "vague", **MADRID},
        ],
        schedules=[{**WEEKLY, "at": "Friday 15:00"}, DAILY, DAILY, {**DAILY, "name": "list", "hosts": "~("}],
        steps=[{"name": "drift", "argv": ["true"], "cadences": []}, "words"],
        contacts=[{"name": "nobody", "urls": []}],
        needs={"lunch": "1h"},
    )
    broken = {
        subject: text for subject, (status, rules, text) in told.items() if "invalid" in rules and status == "critical"
    }
    assert set(broken) == {
        "window:0", "window:no zone", "window:vague", "schedule:daily", "schedule:list", "step:drift", "step:1", "contacts", "windows",
    }  # fmt: skip
    assert "runbooks_windows[0].zone" in broken["window:0"]
    assert "Europe/Madird" in broken["window:0"]


def steps(*, cadences=("weekly",), **more):
    return {
        "steps": [
            {
                "name": "drift",
                "argv": [sys.executable],
                "cadences": list(cadences),
                "environment": {"TOKEN": "canary"},
                **more,
            }
        ]
    }


def test_c7_a_step_that_no_cadence_runs(found):
    # Without schedules nobody can say.
    assert found(kinds=["steps"], **steps()) == {}
    told = found(kinds=["steps"], schedules=[DAILY], **steps())["step:drift"]
    assert (told[0], told[1]) == ("warning", ["step_never_runs"])
    assert found(kinds=["steps"], schedules=[WEEKLY], **steps()) == {}
    assert found(kinds=["steps"], schedules=[{**WEEKLY, "tags": ["health"]}], **steps())["step:drift"][1] == [
        "step_never_runs"
    ]


def test_c7_a_step_that_cannot_run_here(found, tmp_path):
    told = found(kinds=["steps"], **steps(argv=["no-such-program"]))["step:drift"]
    assert (told[0], told[1]) == ("critical", ["step_program_missing"])
    (tmp_path / "check.sh").write_text("#!/bin/sh\n")
    told = found(kinds=["steps"], **steps(argv=["./check.sh"], chdir=str(tmp_path)))["step:drift"]
    assert "is no program that may be run" in told[2]
    (tmp_path / "check.sh").chmod(0o755)
    assert found(kinds=["steps"], **steps(argv=["./check.sh"], chdir=str(tmp_path))) == {}
    assert "no folder" in found(kinds=["steps"], **steps(chdir=f"{tmp_path}/gone"))["step:drift"][2]
    assert found(kinds=["steps"], **steps(run_as="no-such-user"))["step:drift"][1] == ["step_user_missing"]
    assert found(kinds=["steps"], **steps(timeout="2h"))["step:drift"][1] == ["step_over_all"]


def test_r4_a_kpi_whose_figures_nothing_produces(found):
    def kpi(**source):
        return {"kinds": ["kpis"], "kpis": [{"name": "room", "unit": "percent", "target": "< 80", "from": [source]}]}

    disk = {"checks": [{"name": "disk", "type": "disk", "paths": ["/"], "critical": "> 99"}]}
    fed = {"stage": "health", "subject": "disk:/", "metric": "used_percent"}
    assert found(**kpi(**fed), **disk) == {}
    for change in ({"subject": "disk:/srv"}, {"metric": "used_percents"}, {"stage": "helth"}):
        told = found(**kpi(**{**fed, **change}), **disk)["kpi:room"]
        assert (told[0], told[1]) == ("warning", ["kpi_without_source"]), change
        assert "({} {} {})".format(*tuple({**fed, **change}.values())) in told[2]
    # A host that has no such checks leaves it to the system's others, unless there are none.
    assert found(**kpi(**fed)) == {}
    assert "kpi:room" in found(**kpi(**fed), groups={"all": ["app1"]})
    # One that cannot be made now would produce it; backups and incidents do when they are there; another system's is none of this host's.
    down = {"checks": [{"name": "api", "type": "http", "url": "http://127.0.0.1:1/"}]}
    assert found(**kpi(stage="health", subject="http:api", metric="response_seconds"), **down) == {}
    assert found(**kpi(stage="backup_verify", status="ok"), groups={"all": ["app1"]}) == {}
    assert found(**kpi(incidents="detect_seconds"), groups={"all": ["app1"]}) == {}
    assert (
        found(
            kinds=["kpis"],
            kpis=[{"name": "room", "systems": ["ABS"], "from": fed}],
            system="SHOP",
            groups={"all": ["app1"]},
        )
        == {}
    )


WORKERS = {
    "name": "workers", "kind": "systemd", "template": "no-such-worker@.service", "maximum": 4, "measures": [{"name": "cpu", "type": "cpu"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"up": {"cpu_percent": "> 80 for 5m"}, "down": {"cpu_percent": "< 90 for 15m"}}, "scaling_overlap"),
        ({"up": {"cpu_percent": "> 80 for 5m"}, "down": {"cpu_percent": "< 80 for 15m"}}, "scaling_overlap"),
        ({"up": {"cpu_percent": "> 80 for 5m"}, "down": {"cpu_percent": "30"}}, "scaling_refused"),
        ({"up": {"cpu_percent": "> 80 for 5m"}, "down": {"cpu_percent": "< 30 for 15m"}}, "scaling_target_missing"),
    ],
)
def test_c6_rules_of_scaling(found, change, rule):
    told = found(kinds=["scaling"], scaling=[{**WORKERS, **change}])["scaling:workers"]
    assert (told[0], told[1]) == ("critical", [rule]), told


def test_i6_nobody_is_told(found):
    told = found(kinds=["contacts"], schedules=[DAILY], contacts=[], system="SHOP")["contacts"]
    assert (told[0], told[1]) == ("warning", ["nobody_told"])
    assert "no contact hears of what is critical for SHOP in a run of daily" in told[2]
    for deaf in ({"kinds": ["incident"]}, {"tags": ["ABS"]}, {"for": ["P4"]}):
        assert "contacts" in found(
            kinds=["contacts"], schedules=[DAILY], contacts=[{**OPERATIONS, **deaf}], system="SHOP"
        )
    assert (
        found(kinds=["contacts"], schedules=[DAILY], contacts=[{**OPERATIONS, "tags": ["SHOP"]}], system="SHOP") == {}
    )
    assert found(kinds=["contacts"], contacts=[]) == {}


def test_i2_a_level_of_the_escalation_without_anybody(found):
    levels = {
        "levels": [{"level": "support", "after": "0s"}, {"level": "management", "after": "15m", "severities": ["P1"]}]
    }
    told = found(kinds=["contacts"], escalation=levels)
    assert list(told) == ["escalation:management"]
    assert told["escalation:management"][:2] == ("critical", ["level_without_contact"])
    management = {
        "name": "boss",
        "level": "management",
        "urls": ["json://127.0.0.1"],
        "for": ["P1"],
        "kinds": ["incident"],
    }
    assert found(kinds=["contacts"], escalation=levels, contacts=[OPERATIONS, management]) == {}
    # Support wants no trifles, and nobody else hears of them.
    told = found(
        kinds=["contacts"], escalation=levels, contacts=[{**OPERATIONS, "for": ["critical", "P3"]}, management]
    )
    assert told["escalation"][:2] == ("critical", ["severity_without_contact"])
    assert "with P4" in told["escalation"][2]


def test_the_schedules_say_how_far_apart_runs_are():
    """The longest time between two runs that make backups, and between two rehearsals, also over a change of the clocks."""

    def apart(*schedules):
        plans = preflight_plans.planned({"schedules": list(schedules)}, "app1", GROUPS, NOW)
        return plans["run_every"], plans["drill_period"]

    assert apart() == (None, None)
    assert apart(DAILY) == ("90000s", None)
    # The weekly run makes backups too, in the night in which the day has 25 hours.
    assert apart(DAILY, WEEKLY) == ("86400s", "608400s")
    assert apart({**DAILY, "at": "weekdays 09:00"})[0] == f"{3 * 86400 + 3600}s"
    assert apart({**DAILY, "tags": ["health"]}) == (None, None)
    quarterly = {
        "name": "quarterly",
        "rule": "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=1;BYHOUR=9;BYMINUTE=0",
        "from": "2026-01-01",
        **MADRID,
    }
    assert apart(quarterly)[0] is None
