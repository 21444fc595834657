# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.health_check and the role sre.runbooks.health as users run them: through Ansible, on localhost."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

CHECKOUT = Path(__file__).resolve().parents[3]
SECRETS = {
    "postgresql_password": "geheim-one-0123456789",
    "redis_password": "geheim-two-0123456789",
    "api_key": "geheim-three-0123456789",
    "body_secret": "geheim-four-0123456789",
}


@pytest.fixture
def ansible(tmp_path):
    """Run a program of Ansible against localhost; return its output, both streams."""
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {localhost: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}}}"
    )
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }

    def go(program, *arguments, status=0):
        done = subprocess.run(
            [Path(sys.executable).parent / program, "-i", tmp_path / "hosts.yml", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    return go


@pytest.fixture
def module(ansible, tmp_path):
    """Call the module ad hoc; return its result."""

    def go(*flags, status=0, **options):
        options = {"state_dir": str(tmp_path / "state"), **options}
        output = ansible(
            "ansible", "localhost", "-m", "sre.runbooks.health_check", "-a", json.dumps(options), *flags, status=status
        )
        return json.loads(re.split(r"localhost \| \w+!? => ", output)[1])

    return go


@pytest.fixture
def role(ansible, tmp_path):
    """Run the role with `variables` in a play that shows the result afterwards; return (result, output)."""

    def go(*flags, **variables):
        tasks = [
            {"ansible.builtin.debug": {"msg": "RESULT={{ health_result | default({}) | to_json | b64encode }}="}},
        ]
        play = {"hosts": "all", "gather_facts": False, "roles": ["sre.runbooks.health"], "post_tasks": tasks}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        (tmp_path / "vars.json").write_text(json.dumps({"runbooks_state_dir": str(tmp_path / "state"), **variables}))
        output = ansible("ansible-playbook", tmp_path / "play.yml", "-e", f"@{tmp_path}/vars.json", *flags)
        (encoded,) = re.findall(r"RESULT=([A-Za-z0-9+/]+)", output)
        return json.loads(base64.b64decode(encoded + "==")), output

    return go


# `for` with a bound that is always past
LONG = {"name": "cpu", "type": "cpu", "warning": ">= 0 for 1s"}


def tree(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in Path(folder).rglob("*"))


def test_pending_then_warning_over_two_runs_and_nothing_kept_in_check_mode(module, tmp_path):
    checked = module("--check", checks=[LONG])
    assert (checked["changed"], checked["status"], checked["outcomes"][0]["pending"]) == (False, "ok", True)
    assert not (tmp_path / "state").exists()

    first = module(checks=[LONG])
    assert (first["changed"], first["status"], first["outcomes"][0]["pending"]) == (False, "ok", True)
    assert (tmp_path / "state/health.json").stat().st_mode & 0o777 == 0o600

    time.sleep(1.1)
    before = tree(tmp_path / "state")
    checked = module("--check", checks=[LONG])
    assert (checked["changed"], checked["status"]) == (False, "warning")
    second = module(checks=[LONG])
    assert (second["changed"], second["status"]) == (False, "warning")
    assert "pending" not in second["outcomes"][0]
    assert second["outcomes"][0]["summary"].startswith("cpu_percent is ")
    assert ">= 0 for 1s" in second["outcomes"][0]["summary"]
    assert tree(tmp_path / "state") == before


def test_the_textfile_is_whole_and_not_written_in_check_mode(module, tmp_path):
    (tmp_path / "textfile").mkdir()
    checks = [{"name": 'a "quoted"\nname', "type": "file", "path": "/etc/passwd"}]
    module("--check", checks=checks, textfile_dir=str(tmp_path / "textfile"))
    assert list((tmp_path / "textfile").iterdir()) == []
    assert module(checks=checks, textfile_dir=str(tmp_path / "textfile"))["changed"] is False
    (path,) = (tmp_path / "textfile").iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("sre_runbooks_health.prom", 0o644)
    found = {
        (sample.name, sample.labels.get("subject")): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }
    assert found["sre_runbooks_status", 'file:a "quoted"\nname'] == 0
    assert found["sre_runbooks_size_bytes", 'file:a "quoted"\nname'] == Path("/etc/passwd").stat().st_size
    assert abs(found["sre_runbooks_last_run_timestamp_seconds", None] - time.time()) < 600


def test_a_mistake_fails_the_task_with_the_message_alone(module):
    result = module(status=2, checks=[{"name": "load", "type": "cpu", "warning": "much"}])
    assert result["msg"].startswith("checks[0] (load).cpu_percent.warning: 'much' is no threshold. Write a comparison")
    assert result["changed"] is False


def test_every_type_is_shipped_to_the_host(module, tmp_path):
    types = {
        "backup": {"directory": str(tmp_path)}, "cpu": {"warning": "> 100"}, "disk": {"warning": "> 100", "metrics": {"full_in_seconds": {"warning": "< 0"}}},
        "file": {"path": "/etc/passwd"}, "http": {"url": "http://127.0.0.1:1/"}, "memory": {"warning": "> 100"},
        "port": {"port": 1, "state": "closed"}, "postgresql": {"connection": {"host": "127.0.0.1", "port": 1}},
        "process": {"pattern": "."}, "redis": {"connection": {"port": 1}}, "service": {"units": ["nosuch.service"]},
        "sqlite": {"path": "/nowhere"}, "mysql": {"connection": {"port": 1}}, "migrations": {"directory": str(tmp_path / "none")},
        "environment": {"program": "sh", "arguments": ["-c", "echo 1.2"], "minimum_version": "1"},
        "log_freshness": {"path": "/nowhere", "warning": "> 1h"}, "containers": {"names": ["nosuch"]},
        "packages": {"warning": "> 100000"},
    }  # fmt: skip
    result = module(checks=[{"name": kind, "type": kind, **options} for kind, options in types.items()])
    seen = {each["details"]["type"]: each["status"] for each in result["outcomes"]}
    # What these find depends on the machine.
    assert seen.pop("service") in ("unknown", "critical")
    assert seen.pop("containers") in ("unknown", "critical")
    assert seen.pop("packages") in ("ok", "unknown", "warning")
    assert seen.pop("migrations") == "unknown"
    assert seen == {
        **dict.fromkeys(["cpu", "disk", "environment", "file", "memory", "port", "process"], "ok"),
        **dict.fromkeys(["backup", "http", "log_freshness", "mysql", "postgresql", "redis", "sqlite"], "critical"),
    }


# --- The role --------------------------------------------------------------------------------------------------------


def test_the_role_joins_all_lists_and_templates_their_values(role, tmp_path):
    result, output = role(
        folder="/etc",
        runbooks_checks_base=[{"name": "passwd", "type": "file", "path": "{{ folder }}/passwd"}],
        runbooks_checks_api=[
            {"name": "api", "type": "port", "port": "{{ 0 + 1 }}", "state": "closed"},
            "{{ {'name': 'made', 'type': 'file', 'path': folder ~ '/none*', 'metrics': {'files': {'warning': '> 9'}}} }}",
        ],
        runbooks_checks_none=[],
        runbooks_textfile_dir=str(tmp_path),
    )
    assert [each["subject"] for each in result["outcomes"]] == ["port:api", "file:made", "file:passwd"]
    assert result["status"] == "ok"
    assert re.search(r"localhost +: ok=\d+ +changed=0 +unreachable=0 +failed=0 ", output)
    assert (tmp_path / "sre_runbooks_health.prom").exists()


def test_a_finding_does_not_fail_the_role_and_a_second_run_changes_nothing(role):
    for _time in range(2):
        result, output = role(runbooks_checks_base=[{"name": "down", "type": "port", "port": 1}])
        assert (result["status"], result["changed"]) == ("critical", False)
        assert re.search(r"changed=0 +unreachable=0 +failed=0 ", output)


def test_checks_that_cannot_be_read_fail_the_stage_but_keep_the_host_in_the_play(role):
    result, output = role(runbooks_checks_base=[{"name": "x", "type": "astrology"}])
    assert result["failed"] is True
    assert "health could not be checked: checks[0] (x).type: 'astrology' is no check type." in output
    assert re.search(r"failed=0 +skipped=\d+ +rescued=1 ", output)


def test_without_checks_the_role_does_nothing(role):
    result, output = role()
    assert result.get("outcomes") is None
    assert re.search(r"failed=0 ", output)


# --- Secrets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret_checks(postgresql_server, redis_server, app, hanging):
    """Checks with secrets that are right, wrong, and sent to servers that hang or refuse."""
    postgresql = {"host": "127.0.0.1", "password": "{{ postgresql_password }}"}
    redis = {"password": "{{ redis_password }}"}
    http = {
        "headers": {"Authorization": "Bearer {{ api_key }}"},
        "body": {"secret": "{{ body_secret }}"},
        "method": "POST",
    }
    ports = {"wrong": postgresql_server.port, "hangs": hanging, "refused": 1}
    return [
        *[
            {"name": f"pg {name}", "type": "postgresql", "timeout": "2s", "connection": {**postgresql, "port": port}}
            for name, port in ports.items()
        ],
        *[
            {"name": f"redis {name}", "type": "redis", "timeout": "2s", "connection": {**redis, "port": port}}
            for name, port in {**ports, "wrong": redis_server.port}.items()
        ],
        {"name": "refused", "type": "http", "url": "http://127.0.0.1:1/", **http},
        {"name": "answered", "type": "http", "url": f"{app.url}/admin/sick", **http},
        {"name": "refused", "type": "metrics", "url": "http://127.0.0.1:1/", "headers": http["headers"]},
        {"name": "answered", "type": "metrics", "url": f"{app.url}/nowhere", "headers": http["headers"]},
        {"name": "refused", "type": "prometheus", "url": "http://127.0.0.1:1", "query": "up", "warning": "> 1",
         "headers": http["headers"]},
        {"name": "told", "type": "command", "argv": ["sh", "-c", "echo $KEY; echo $KEY; echo $KEY >&2; exit 2"],
         "environment": {"KEY": "{{ api_key }}"}},
    ]  # fmt: skip


def test_secrets_appear_nowhere_in_the_output_of_vvvv_nor_in_files(role, secret_checks, tmp_path):
    result, output = role("-vvvv", runbooks_checks_all=secret_checks, runbooks_textfile_dir=str(tmp_path), **SECRETS)
    assert len(result["outcomes"]) == len(secret_checks)
    assert {each["status"] for each in result["outcomes"]} == {"critical"}
    assert_no_secret(output, tmp_path)


def test_secrets_appear_nowhere_when_the_options_are_wrong(role, secret_checks, tmp_path):
    wrong = [*secret_checks, {"name": "x", "type": "redis", "connection": {"pasword": "{{ redis_password }}"}}]
    result, output = role("-vvvv", runbooks_checks_all=wrong, **SECRETS)
    assert "unknown option connection.pasword" in result["msg"]
    assert_no_secret(output, tmp_path)


def assert_no_secret(output, folder):
    for name, secret in SECRETS.items():
        assert secret not in output, name
        told = [path for path in folder.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]
        assert told == [folder / "vars.json"], name


SYSLOG = """
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
with open(sys.argv[1], "ab", buffering=0) as log:
    while True:
        log.write(server.recv(1 << 20) + b"\\n")
"""


def test_secrets_are_not_written_to_the_host_s_syslog(run_in_namespace, tmp_path):
    """A log daemon of its own on /dev/log, in a mount namespace."""
    log, old = tmp_path / "syslog", tmp_path / "dev"
    lines = f"""
        mkdir {old}
        mount --rbind /dev {old}
        mount -t tmpfs none /dev
        for each in null zero random urandom; do : >/dev/$each; mount --bind {old}/$each /dev/$each; done
        setpriv --pdeathsig KILL {sys.executable} -c '{SYSLOG}' {log} >/dev/null 2>&1 &
        for each in $(seq 100); do [ -S /dev/log ] || sleep 0.1; done
        {sys.executable} -c 'import syslog; syslog.syslog("the log daemon listens")'
    """
    checks = [
        {"name": "cache", "type": "redis", "connection": {"port": 1, "password": SECRETS["redis_password"]}},
        {"name": "api", "type": "http", "url": "http://127.0.0.1:1/", "headers": {"X-Key": SECRETS["api_key"]}},
    ]
    assert len(run_in_namespace(lines, *checks)) == 2
    text = log.read_text()
    assert "the log daemon listens" in text
    assert not [secret for secret in SECRETS.values() if secret in text]
