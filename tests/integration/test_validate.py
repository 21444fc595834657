"""The action sre.runbooks.validate in real playbook runs: mistakes of every role are found before anything is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Validate
      sre.runbooks.validate:
        roles: {roles}
    - name: Touch
      ansible.builtin.file: {{path: {marker}, state: touch, mode: "0600"}}
"""


def run(
    tmp_path: Path, variables: str, roles: str = "[health, log_scan, log_cleanup, backup, report, notify]"
) -> tuple[int, str, bool]:
    marker = tmp_path / "touched"
    (tmp_path / "play.yml").write_text(PLAYBOOK.format(roles=roles, marker=marker))
    (tmp_path / "vars.yml").write_text(variables)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", "-e", f"@{tmp_path}/vars.yml",
         "-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections")},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, marker.exists()


def test_good_variables_let_the_play_go_on(tmp_path: Path) -> None:
    variables = "health_workers: 4\nreport_fail_on: warning\nhealth_checks: [{name: cpu, type: cpu, warning: '> 80'}]\n"
    status, output, touched = run(tmp_path, variables)
    assert (status, touched) == (0, True), output


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ("health_workers: many", ["Role health", "health_workers", "many"]),
        ("report_fail_on: sometimes", ["Role report", "report_fail_on", "sometimes", "critical"]),
        ("backup_sources: 5", ["Role backup", "backup_sources"]),
        ("log_scan_read: everything", ["Role log_scan", "log_scan_read", "cursor"]),
        ("log_cleanup_policies: {a: 1}", ["Role log_cleanup", "log_cleanup_policies"]),
        ("notify_attempts: often", ["Role notify", "notify_attempts", "often"]),
        (
            "runbooks_contacts: [{name: ops, urls: [secret]}]",
            ["runbooks_contacts: contacts[0].urls[0]", "is no URL", "ops"],
        ),
        ("runbooks_status_page: {folder: /x}", ["runbooks_status_page: status_page: 'folder'"]),
        (
            "runbooks_kpis_app: [{name: speed, target: fast, from: {stage: health, metric: response_seconds}}]",
            ["runbooks_kpis_app[0] (speed).target: 'fast'", "is no threshold", "> 85 for 5m"],
        ),
        ("runbooks_kpis: [{name: speed}]", ["runbooks_kpis[0] (speed).from", "is no source of figures", "Write it as"]),
        ("runbooks_limits: [{limit: much}]", ["runbooks_limits[0].limit: 'much'", "is no quantity"]),
        ("runbooks_costs: {currency: EUR, hots: 3}", ["runbooks_costs: 'hots'", "is nothing that has a price"]),
        (
            "runbooks_schedules: [{name: x, playbook: daily, at: sometimes, zone: UTC}]",
            ["runbooks_schedules[0]", "sometimes"],
        ),
        ("report_period: yearly", ["Role report", "report_period", "quarterly"]),
        ("health_workers: many\nreport_fail_on: sometimes", ["Role health", "Role report"]),
    ],
)
def test_a_mistake_in_any_role_stops_before_the_first_task(tmp_path: Path, variables: str, named: list[str]) -> None:
    status, output, touched = run(tmp_path, variables)
    assert (status, touched) == (2, False), output
    assert all(text in output for text in named), output


def test_a_templated_value_is_validated_as_what_it_becomes(tmp_path: Path) -> None:
    status, output, _touched = run(tmp_path, "limit: lots\nhealth_workers: '{{ limit }}'")
    assert status == 2
    assert "lots" in output


def test_an_unknown_role_is_named_with_the_known_ones(tmp_path: Path) -> None:
    status, output, touched = run(tmp_path, "{}", roles="[helth]")
    assert (status, touched) == (2, False)
    assert "'helth' is no role" in output
    assert "health" in output
