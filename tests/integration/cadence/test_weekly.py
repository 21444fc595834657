# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.weekly on real systems (C2), and the gate sre.runbooks.window before what disrupts (C5)."""

from __future__ import annotations

import datetime

from .conftest import CLOSED, OPEN, tree, window

STAGES = {
    "health", "log_scan", "secret_scan", "log_cleanup", "backup", "verify", "vacuum", "indexes", "patching", "service_restart", "site_steps",
}  # fmt: skip


def test_c2_c5_every_stage_runs_and_each_host_keeps_its_own_windows(site):
    """One run over hosts in their window, before it, too late in it, without any, broken, and dead."""
    shop = site.system("shop", runbooks_windows_shop=[OPEN])
    nightly = f"{datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3):%A} 02:00-06:00"
    night = site.system(
        "night", runbooks_windows=[{"at": nightly, "zone": "Europe/Madrid", "for": ["weekly", "monthly"]}]
    )
    late = site.system("late", runbooks_windows_a=[window(-3600, 600, name="nightly")], runbooks_windows_b=[CLOSED])
    bare = site.system("bare", runbooks_windows_other=[{**CLOSED, "for": ["monthly"]}])
    broken = site.system("broken", runbooks_windows_shop=[OPEN])
    (broken.folder / "backups").write_text("no folder\n")
    site.hosts["dead"] = {
        **shop.variables(), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1
    }  # fmt: skip
    for system in (shop, late):
        system.update()
    free = shop.unused()
    assert free > 100
    ran = site.run("sre.runbooks.weekly", runbooks_stage_needs={"patching": "11m"})
    assert ran.rc in (0, 4), ran.output
    # In the window: everything.
    assert {each["stage"] for each in ran.hosts["shop"]} == STAGES, ran.output
    assert ran.rows("shop") == [("service_restart", "skipped")], ran.output
    assert (
        "nothing to do here: the inventory has no runbooks_services"
        in ran.told("shop", "service_restart")[0]["summary"]
    )
    assert (shop.machine.version("library"), shop.unused()) == ("1.1", 0)
    assert not (shop.folder / "logs/app.log.1").exists()
    assert not (shop.folder / "cache").exists()
    assert len(shop.copies()) == 1
    # Before it: one outcome of each stage that disrupts, and all else as on the other host.
    skipped = [("database_maintenance", "skipped"), ("patching", "skipped"), ("service_restart", "skipped")]
    assert ran.rows("night") == skipped
    (told,) = ran.told("night", "patching")
    assert f"no maintenance window is open ({nightly} Europe/Madrid)" in told["summary"]
    assert f"the next one opens {nightly[:3]} 20" in told["summary"]
    assert told["summary"].endswith("02:00 Europe/Madrid")
    assert night.unused() == free
    assert len(night.copies()) == 1
    # Too late in it: what would not end in time is not begun.
    assert ran.rows("late") == skipped
    (told,) = ran.told("late", "database_maintenance")
    assert "database_maintenance needs 30.0 min, and the maintenance window nightly: " in told["summary"]
    assert f"the next one opens {CLOSED['begin'][:14]}" in told["summary"].replace("Z", "+00:00")
    assert told["details"]["left_seconds"] < 600
    assert "patching needs 11.0 min" in ran.told("late", "patching")[0]["summary"]
    assert (late.machine.version("library"), late.unused()) == ("1.0", free)
    # A window for another playbook is none of this one, and without a window nobody has allowed what disrupts.
    assert ran.rows("bare") == skipped
    assert "no maintenance window is defined" in ran.told("bare", "patching")[0]["summary"]
    assert bare.unused() == free
    # A stage that fails stops none of the others.
    assert ("backup", "critical") in ran.rows("broken")
    assert {each["stage"] for each in ran.hosts["broken"]} >= {"vacuum", "patching", "secret_scan"}
    assert broken.unused() == 0
    # A dead host is one row, after one attempt.
    assert ran.rows("dead") == [("host", "critical")]
    assert ran.output.count("UNREACHABLE!") == 1
    # What is gated out costs a host two tasks a stage, and is on the terminal what it is in the report.
    assert sum(ran.recap("night")[each] for each in ("ok", "skipped")) <= 22
    assert "not begun: no maintenance window is open" in ran.output


def test_c5_override_check_mode_and_a_second_run(site):
    shop = site.system("shop", runbooks_windows_shop=[CLOSED])
    shop.update()
    site.system(
        "other", runbooks_gated_stages=["backup", "patching"], runbooks_windows_shop=[CLOSED], patching_updates="none"
    )
    free, before = shop.unused(), tree(site.folder)
    # Check mode asks the windows as well; with the override it tells all that would be done, and changes nothing.
    ran = site.run("sre.runbooks.weekly", "--check", "-e", "runbooks_now=true", "--limit", "shop")
    assert ran.rc == 0, ran.output
    assert "1 updates would be installed" in ran.output
    after = tree(site.folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # What apt writes of a simulation is its own.
    mine = ("inventory.json", "python", "var/log/apt/eipp.log.xz")
    assert {name for name in changed if not name.endswith(mine)} == set(), ran.output
    # The record says that the windows were not kept.
    ran = site.run("sre.runbooks.weekly", "-e", "runbooks_now=true", "--limit", "shop")
    for stage in ("database_maintenance", "patching"):
        (told,) = [each for each in ran.told("shop", stage) if each["subject"] == "window"]
        assert told["status"] == "ok"
        assert told["summary"].startswith("begun all the same, by runbooks_now: no maintenance window is open")
    assert (shop.machine.version("library"), shop.unused()) == ("1.1", 0)
    assert free > 0
    # Once more, in a window, there is nothing to do; and which stages keep windows is a matter of the inventory.
    site.hosts["shop"]["runbooks_windows_shop"] = [OPEN]
    ran = site.run("sre.runbooks.weekly")
    assert ran.recap("shop")["changed"] == 0, ran.output
    assert ran.rows("shop") == [("service_restart", "skipped")]
    assert [each for each in ran.rows("other") if each[1] == "skipped"] == [
        ("backup", "skipped"), ("patching", "skipped"), ("service_restart", "skipped"),
    ]  # fmt: skip
    assert ran.told("other", "vacuum")


def test_c5_the_gate_is_asked_right_before_a_stage_and_windows_are_validated_first(site, tmp_path):
    shop = site.system("shop")
    playbook = tmp_path / "twice.yml"
    playbook.write_text("""
- name: Twice
  hosts: shop
  gather_facts: false
  tasks:
    - name: Take the time
      ansible.builtin.set_fact:
        runbooks_windows_late: [{begin: "2020-01-01T00:00:00Z", end: "{{ '%Y-%m-%dT%H:%M:%SZ' | strftime(now().timestamp() + 12, utc=true) }}"}]
    - name: Ask
      sre.runbooks.window: {stage: patching, playbook: weekly, needs: {patching: 0s}}
      register: first
    - name: Wait until it has closed
      ansible.builtin.pause: {seconds: 13}
    - name: Ask again
      sre.runbooks.window: {stage: patching, playbook: weekly, needs: {patching: 0s}}
      register: second
    - name: Tell
      ansible.builtin.debug:
        msg: "first {{ first.begin }}, second {{ second.begin }}, {{ second.outcomes[0].summary }}"
""")
    ran = site.run(str(playbook))
    assert "first True, second False, not begun: no maintenance window is open" in ran.output, ran.output
    assert "no other one opens" in ran.output
    ran = site.run("sre.runbooks.weekly", runbooks_windows_shop=[{"at": "someday", "zone": "UTC"}])
    assert ran.rc != 0
    assert "Nothing was done, for the inventory cannot be used. runbooks_windows[0].at: 'someday'" in ran.output, (
        ran.output
    )
    assert shop.copies() == []
