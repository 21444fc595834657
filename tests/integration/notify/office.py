# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action's work called in this process, with contacts, a history store and a clock of its own; or a whole playbook run."""

from __future__ import annotations

import dataclasses
import datetime
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify import Notifier, Request
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import chosen, read_contacts
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_ledger import Ledger
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import of_incident, of_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_page import read_options
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run
from ansible_collections.sre.runbooks.plugins.test import reachable

COLLECTIONS = Path(reachable.__file__).parents[4]
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/CANARYslackTokenAbcdefgh1/"
PAGERDUTY = "pagerduty://CANARYintegrationKey01@CANARYapiKey0001?region=us"
CANARIES = (
    "CANARYslackTokenAbcdefgh1",
    "CANARYintegrationKey01",
    "CANARYapiKey0001",
    "CANARYmailPassword",
    "CANARYwebhook",
)
START = datetime.datetime(2026, 11, 21, 9, 0, tzinfo=datetime.UTC)


def mail_url(port: int, password: str = "CANARYmailPassword", mode: str = "starttls") -> str:
    return (
        f"mailtos://runbooks:{password}@127.0.0.1:{port}/?from=runbooks@example.test&to=ops@example.test"
        f"&mode={mode}&smtp=127.0.0.1"
    )


@dataclasses.dataclass
class Office:
    """Contacts, a history store, and a clock of its own."""

    folder: Path
    now: datetime.datetime = START
    wait: float = 15.0

    @property
    def store(self) -> Path:
        return self.folder / "history.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.store}"

    def later(self, **time: float) -> None:
        self.now += datetime.timedelta(**time)

    def run(self, *found: Any, hosts: tuple[str, ...] = ("f11-app",), system: str = "F11") -> Run:
        """Record a daily run in which `hosts` found `found`: (host, subject, status) each."""
        answers = [
            HostAnswer(host, system, True, [outcome("cpu", "health", "ok", "idle"), *_outcomes(host, found)])
            for host in hosts
        ]
        moment = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        made = Run(
            f"{self.now:%Y%m%dT%H%M%SZ}-aaaaaa", "daily", moment, moment, False, "0", ["health", "backup"], answers
        )
        History(self.url).record(made)
        return made

    def tell(self, contacts: list[dict[str, Any]], what: Run | dict[str, Any], **given: Any) -> dict[str, Any]:
        """Tell `contacts` of a run or an incident, with short limits."""
        read = read_contacts(contacts)
        inventory = given.pop("inventory", None)
        settings: dict[str, Any] = {"timeout": 2.0, "time_limit": 12.0, "attempts": 2, "now": self.now}
        settings["page"] = read_options(given.pop("page", {}))
        if "escalate" in given:
            settings["escalated"] = chosen(given.pop("escalate"), read)
        check_mode = given.pop("check_mode", False)
        if isinstance(what, Run):
            hosts = inventory or [host.name for host in what.hosts]
            matters = of_run(what, ["health", "backup"], hosts, given.pop("systems", {}))
            settings |= {"kind": "daily", "run": what.id, "covers": matters[0].covers}
        else:
            matters = [of_incident(what)]
            settings |= {"kind": "incident", "run": matters[0].id}
        request = Request(contacts=read, matters=matters, **{**settings, **given})
        return Notifier(request, Ledger(self.url, self.wait)).run(check_mode)

    def rows(self) -> list[dict[str, Any]]:
        with sqlite3.connect(self.store) as connection:
            connection.row_factory = sqlite3.Row
            return [
                dict(row) for row in connection.execute("SELECT * FROM notifications ORDER BY key, contact, target")
            ]


def _outcomes(host: str, found: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [
        outcome(subject, "health", status, f"{subject} is {status}") for name, subject, status in found if name == host
    ]


def incident(**other: Any) -> dict[str, Any]:
    return {
        "id": "INC-20261121-090000-3f2a", "type": "unresponsive", "severity": "P1", "system": "F11", "hosts": ["f11-app"],
        "summary": "no answer for 5 minutes", "why": "Nobody can log in.", "link": "https://runbooks.example.test/unresponsive",
        "started": "2026-11-21T09:00:00Z", "state": "open", "metadata": {"failure rate": "100 %"}, **other,
    }  # fmt: skip


PLAYBOOK = """
- name: Stages
  hosts: all
  gather_facts: false
  tasks:
    - name: Check
      ansible.builtin.set_fact:
        health_result:
          outcomes:
            - subject: "disk:/"
              stage: health
              status: "{{ disk | default('critical') }}"
              summary: used 97 %, password=CANARYsummary
              metrics: {}
              details: {}

- name: Report
  hosts: all
  gather_facts: false
  roles:
    - role: sre.runbooks.report
      run_once: true
  vars:
    report_stages: [health]
"""


@dataclasses.dataclass
class Project:
    """A folder with a playbook that ends with the role report, with its own home and contacts."""

    folder: Path
    environment: dict[str, str]

    @property
    def state(self) -> Path:
        return self.folder / "home" / ".local" / "state" / "sre-runbooks"

    def run(self, contacts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "contacts.yml").write_text(contacts)
        program = Path(sys.executable).with_name("ansible-playbook")
        argv = [
            str(program),
            "-i",
            "f11-app,",
            "play.yml",
            "-e",
            "@contacts.yml",
            "-e",
            "runbooks_system=F11",
            *arguments,
        ]
        return subprocess.run(
            argv,
            cwd=self.folder,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
                **self.environment,
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )


def make_project(tmp_path: Path) -> Project:
    """Write a playbook, an empty home and an ansible.cfg below `tmp_path`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    return Project(
        tmp_path,
        {
            "HOME": str(tmp_path / "home"),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "False",
        },
    )
