# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sre.runbooks.schedule on a control node (C8): real timers start real runs.

The tests go on from one another, in the order of this file.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = CHECKOUT / ".work/lab/schedule"
HISTORY = "/home/operations/.local/state/sre-runbooks/history.db"
CANARY = "s3cret-of-the-schedule"
# An hour that does not come while these tests run, or the timer would start a run that they do not expect.
FAR = f"{datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12):%H}:00"


def on(command: str, status: int = 0) -> str:
    """Run a shell command as root on the control node, past Ansible."""
    inventory = yaml.safe_load((LAB / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab_names"]
    options = inventory["vars"]["ansible_ssh_common_args"].split()
    port = str(inventory["hosts"]["control1"]["ansible_port"])
    argv = ["ssh", "-T", *options, "-i", LAB / "key", "-p", port, "sre@127.0.0.1", "sudo sh -eu"]
    done = subprocess.run(argv, input=command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def argv(*arguments: str, **variables: object) -> list[str]:
    return [
        "ansible-playbook",
        "sre.runbooks.schedule",
        "--extra-vars",
        json.dumps({"runbooks_control": "control", **variables}),
        *arguments,
    ]


def environment() -> dict[str, str]:
    # Molecule wants colours, between which the tests would not find their words.
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }


def schedule(*arguments: str, failed: bool = False, **variables: object) -> str:
    """Run the playbook; return what it printed."""
    given = argv(*arguments, **variables)
    done = subprocess.run(
        given, env=environment(), cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode != 0) == failed, done.stdout + done.stderr
    return done.stdout + done.stderr


def changes(told: str) -> int:
    (found,) = re.findall(r"changed=(\d+)", told)
    return int(found)


def show(unit: str, *properties: str) -> dict[str, str]:
    lines = on(f"TZ=UTC LC_ALL=C systemctl show --property={','.join(properties)} {unit}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def runs() -> list[str]:
    """What each run has recorded of the host's health in the history of the control node."""
    sql = (
        "SELECT playbook, stage, subject, outcomes.status FROM runs JOIN outcomes ON outcomes.run = runs.number "
        "WHERE stage = 'health' AND host = 'shop1' ORDER BY started"
    )
    return on(f'sqlite3 {HISTORY} "{sql}"').splitlines()


def in_seconds(seconds: int) -> dict[str, str]:
    """A rule that comes so many seconds from now, by the control node's clock."""
    moment = int(on("date +%s")) + seconds
    clock = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    rule = f"FREQ=DAILY;BYHOUR={clock.hour};BYMINUTE={clock.minute};BYSECOND={clock.second}"
    return {"rule": rule, "zone": "UTC"}


# A second start while it runs is the same run. It is held meanwhile, for after its end this would be another one.
AGAIN = """
unit=sre-runbooks-daily.service
systemctl kill --signal=STOP $unit || :
if [ "$(systemctl show --property=ActiveState --value $unit)" = activating ]; then systemctl start --no-block $unit; fi
systemctl kill --signal=CONT $unit || :
"""
# The host has databases and logs to none of which anything is to be done; its health is what a run looks at.
RECORDED = ["daily|health|file:project|ok"]
DAILY = {"name": "daily", "extra_vars": {"report_title": CANARY}, "hosts": "shop1"}


def test_c8_a_timer_starts_a_real_daily_run_whose_record_stands_in_the_history():
    started = time.monotonic()
    schedule("--check", schedule_schedules=[{**DAILY, "at": "daily 09:00", "zone": "UTC"}])
    # Far enough ahead for the call that sets the timer, which does more than this one did.
    ahead = int(20 + 3 * (time.monotonic() - started))
    told = schedule("-vvv", "--diff", schedule_schedules=[{**DAILY, **in_seconds(ahead)}])
    started = time.monotonic()
    assert re.search(r"runs daily (?:next at|just now)", told)
    assert CANARY not in told
    assert on("stat -c '%a %U' /etc/sre-runbooks/schedules/daily.json").split() == ["600", "operations"]
    unit = on("cat /etc/systemd/system/sre-runbooks-daily.service")
    assert CANARY not in unit
    assert (
        'ExecStart="/opt/ansible/bin/ansible-playbook" "--inventory=inventory" "--limit=shop1" "--extra-vars=@' in unit
    )
    seen: set[str] = set()
    while time.monotonic() - started < ahead + 180:
        state = show("sre-runbooks-daily.service", "ActiveState", "Result", "ExecMainStatus", "InvocationID")
        seen.add(state["ActiveState"])
        if state["InvocationID"] and state["ActiveState"] in ("inactive", "failed"):
            break
        if state["ActiveState"] == "activating":
            on(AGAIN)
        time.sleep(1)
    journal = on("journalctl --no-pager --unit sre-runbooks-daily.service")
    assert (state["Result"], state["ExecMainStatus"]) == ("success", "0"), journal
    assert "activating" in seen
    assert "PLAY RECAP" in journal
    assert CANARY not in journal
    assert runs() == RECORDED


def test_c8_a_second_call_changes_nothing():
    entries = [{**DAILY, "at": "first Friday 15:00", "zone": "Europe/Madrid"}]
    assert changes(schedule(schedule_schedules=entries)) > 0
    told = schedule("--diff", schedule_schedules=entries)
    assert changes(told) == 0, told
    # Friday has been since it ran last, for all that systemd knew: it is not made up for.
    assert runs() == RECORDED


def test_c8_check_and_diff_show_another_schedule_and_change_nothing():
    before = on("cat /etc/systemd/system/sre-runbooks-*"), show("sre-runbooks-daily.timer", "NextElapseUSecRealtime")
    entries = [
        {**DAILY, "at": "Sunday 02:00", "zone": "Europe/Madrid"},
        {"name": "weekly", "at": "Friday 15:00", "zone": "Europe/Madrid"},
    ]
    told = schedule("--check", "--diff", schedule_schedules=entries)
    assert "-OnCalendar=Fri *-*-01..07 15:00:00 Europe/Madrid" in told
    assert "+OnCalendar=Sun *-*-* 02:00:00 Europe/Madrid" in told
    assert "+OnCalendar=Fri *-*-* 15:00:00 Europe/Madrid" in told
    after = on("cat /etc/systemd/system/sre-runbooks-*"), show("sre-runbooks-daily.timer", "NextElapseUSecRealtime")
    assert after == before


def test_c8_changed_to_another_schedule_systemd_runs_it_then():
    entries = [
        {**DAILY, "at": "Sunday 02:30", "zone": "Europe/Madrid"},
        {"name": "weekly", "at": "Friday 15:00", "zone": "America/New_York", "enabled": False},
        {"name": "late", "playbook": "daily", "at": "last day of the month 23:30", "zone": "Australia/Lord_Howe"},
    ]
    told = schedule(schedule_schedules=entries, schedule_random_delay="1h")
    assert "runs daily next at" in told
    assert "RandomizedDelaySec=3600" in on("cat /etc/systemd/system/sre-runbooks-late.timer")
    assert show("sre-runbooks-weekly.timer", "ActiveState", "UnitFileState") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    assert show("sre-runbooks-late.timer", "ActiveState", "UnitFileState") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    assert changes(schedule(schedule_schedules=entries, schedule_random_delay="1h")) == 0
    assert runs() == RECORDED


def test_c8_killed_after_it_has_written_the_next_call_settles_everything():
    entries = [{**DAILY, "at": f"daily {FAR}", "zone": "UTC"}]
    process = subprocess.Popen(
        argv(schedule_schedules=entries),
        env=environment(),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("TASK [sre.runbooks.schedule : Stop timers"):
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() < 0
    assert f"OnCalendar=*-*-* {FAR}:00 UTC" in on("cat /etc/systemd/system/sre-runbooks-daily.timer")
    schedule(schedule_schedules=entries)
    assert show("sre-runbooks-daily.timer", "NextElapseUSecRealtime")["NextElapseUSecRealtime"].endswith(
        f"{FAR}:00 UTC"
    )
    assert runs() == RECORDED


def test_c8_how_a_run_ended_is_how_its_service_did():
    entries = [{"name": "fails", "playbook": "fails.yml", "at": f"daily {FAR}", "zone": "UTC"}]
    schedule(schedule_schedules=entries, schedule_sandbox=False)
    on("systemctl start sre-runbooks-fails.service", status=1)
    assert show("sre-runbooks-fails.service", "Result", "ExecMainStatus") == {
        "Result": "exit-code",
        "ExecMainStatus": "2",
    }
    on("systemctl reset-failed sre-runbooks-fails.service")
    # A run that was missed is made up for when the timer is there again, as after a boot.
    before = show("sre-runbooks-fails.service", "InvocationID")
    on(
        "systemctl stop sre-runbooks-fails.timer; touch -d '2 days ago' /var/lib/systemd/timers/stamp-sre-runbooks-fails.timer;"
        "systemctl start sre-runbooks-fails.timer"
    )
    for _second in range(60):
        now = show("sre-runbooks-fails.service", "InvocationID", "ActiveState")
        if now["InvocationID"] != before["InvocationID"] and now["ActiveState"] == "failed":
            break
        time.sleep(1)
    assert (now["ActiveState"], now["InvocationID"] != before["InvocationID"]) == ("failed", True)
    # What is no longer defined is gone, with its variables and what systemd remembers of it.
    left = on("ls /etc/systemd/system | grep sre-runbooks; ls /etc/sre-runbooks/schedules /var/lib/systemd/timers")
    assert "daily" not in left
    assert "late" not in left


def test_c8_units_of_others_are_neither_written_over_nor_removed():
    on("printf '[Timer]\\nOnCalendar=yearly\\n' >/etc/systemd/system/sre-runbooks-mine.timer")
    told = schedule(
        schedule_schedules=[{"name": "mine", "playbook": "daily", "at": "daily 09:00", "zone": "UTC"}], failed=True
    )
    assert "sre-runbooks-mine.timer exist and were not written for schedule_owner default" in " ".join(told.split())
    schedule(schedule_schedules=[])
    assert on("ls /etc/systemd/system | grep sre-runbooks").split() == ["sre-runbooks-mine.timer"]


def test_c8_bad_input_is_refused_before_anything_is_written():
    entry = {"name": "x", "playbook": "daily", "zone": "UTC"}
    every_other = {**entry, "rule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", "start": "15:00", "from": "2026-01-02"}
    for given, expected in (
        ([{**entry, "at": "every second Friday 10:00"}], "could be meant in two ways"),
        ([every_other], "A systemd timer cannot say this."),
    ):
        told = schedule(schedule_schedules=given, failed=True)
        assert expected in told
        assert "schedule_schedules[0]" in told
    told = schedule(schedule_schedules=[{**entry, "at": "daily 09:00"}], schedule_program="/opt/nowhere", failed=True)
    assert "/opt/nowhere" in told
    assert on("ls /etc/systemd/system | grep sre-runbooks").split() == ["sre-runbooks-mine.timer"]
