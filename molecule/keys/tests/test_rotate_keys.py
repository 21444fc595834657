# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sre.runbooks.rotate_keys over SSH (K1, K2, K3): units on two hosts call a service on a third with its keys all the time.

The tests go on from one another, in the order of this file. After each of them not one call may have been refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
SCENARIO = CHECKOUT / "molecule/keys"
LAB = CHECKOUT / ".work/lab/keys"
# Which unit runs where, and which key it uses.
UNITS = {
    "a": ("web1", "reporting"),
    "b": ("web1", "reporting"),
    "c": ("web2", "reporting"),
    "d": ("web1", "warehouse"),
    "e": ("web2", "warehouse"),
}
KEYS = ("reporting", "warehouse")
STATE = "/var/lib/sre-runbooks"
REFUSED = re.compile(r"^(?:401|403) .*", re.MULTILINE)


def on(host: str, command: str) -> str:
    """Run a shell command as root on a host of the lab, past Ansible."""
    inventory = yaml.safe_load((LAB / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab_names"]
    options = inventory["vars"]["ansible_ssh_common_args"].split()
    done = subprocess.run(
        ["ssh", "-T", *options, "-i", LAB / "key", "-p", str(inventory["hosts"][host]["ansible_port"]), "sre@127.0.0.1", "sudo sh -eu"],
        input=command, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{host}: {command}: {done.stderr}"
    return done.stdout


def argv(playbook: str, *arguments: str, **variables: Any) -> list[str]:
    given = {"key_rotation_actor": "the lab", **variables}
    return ["ansible-playbook", playbook, "--extra-vars", json.dumps(given), *arguments]


def environment(more: str = "") -> dict[str, str]:
    inventory = os.environ["ANSIBLE_INVENTORY"] + more
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        # Molecule wants colours, between which the tests would not find their words.
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_INVENTORY": inventory,
    }


def play(playbook: str, *arguments: str, inventory: str = "", **variables: Any) -> str:
    """Run ansible-playbook to its end; return what it printed as one line of words."""
    done = subprocess.run(
        argv(playbook, *arguments, **variables),
        env=environment(inventory), cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def rotate(*arguments: str, **variables: Any) -> str:
    return play("sre.runbooks.rotate_keys", *arguments, **variables)


@dataclass(frozen=True)
class Seen:
    """What is on all hosts at one moment: values by unit, the service's keys, journals, main processes, answers given so far."""

    values: dict[str, str]
    alive: dict[str, set[str]]
    journals: dict[str, Any]
    processes: dict[str, str]
    starts: dict[str, tuple[int, int]]
    answers: dict[str, str]

    def held(self, key: str) -> set[str]:
        """The values that the units of a key hold."""
        return {self.values[unit] for unit, (_host, used) in UNITS.items() if used == key}


SHOW = "systemctl show --property=MainPID,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic reporting@{unit}"


def units_of(host: str) -> dict[str, dict[str, str]]:
    units = [unit for unit, (where, _key) in UNITS.items() if where == host]
    parts = [
        f"sed -n 's/^API_KEY=//p' /opt/reporting/{unit}.env\n"
        f"tr '\\n' ',' </opt/reporting/{unit}.answers; echo\n"
        f"{SHOW.format(unit=unit)} | tr '\\n' ' '; echo"
        for unit in units
    ]
    lines = on(host, "\n".join(parts)).splitlines()
    assert len(lines) == 3 * len(units), lines
    return {
        unit: {"value": lines[3 * n].strip("'\""), "answers": lines[3 * n + 1].replace(",", "\n"), "show": lines[3 * n + 2]}
        for n, unit in enumerate(units)
    }  # fmt: skip


def look() -> Seen:
    found = {**units_of("web1"), **units_of("web2")}
    sql = "SELECT name, key_hash FROM api_keys WHERE revoked_at IS NULL"
    told, _line, journal = on(
        "api1",
        f"runuser -u postgres -- psql -AtX keys -c \"{sql}\"; echo ---; cat {STATE}/keys.json 2>/dev/null || echo '{{}}'",
    ).partition("---\n")
    alive: dict[str, set[str]] = {key: set() for key in KEYS}
    for name, digest in (line.split("|") for line in told.split()):
        alive[name.partition("-")[0]].add(digest)
    shown = {unit: dict(word.split("=") for word in each["show"].split()) for unit, each in found.items()}
    return Seen(
        {unit: each["value"] for unit, each in found.items()},
        alive,
        json.loads(journal).get("keys", {}),
        {unit: each["MainPID"] for unit, each in shown.items()},
        {
            unit: (int(each["InactiveExitTimestampMonotonic"]), int(each["ActiveEnterTimestampMonotonic"]))
            for unit, each in shown.items()
        },
        {unit: each["answers"] for unit, each in found.items()},
    )


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def mark(key: str, value: str) -> str:
    return digest(f"{key}:{value}")[:12]


def settled(seen: Seen) -> None:
    """One value at all units of a key, which is the journal's, and works; nothing is pending."""
    for key in KEYS:
        (value,) = seen.held(key)
        assert digest(value) in seen.alive[key]
        assert not seen.journals[key]["pending"]
        assert seen.journals[key]["current"]["fingerprint"] == mark(key, value)


def audit(host: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in on(host, f"cat {STATE}/keys_audit.jsonl").splitlines()]


def kept_alone(seen: Seen, host: str) -> None:
    """What is proven dead is kept nowhere; a current key may be, to which a rotation was taken back."""
    current = {mark(key, value) for key in KEYS for value in seen.held(key)}
    assert set(on(host, f"ls -A {STATE}/keys").split()) <= current


@pytest.fixture(autouse=True)
def nobody_is_locked_out():
    """Each unit has made calls since, and of all calls of all units none was ever refused."""
    before = look()
    yield
    after = look()
    assert not [(unit, line) for unit, answers in after.answers.items() for line in REFUSED.findall(answers)]
    assert all(len(after.answers[unit]) > len(before.answers[unit]) for unit in UNITS)
    # Whatever has happened, what is in the files works.
    assert all(digest(after.values[unit]) in after.alive[key] for unit, (_host, key) in UNITS.items())


def unchanged(before: Seen) -> None:
    after = look()
    assert (after.values, after.alive, after.processes) == (before.values, before.alive, before.processes)


def test_hosts_that_are_left_out_by_serial_make_the_rotation_wait():
    before = look()
    told = play("molecule/keys/serial.yml", key_rotation_force=list(KEYS))
    # The provider's host is alone in its batch, which begins with it.
    assert "rotation waits: web1: no answer about this key (not reachable, not in this play" in told
    assert "The key in use stays." in told
    unchanged(before)


def test_hosts_that_are_left_out_by_limit_make_the_rotation_wait():
    before = look()
    told = rotate("--limit", "api1,web1", key_rotation_force=["reporting"])
    assert "rotation waits: web2: no answer" in told
    unchanged(before)


def test_a_host_that_cannot_be_reached_makes_the_rotation_wait():
    before = look()
    told = rotate(inventory=f",{SCENARIO}/unreachable", key_rotation_force=["reporting"])
    assert "Connection refused" in told
    assert "rotation waits: web2: no answer" in told
    unchanged(before)


def overlapping(seen: Seen) -> bool:
    """Whether units of both hosts were starting at the same time. Monotonic time is the same on all hosts of this machine."""
    first, second = ([seen.starts[unit] for unit in UNITS if UNITS[unit][0] == host] for host in ("web1", "web2"))
    return any(one[0] < other[1] and other[0] < one[1] for one in first for other in second)


def test_k1_k2_both_keys_are_rotated_host_by_host_and_the_old_ones_work_on(record_property):
    before = look()
    began = time.monotonic_ns() // 1000
    # Its end is waited for below; it must not come while this run, on a busy machine, is between promoting and revoking.
    rotate(key_rotation_force=list(KEYS), key_rotation_throttle=1, lab_overlap="40s")
    after = look()
    settled(after)
    for key in KEYS:
        (old,), (new,) = before.held(key), after.held(key)
        assert old != new
        assert after.alive[key] == {digest(old), digest(new)}
        # Every unit went on with the new key, after it had gone with the old one.
        for unit in (unit for unit, (_host, used) in UNITS.items() if used == key):
            used = [line.split()[1] for line in after.answers[unit].splitlines() if line.startswith("200 ")]
            assert list(dict.fromkeys(used)) == [mark(key, old), mark(key, new)]
    assert all(after.processes[unit] != before.processes[unit] for unit in UNITS)
    assert all(start > began for start, _active in after.starts.values())
    assert not overlapping(after)
    restarted = [each for host in ("web1", "web2") for each in audit(host) if each["event"] == "restarted"]
    assert sorted(each["what"] for each in restarted) == [f"reporting@{unit}.service" for unit in UNITS]
    assert {each["who"] for each in restarted} == {"the lab"}


ONLY_OLD = """
mkdir -p /etc/systemd/system/reporting@c.service.d
cat >/opt/reporting/only_old <<'END'
#!/bin/sh
test "$(printf %s "$API_KEY" | sha256sum | cut -c -64)" = {digest}
END
chmod 755 /opt/reporting/only_old
printf '[Service]\\nExecStartPre=/opt/reporting/only_old\\n' >/etc/systemd/system/reporting@c.service.d/broken.conf
systemctl daemon-reload
"""


def test_k3_a_unit_that_does_not_start_with_the_new_key_takes_all_of_them_back():
    before = look()
    (value,) = before.held("reporting")
    on("web2", ONLY_OLD.format(digest=digest(value)))
    told = rotate(key_rotation_force=["reporting"])
    on("web2", "rm -r /etc/systemd/system/reporting@c.service.d; systemctl daemon-reload")
    assert "rotation failed and is rolled back: web2" in told
    after = look()
    settled(after)
    assert after.values == before.values
    # Those that had taken the new key were started again with the old one; the new one is revoked.
    assert all(after.processes[unit] not in ("0", before.processes[unit]) for unit in "abc")
    assert after.alive["reporting"] <= before.alive["reporting"]
    events = [each["event"] for each in audit("api1") if each["key"] == "reporting"]
    assert events[events.index("promoted") + 1 :][:3] == ["created", "abandoned", "revoked"]


def test_k3_the_old_keys_are_revoked_after_their_overlap_and_proven_dead():
    before = look()
    ends = max(each["revoke_at"] for key in KEYS for each in before.journals[key]["previous"] or [{"revoke_at": 0}])
    time.sleep(max(0.0, ends - time.time()))
    rotate()
    after = look()
    settled(after)
    assert after.values == before.values
    assert after.processes == before.processes
    for key in KEYS:
        assert after.alive[key] == {digest(*after.held(key))}
    for host in ("web1", "web2"):
        dead = {each["key"] for each in audit(host) if each["event"] == "proven_dead"}
        assert dead == set(KEYS)
        kept_alone(after, host)


# Starts that take so long that hosts which begin seconds apart, as on a busy machine, are seen starting at the same time.
SLOW = """
mkdir -p /etc/systemd/system/reporting@.service.d
printf '[Service]\\nExecStartPre=/bin/sleep 3\\n' >/etc/systemd/system/reporting@.service.d/slow.conf
systemctl daemon-reload
"""


def test_k3_a_compromised_key_is_over_in_one_run_and_hosts_restart_at_once_when_nothing_bounds_them():
    before = look()
    for host in ("web1", "web2"):
        on(host, SLOW)
    rotate(key_rotation_compromised=list(KEYS))
    for host in ("web1", "web2"):
        on(host, "rm -r /etc/systemd/system/reporting@.service.d; systemctl daemon-reload")
    after = look()
    settled(after)
    for key in KEYS:
        (old,), (new,) = before.held(key), after.held(key)
        assert old != new
        assert after.alive[key] == {digest(new)}
        assert [each["event"] for each in audit("web2") if each["key"] == key][-1] == "proven_dead"
    # What the test of the throttle looks for is there to be seen.
    assert overlapping(after)


# The controller dies when its output shows the first of these words after the second: what came before has been done.
KILLED = {
    "create": ("TASK [sre.runbooks.key_rotation : Bring the new keys", ""),
    "distribute_to_the_first": ("TASK [sre.runbooks.key_rotation : Bring the new keys", "changed: [web"),
    "distribute_and_restart": ("TASK [sre.runbooks.key_rotation : Prove by real calls that the keys work", ""),
    "prove": ("TASK [sre.runbooks.key_rotation : Make the new keys current", ""),
    "promote": ("TASK [sre.runbooks.key_rotation : Put the old keys back", ""),
    "revoke": ("TASK [sre.runbooks.key_rotation : Prove by real calls that revoked keys are dead", ""),
}


def kill(process: subprocess.Popen[str]) -> None:
    """The controller and everything that it started on this machine, at once."""
    parent = psutil.Process(process.pid)
    parent.suspend()
    for each in [*parent.children(recursive=True), parent]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


@pytest.mark.parametrize("step", KILLED)
def test_k3_the_controller_is_killed_after_each_step(step):
    """Each run has to make up for the one before it, which was killed one step earlier."""
    banner, line_of_host = KILLED[step]
    process = subprocess.Popen(
        argv("sre.runbooks.rotate_keys", key_rotation_compromised=list(KEYS), key_rotation_throttle=1),
        env=environment(), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    passed, told = False, ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        passed = passed or line.startswith(banner)
        if passed and line.startswith(line_of_host or banner):
            kill(process)
            break
    process.stdout.close()
    assert process.wait() < 0, told


def test_k3_the_run_after_the_killed_ones_settles_everything():
    told = rotate()
    after = look()
    settled(after)
    for key in KEYS:
        assert after.alive[key] == {digest(*after.held(key))}
    for host in ("web1", "web2"):
        kept_alone(after, host)
    assert re.findall(r"failed=(\d+)", told) == ["0"] * 3
    told = rotate()
    assert re.findall(r"changed=(\d+)", told) == ["0"] * 3
