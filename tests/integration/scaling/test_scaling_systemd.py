# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module sre.runbooks.scaling on instances of a template unit that systemd really runs (C6)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.systemd_hosts import Hosts, inventory

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
# It ends what it does when it is asked to stop. /srv/kill has it kill the module that starts it.
WORKER = """#!/bin/sh
[ ! -e /srv/broken ] || exit 1
if [ -e /srv/kill ]; then rm /srv/kill; pkill -KILL -f '[s]caling'; fi
trap 'sleep 0.3; echo "ended $1" >> /srv/log; exit 0' TERM
echo "began $1" >> /srv/log
while :; do sleep 0.1; done
"""
UNIT = "[Service]\nType=exec\nExecStart=/srv/worker %i\n"
DRAIN = '#!/bin/sh\necho "drain $1 of $2" >> /srv/log\n'
RUNNING = "systemctl list-units --plain --no-legend --state=active 'worker@*' | sed 's/.*@\\([0-9]*\\).*/\\1/' | sort -n | xargs"
BUSY = {"queue_depth": 20, "cpu_percent": 50}
BETWEEN = {"queue_depth": 5, "cpu_percent": 50}
CALM = {"queue_depth": 0, "cpu_percent": 5}
TARGET = {
    "name": "workers", "kind": "systemd", "template": "worker@.service", "minimum": 1, "maximum": 3, "cooldown_up": "0s", "cooldown_down": "0s",
    "measures": [{"name": "load", "type": "command", "argv": ["cat", "/srv/load"]}],
    "up": {"queue_depth": "> 10"}, "down": {"queue_depth": "== 0", "cpu_percent": "< 30 for 1s"},
    "drain": ["/srv/drain", "{instance}", "{unit}"],
}  # fmt: skip


@pytest.fixture(scope="module")
def host():
    with Hosts("workers1") as made:
        for path, text in (
            ("/srv/worker", WORKER),
            ("/srv/drain", DRAIN),
            ("/etc/systemd/system/worker@.service", UNIT),
        ):
            made.write("workers1", path, text)
        yield made


@pytest.fixture
def story(host, tmp_path):
    """Call the module several times in one play, each time with some shell before and after it; return what each call told.

    A call is (shell before it, options of the target, options of the module); what runs after it comes back as `runs`.
    """
    host.shell(
        "workers1",
        "systemctl stop 'worker@*'; systemctl reset-failed; systemctl daemon-reload; rm -rf /srv/log /srv/broken /srv/kill /srv/state",
    )

    def go(*calls):
        tasks = []
        for number, (before, target, options) in enumerate(calls):
            check = options.pop("check", False)
            # What the call before left, then what is to happen before this one.
            text = f"{RUNNING}; {before or 'true'}"
            tasks += [
                {"ansible.builtin.shell": text, "register": f"runs{number}", "changed_when": False},
                {
                    "sre.runbooks.scaling": {"targets": [{**TARGET, **target}], "act": True, "state_dir": "/srv/state", **options},
                    "register": f"told{number}", "check_mode": check, "ignore_errors": True,
                },
            ]  # fmt: skip
        tasks.append({"ansible.builtin.shell": RUNNING, "register": f"runs{len(calls)}", "changed_when": False})
        names = [f"{{'told': told{number}, 'runs': runs{number + 1}.stdout}}" for number in range(len(calls))]
        result = tmp_path / "result.json"
        text = f"{{{{ [{', '.join(names)}] | to_json }}}}"
        tasks.append(
            {
                "ansible.builtin.copy": {"content": text, "dest": str(result), "mode": "0600"},
                "delegate_to": "localhost",
                "vars": {"ansible_connection": "local"},
            }
        )
        play = tmp_path / "play.json"
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        reach = {**host.variables("workers1"), "ansible_pipelining": True}
        done = host.play(PROGRAM, ["-i", inventory(tmp_path / "inventory.json", {"workers1": reach}, {}), play])
        assert done.returncode == 0, done.stdout + done.stderr
        return [
            (each["runs"], each["told"].get("outcomes", [None])[0], each["told"])
            for each in json.loads(result.read_text())
        ]

    return go


def load(**figures):
    data = " ".join(f"{name}={value}" for name, value in figures.items())
    return f"echo 'fine | {data}' > /srv/load"


def test_c6_up_and_down_on_real_units(host, story):
    calls = story(
        (load(**BETWEEN), {}, {}),
        (load(**BUSY), {}, {"act": False}),
        ("", {}, {"check": True}),
        ("", {}, {}),
        ("", {"cooldown_up": "1h"}, {}),
        ("", {}, {}),
        ("", {}, {}),
        ("systemctl kill --signal=KILL worker@2; sleep 0.2", {}, {}),
        (load(**CALM), {}, {}),
        ("sleep 1.1", {}, {}),
        ("sleep 1.1; mv /srv/load /srv/away", {}, {}),
        ("mv /srv/away /srv/load", {"template": "missing@.service"}, {}),
    )
    runs = [each[0] for each in calls]
    assert runs == ["1", "1", "1", "1 2", "1 2", "1 2 3", "1 2 3", "1 2 3", "1 2 3", "1 2", "1 2", "1 2"], calls
    first, recommended, would, more, rests, _third, most, again, pending, fewer, silent, missing = [
        each[1] for each in calls
    ]
    assert first["summary"] == "now run 1 instead of 0: at least 1 have to run"
    assert (recommended["status"], recommended["summary"]) == (
        "warning",
        "recommended are 2 instead of 1: queue_depth is 20, bound > 10",
    )
    assert (would["summary"], calls[2][2]["changed"]) == (
        "would run 2 instead of 1: queue_depth is 20, bound > 10",
        True,
    )
    assert (more["status"], calls[3][2]["changed"]) == ("ok", True)
    assert {name: more["metrics"][name] for name in ("instances", "wanted", "queue_depth")} == {
        "instances": 2,
        "wanted": 2,
        "queue_depth": 20,
    }
    assert "min more after the last change" in rests["summary"]
    assert (most["status"], most["summary"]) == (
        "warning",
        "3 run: queue_depth is 20, bound > 10, but at most 3 may run",
    )
    assert again["summary"].startswith("now run 3 instead of 2")
    assert (pending["pending"], calls[8][2]["changed"]) == (True, False)
    assert fewer["summary"].startswith(
        "now run 2 instead of 3: queue_depth is 0, bound == 0 and cpu_percent is 5.0 %, bound < 30 for 1s"
    )
    assert silent["status"] == "unknown"
    assert "silence is no reason to stop anything" in silent["summary"]
    assert (missing["status"], "missing@1.service is not-found here" in missing["summary"]) == ("unknown", True)
    log = host.shell("workers1", "cat /srv/log").splitlines()
    # The killed one was started again; the highest was drained, then stopped, and ended what it did.
    assert log == ["began 1", "began 2", "began 3", "began 2", "drain 3 of worker@3.service", "ended 3"]


def test_c6_killed_while_it_starts_one_and_one_that_cannot_be_started(host, story):
    calls = story(
        (load(**BETWEEN), {}, {}),
        (f"{load(**BUSY)}; touch /srv/kill", {}, {}),
        ("sleep 0.3", {"cooldown_up": "1h"}, {}),
        ("", {}, {}),
        ("", {}, {}),
        (f"{load(**BETWEEN)}; systemctl stop worker@3; touch /srv/broken", {}, {}),
        (load(**BUSY), {}, {}),
        ("rm -r /srv/state; mkdir -m 700 /srv/state; echo '{\"targets\": 1}' > /srv/state/scaling.json", {}, {}),
    )  # fmt: skip
    runs = [each[0] for each in calls]
    assert runs[1] in ("1", "1 2"), calls
    assert calls[1][1] is None
    # It rests though the killed run never said what it did; then it goes on from what runs, up to the maximum.
    assert "rests for" in calls[2][1]["summary"]
    assert runs[4] == "1 2 3"
    assert (runs[5], runs[6]) == ("1 2", "1 2")
    assert calls[6][1]["status"] == "critical"
    # systemd sees it end before or after it says that it has begun.
    assert calls[6][1]["summary"].startswith("2 run, and not 3 instead of 2: queue_depth is 20, bound > 10: ")
    assert "worker@3.service" in calls[6][1]["summary"]
    assert "Repair or remove this file" in calls[7][2]["msg"]


def test_c6_the_playbook_recommends_and_reports(host, story, tmp_path):
    story((load(**BETWEEN), {}, {}))
    host.shell("workers1", load(**BUSY))
    common = {
        "runbooks_scaling_lab": [TARGET], "runbooks_state_dir": "/srv/state", "report_directory": str(tmp_path / "reports"),
        "runbooks_history_url": f"sqlite:///{tmp_path}/history.db", "report_fail_on": "never", "report_formats": ["json"],
    }  # fmt: skip
    path = inventory(tmp_path / "inventory.json", {"workers1": host.variables("workers1")}, common)
    done = host.play(PROGRAM, ["sre.runbooks.scaling", "-i", path])
    assert done.returncode == 0, done.stdout + done.stderr
    (system,) = json.loads((tmp_path / "reports/scaling_latest.json").read_text())["systems"]
    (outcome,) = system["hosts"][0]["outcomes"]
    assert (outcome["subject"], outcome["status"], outcome["metrics"]["wanted"]) == ("systemd:workers", "warning", 2)
    assert outcome["summary"] == "recommended are 2 instead of 1: queue_depth is 20, bound > 10"
    done = host.play(PROGRAM, ["sre.runbooks.scaling", "-i", path, "-e", "scaling_act=true"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.shell("workers1", RUNNING) == "1 2"
