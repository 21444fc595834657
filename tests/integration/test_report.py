# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""record and report in real playbook runs: local hosts, one that is dead, one whose stage fails (C1, R1, R4, R5)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.test import reachable

COLLECTIONS = Path(reachable.__file__).parents[4]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

# Stands for the module of any stage: returns what it is told to.
STAGE = """
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec={"result": {"type": "dict"}, "fail": {"type": "str"}}, supports_check_mode=True)
    if module.params["fail"]:
        module.fail_json(msg=module.params["fail"])
    module.exit_json(changed=False, **module.params["result"])

main()
"""

INVENTORY = """
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{python}"
    trap: "{{{{ lookup('ansible.builtin.pipe', 'touch {folder}/templated') }}}}"
  children:
    feature11:
      vars: {{runbooks_system: F11}}
      hosts:
        f11-app: {{disk: critical}}
        f11-dead: {{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}
    ghosteam:
      vars: {{name_of_system: GHO, runbooks_system: "{{{{ name_of_system }}}}"}}
      hosts:
        gho-db: {{}}
        gho-ml: {{trouble: "another run holds the lock"}}
"""

PLAYBOOK = """
- name: Stages
  hosts: "{{ runbooks_hosts | default('all') }}"
  gather_facts: false
  ignore_unreachable: true
  serial: "{{ batch | default(0) }}"
  tasks:
    - name: Health
      tags: [health]
      block:
        - name: Check
          when: inventory_hostname is sre.runbooks.reachable(hostvars)
          register: health_result
          stage:
            result:
              outcomes:
                - {subject: "disk:/", stage: health, status: "{{ disk | default('ok') }}", summary: "used 97 %", metrics: {used_percent: 97}}
                - {subject: "evil", stage: health, status: ok, summary: "{{ '{{' }} lookup('ansible.builtin.pipe', 'touch FOLDER/templated') {{ '}}' }}"}
      rescue:
        - name: Go on
          ansible.builtin.debug:
            msg: rescued
    - name: Backup
      tags: [backup]
      when: not (backup_off | default(false))
      block:
        - name: Back up
          when: inventory_hostname is sre.runbooks.reachable(hostvars)
          register: backup_result
          stage:
            fail: "{{ trouble | default('') }}"
            result: {outcomes: [{subject: "sqlite:app", stage: backup, status: ok, summary: "1.2 MB"}]}
      rescue:
        - name: Go on
          when: unrescued is not defined
          ansible.builtin.debug:
            msg: rescued
        - name: Leave the play
          when: unrescued is defined
          ansible.builtin.fail:
            msg: a role that was badly parametrised

- name: Report
  hosts: "{{ runbooks_hosts | default('all') }}"
  gather_facts: false
  tags: [always]
  roles:
    - role: sre.runbooks.report
      run_once: true
  vars:
    report_stages: [health, backup]
"""


@dataclasses.dataclass
class Result:
    """One run of ansible-playbook."""

    rc: int
    output: str

    def recap(self) -> dict[str, dict[str, int]]:
        found = re.findall(r"^(\S+) +: (ok=.*)$", self.output, re.MULTILINE)
        return {host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text)} for host, text in found}


class Project:
    """A folder with inventory and playbook, with its own home, so that the defaults of the role are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "library").mkdir()
        (folder / "library" / "stage.py").write_text("#!/usr/bin/python\nfrom __future__ import annotations\n" + STAGE)
        (folder / "hosts.yml").write_text(INVENTORY.format(python=sys.executable, folder=folder))
        (folder / "daily.yml").write_text(PLAYBOOK.replace("FOLDER", str(folder)))
        (folder / "secret.yml").write_text(
            "runbooks_history_url: postgresql://runbooks:topsecret@127.0.0.1:1/history\n"
        )
        (folder / "ansible.cfg").write_text("[defaults]\nhost_key_checking = false\n")

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "sre-runbooks"

    @property
    def history(self) -> History:
        return History(f"sqlite:///{self.state}/history.db")

    def document(self) -> dict:
        with (self.state / "reports" / "daily_latest.json").open(encoding="utf-8") as stream:
            return json.load(stream)

    def run(self, *arguments: str, playbook: str = "daily.yml", **environment: str) -> Result:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "COLUMNS", "NO_COLOR"))
        }
        settings = {
            "HOME": str(self.home),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
        }
        argv = [str(ANSIBLE_PLAYBOOK), "-i", str(self.folder / "hosts.yml"), playbook, *arguments]
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**kept, **settings, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Result(done.returncode, done.stdout)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def rows(document):
    """Host, stage, subject and status of whatever is not ok."""
    return sorted(
        (host["name"], each["stage"], each["subject"], each["status"])
        for system in document["systems"]
        for host in system["hosts"]
        for each in host["outcomes"]
        if each["status"] != "ok"
    )


def test_a_run_is_recorded_reported_and_judged(project):
    result = project.run()
    assert result.rc == 2, result.output
    document = project.document()
    assert rows(document) == [
        ("f11-app", "health", "disk:/", "critical"),
        ("f11-dead", "roll_call", "host", "critical"),
        ("gho-ml", "roll_call", "backup", "critical"),
    ]
    assert document["schema"] == "sre.runbooks.report/1"
    assert {system["name"] for system in document["systems"]} == {"F11", "GHO"}
    assert (document["roll_call"]["expected"], document["roll_call"]["answered"]) == (4, 3)
    stored = project.history.find()
    assert (
        stored.columns["status"],
        stored.columns["hosts"],
        stored.columns["answered"],
        stored.columns["critical"],
    ) == ("critical", 4, 3, 3)
    assert rows(
        {"systems": [{"hosts": [dataclasses.asdict(host) for host in project.history.load(stored).hosts]}]}
    ) == rows(document)
    assert 0 < document["run"]["duration_seconds"] < 120
    # The table is plain lines, in order, followed by the judgement.
    for line in (
        "daily: CRITICAL",
        "critical f11-app ",
        "Roll-call: 3 of 4 hosts answered",
        "(report_fail_on: critical)",
    ):
        assert line in result.output
    assert f"Report: {project.state}/reports/daily_{stored.id}.html" in result.output
    assert "\x1b[" not in result.output
    table = result.output[result.output.index("daily: CRITICAL") : result.output.index("Report: ")]
    assert max(map(len, table.splitlines())) <= 100
    # What hosts and inventory say is never templated.
    assert not (project.folder / "templated").exists()
    assert all(each["changed"] == 0 for each in result.recap().values())


def test_a_dead_host_costs_one_attempt_and_the_report_connects_nowhere(project):
    result = project.run("--limit", "f11-dead")
    assert result.rc == 2
    assert result.output.count("UNREACHABLE!") == 1
    assert rows(project.document()) == [("f11-dead", "roll_call", "host", "critical")]
    assert result.recap()["f11-dead"]["ignored"] == 1


def test_limit_and_tags_decide_what_is_expected(project):
    result = project.run("--limit", "ghosteam", "--tags", "health")
    assert result.rc == 0, result.output
    document = project.document()
    assert document["run"]["stages"] == ["health"]
    assert document["roll_call"] == {"expected": 2, "answered": 2, "missing": []}
    assert document["status"] == "ok"
    assert project.run("--limit", "ghosteam", "--skip-tags", "backup").rc == 0


def test_a_stage_that_was_left_out_on_purpose_is_skipped(project):
    assert project.run("--limit", "gho-db", "-e", "backup_off=true").rc == 0
    assert rows(project.document()) == [("gho-db", "backup", "backup", "skipped")]


def test_check_mode_shows_the_table_and_writes_nothing(project):
    assert project.run().rc == 2
    before = _tree(project.home)
    result = project.run("--check")
    assert result.rc == 2
    assert "check mode, nothing recorded" in result.output
    assert "critical f11-app " in result.output
    assert _tree(project.home) == before
    shutil.rmtree(project.home)
    project.run("--check")
    assert not project.state.exists()


def test_batches_are_one_run(project):
    result = project.run("-e", "batch=1")
    assert result.rc == 2
    assert len(project.history.recent(project.history.find())) == 1
    assert project.document()["roll_call"]["expected"] == 4


def test_a_host_that_left_the_play_still_counts(project):
    result = project.run("-e", "unrescued=true", "--limit", "ghosteam")
    assert result.rc == 2
    assert rows(project.document()) == [("gho-ml", "roll_call", "backup", "critical")]


def test_stages_that_nobody_ran_are_missed(project):
    result = project.run("--limit", "gho-db", "-e", '{"report_stages": ["health", "backup", "log_cleanup"]}')
    assert result.rc == 2
    assert rows(project.document()) == [("gho-db", "roll_call", "log_cleanup", "critical")]


@pytest.mark.parametrize(
    ("fail_on", "status", "rc"),
    [
        ("never", "critical", 0),
        ("critical", "warning", 0),
        ("warning", "warning", 2),
        ("unknown", "unknown", 2),
        ("unknown", "skipped", 0),
    ],
)
def test_report_fail_on_decides_the_exit_status(project, fail_on, status, rc):
    result = project.run(
        "--limit",
        "gho-db",
        "-e",
        f"disk={status}",
        "-e",
        f"report_fail_on={fail_on}",
        "-e",
        '{"report_formats": ["json"]}',
    )
    assert result.rc == rc, result.output
    assert project.document()["status"] == status
    assert not list((project.state / "reports").glob("*.html"))
    assert "Roll-call" not in result.output


def test_a_second_run_knows_the_first_and_old_runs_can_be_reported_again(project):
    assert project.run().rc == 2
    first = project.history.find()
    assert project.run("-e", "disk=ok").rc == 2
    document = project.document()
    assert [each["run"] for each in document["history"]] == [first.id, document["run"]["id"]]
    assert [(each["host"], each["subject"]) for each in document["resolved"]] == [("f11-app", "disk:/")]
    dead = [each for each in document["roll_call"]["missing"] if each["host"] == "f11-dead"]
    assert dead[0]["since"] == first.columns["started"]
    shutil.rmtree(project.state / "reports")
    again = project.run(playbook="sre.runbooks.report")
    assert again.rc == 0, again.output
    assert project.document() == document
    old = project.run("-e", f"runbooks_run={first.id}", playbook="sre.runbooks.report")
    assert old.rc == 0, old.output
    assert (project.state / "reports" / f"daily_{first.id}.html").is_file()
    assert project.document() == document
    missing = project.run("-e", "runbooks_run=2020", playbook="sre.runbooks.report")
    assert missing.rc == 2
    assert "holds no run '2020'" in missing.output


def test_postgresql_keeps_the_history_and_its_password_is_not_shown(project, postgresql_server, postgresql_database):
    url = postgresql_server.url(postgresql_database)
    result = project.run("-vvv", "-e", f"runbooks_history_url={url}", "--limit", "gho-db")
    assert result.rc == 0, result.output
    assert postgresql_server.psql("SELECT host, status, ok FROM host_runs", postgresql_database) == "gho-db|ok|3"
    assert not (project.state / "history.db").exists()
    shown = "\n".join(line for line in result.output.splitlines() if "runbooks_history_url=" not in line)
    assert postgresql_server.password not in shown
    wrong = project.run(
        "-vvv", "-e", "runbooks_history_url=postgresql://postgres:wr0ngsecret@127.0.0.1:1/x", "--limit", "gho-db"
    )
    assert wrong.rc == 2
    assert "history_url: postgresql://postgres:***@127.0.0.1:1/x cannot be used" in wrong.output
    shown = "\n".join(line for line in wrong.output.splitlines() if "runbooks_history_url=" not in line)
    assert "wr0ngsecret" not in shown


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("report_fail_on=sometimes", "value of report_fail_on must be one of: never, unknown, warning, critical"),
        ('{"report_formats": ["pdf"]}', "value of report_formats must be one or more of: table, json, html"),
        ("report_history_url=mysql://host/x", "history_url: mysql://host/x is of the kind 'mysql'"),
        (
            "report_history_url=sqlite:////proc/nothing/history.db",
            "history_url: sqlite:////proc/nothing/history.db cannot be used",
        ),
        (
            "report_directory=/proc/nothing report_history_url=sqlite:///history.db",
            "directory: '/proc/nothing' cannot hold the report",
        ),
    ],
)
def test_wrong_settings_are_named(project, setting, message):
    result = project.run("--limit", "gho-db", "-e", setting, "-e", "@secret.yml")
    assert result.rc == 2
    assert message in result.output.replace('\\"', '"')
    assert "topsecret" not in result.output


def test_the_table_takes_the_width_and_colours_of_the_terminal(project):
    """Under script(1) there is a terminal: colours appear, unless NO_COLOR forbids them."""
    script = shutil.which("script")
    assert script, "the program script is missing: install the package bsdutils"
    command = f"stty cols 70; {ANSIBLE_PLAYBOOK} -i hosts.yml daily.yml --limit f11-dead"
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "COLUMNS", "NO_COLOR"))
        },
        "HOME": str(project.home),
        "TERM": "xterm",
        "ANSIBLE_CONFIG": str(project.folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent),
    }
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        done = subprocess.run(
            [script, "-qec", command, "/dev/null"],
            cwd=project.folder,
            env={**environment, **extra},
            text=True,
            capture_output=True,
            check=False,
        )
        table = done.stdout[done.stdout.index("daily: CRITICAL") : done.stdout.index("Roll-call")]
        assert ("\x1b[" in table) is coloured
        lines = re.sub(r"\x1b\[[0-9;]*m", "", table).splitlines()
        assert 60 < max(map(len, lines)) <= 70


def _tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Paths below a folder with mode and digest; what ansible-core keeps for itself does not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if ".ansible" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = (path.lstat().st_mode, content)
    return found


def test_the_history_of_a_run_is_readable_with_plain_sql(project):
    project.run()
    engine = sqlalchemy.create_engine(f"sqlite:///{project.state}/history.db")
    with engine.connect() as connection:
        query = "SELECT host, stage, subject, status FROM outcomes WHERE status <> 'ok' ORDER BY host"
        assert [tuple(row) for row in connection.execute(sqlalchemy.text(query))] == rows(project.document())
