# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios of the four systems share: the playbook of a cadence as a user starts it, and the report it leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra

CHECKOUT = Path(__file__).resolve().parents[1]
# What a machine that runs tests may pass at times: slow is a warning; down or not to be asked would be critical or unknown.
BUSY = {
    "cpu",
    "memory",
    "disk",
    "redis",
    "http:api",
    "http:business",
    "port:port",
    "postgresql:database",
    "sqlite:database",
}


@dataclass(frozen=True)
class Cadence:
    """A finished playbook: its exit status, what it printed, its report (empty in check mode)."""

    returncode: int
    output: str
    report: dict[str, Any]

    def outcomes(self, stage: str = "") -> list[dict[str, Any]]:
        """All outcomes with their host, or those of a stage."""
        return [
            {**outcome, "host": host["name"]}
            for system in self.report["systems"]
            for host in system["hosts"]
            for outcome in host["outcomes"]
            if not stage or outcome["stage"] == stage
        ]

    def bad(self, known: tuple[tuple[str, str], ...] = ()) -> list[tuple[str, str, str, str]]:
        """What is neither ok nor skipped, without what is known and without the load of the machine that the hosts share."""
        found = [each for each in self.outcomes() if each["status"] not in ("ok", "skipped")]
        return [
            (each["host"], each["stage"], each["subject"], f"{each['status']}: {each['summary']}")
            for each in found
            if (each["stage"], each["subject"]) not in known
            and not (each["subject"] in BUSY and (each["status"] == "warning" or each["subject"] in ("cpu", "memory")))
        ]


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Path:
    """The folder of the scenario's lab."""
    return CHECKOUT / ".work/lab" / Path(str(request.config.args[0])).parent.name


@pytest.fixture(scope="session")
def cadence(lab: Path) -> Callable[..., Cadence]:
    """Run a playbook on the inventory of the scenario: `cadence("weekly", "-e", "runbooks_now=true")`."""

    def run(playbook: str, *arguments: str) -> Cadence:
        done = subprocess.run(
            ["ansible-playbook", f"sre.runbooks.{playbook}", *arguments],
            env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "200"},
            cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert "Traceback" not in output, output
        made = lab / f"reports/{playbook}_latest.json"
        report = json.loads(made.read_text(encoding="utf-8")) if "--check" not in arguments else {}
        return Cadence(done.returncode, output, report)

    return run


@pytest.fixture(scope="session")
def closed() -> list[str]:
    """Arguments by which no maintenance window is open for years."""
    listed = subprocess.run(
        ["ansible-inventory", "--list"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    hosts = json.loads(listed)["_meta"]["hostvars"].values()
    names = {name: [] for host in hosts for name in host if name.startswith("runbooks_windows")}
    window = [{"begin": "2099-01-01T00:00:00Z", "end": "2099-01-01T04:00:00Z"}]
    return ["-e", json.dumps({**names, "runbooks_windows_lab": window})]


def drill(lab: Path, host: str, copies: list[str]) -> None:
    """Bring the software of a host and its copies to the empty host spare1."""
    told = {
        "lab_drill_from": host,
        "lab_drill_to": "spare1",
        "lab_drill_names": copies,
        "lab_copies": str(lab / "copies.tar"),
    }
    subprocess.run(
        ["ansible-playbook", "tests/lab/drill.yml", "-e", json.dumps(told)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )


class Year:
    """The cadences of a system in the order of a year. A scenario names its host and what is known of it, and adds what only it has."""

    HOST = ""
    UNIT = ""
    # What is not well for good reasons, as (stage, subject), each with the reason beside it.
    KNOWN: tuple[tuple[str, str], ...] = ()
    # The lab tells nobody.
    COMMON = (("preflight", "contacts"),)
    DAILY: tuple[str, ...] = ("health", "log_scan", "log_cleanup", "backup")
    # What the weekly run may do in a window only.
    GATED: tuple[str, ...] = ("database_maintenance", "patching", "service_restart")

    @pytest.fixture
    def host(self) -> Any:
        return testinfra.get_host(f"ansible://{self.HOST}")

    def started(self, host: Any) -> str:
        """The id of the service's process."""
        return str(host.check_output(f"systemctl show --property=ExecMainPID --value {self.UNIT}"))

    def well(self, run: Cadence, *stages: str) -> None:
        """The run ended, each stage has an answer, everybody is there, and nothing is bad but what is known."""
        assert run.returncode == 0, run.output
        assert run.report["roll_call"]["missing"] == []
        assert {each["stage"] for each in run.outcomes() if each["status"] != "skipped"} >= set(stages)
        assert run.bad((*self.COMMON, *self.KNOWN)) == []

    def test_daily(self, cadence: Callable[..., Cadence]) -> None:
        """C1: the first has no backup to look at yet, and makes it; the second finds all well."""
        cadence("daily", "--limit", self.HOST)
        self.well(cadence("daily", "--limit", self.HOST), *self.DAILY)

    def test_weekly_outside_of_its_window(self, cadence: Callable[..., Cadence], closed: list[str], host: Any) -> None:
        """C5: what disrupts is skipped and says when it may begin; the rest is done."""
        before = self.started(host)
        weekly = cadence("weekly", "--limit", self.HOST, *closed)
        skipped = {each["stage"]: each["summary"] for each in weekly.outcomes() if each["status"] == "skipped"}
        assert set(skipped) >= set(self.GATED)
        assert all("2099-01-01" in skipped[stage] for stage in self.GATED), skipped
        assert self.started(host) == before
        self.well(weekly, "health", "log_scan", "verify")

    def test_weekly(self, cadence: Callable[..., Cadence], host: Any) -> None:
        """C2: restore test, databases kept in shape, security updates, restart."""
        before, version = self.started(host), host.file("/opt/lab-library/version")
        planned = cadence("weekly", "--limit", self.HOST, "-e", "runbooks_now=true", "--check")
        assert (planned.returncode, self.started(host), version.content_string) == (0, before, "1.0\n"), planned.output
        weekly = cadence("weekly", "--limit", self.HOST, "-e", "runbooks_now=true")
        self.well(weekly, "health", "log_scan", "secret_scan", "verify", "vacuum", "patching", "service_restart")
        assert version.content_string == "1.1\n"
        assert self.started(host) != before

    def test_monthly(self, cadence: Callable[..., Cadence], host: Any) -> None:
        """C3: a full backup whatever the age of the last one, and all copies restored; audits, configuration."""
        newest = "find /var/backups/sre-runbooks -name '*.manifest.json' -printf '%T@\\n' | sort -n | tail -n 1"
        before = float(host.check_output(newest))
        monthly = cadence("monthly", "--limit", self.HOST, "-e", "runbooks_now=true")
        self.well(monthly, "health", "secret_scan", "security_audit", "preflight", "backup", "verify", "archive")
        assert float(host.check_output(newest)) > before
