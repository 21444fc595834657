# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets stay inside (K4): known values in every secret option of all modules and roles, of which none may be seen anywhere.

Real servers take some of them and refuse others, for both is told. The values stand in the variables of the host, as in a vault.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from . import calls

CHECKOUT = Path(__file__).resolve().parents[3]
# Playbooks whose roles hand on what stands in the inventory, in this order: what the first copies, others verify and restore.
PLAYBOOKS = ("daily", "backup_verify", "database_maintenance", "migration", "preflight", "restore", "rotate_keys")
# All modules are built by the same function: some stand for all of them.
MISSPELT = ("health_check", "migration", "restore")
PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, name varchar(20), born timestamp)"


class Watch:
    """While it is entered: command lines of all processes, and what lies in some folders, as often as can be."""

    def __init__(self, *folders):
        self.folders, self.lines, self.files, self.samples = folders, set(), {}, 0
        self._over = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_ignored):
        self._over.set()
        self._thread.join()

    def _sample(self):
        while not self._over.wait(0.1):
            self.samples += 1
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.lines.add(process.read_bytes())
            for path in self._below():
                with contextlib.suppress(OSError):
                    if path.is_file() and path.stat().st_size < 1 << 20:
                        self.files.setdefault(path, set()).add(path.read_bytes())

    def _below(self):
        """Files of the folders; they may go while they are listed."""
        for folder in self.folders:
            for parent, _folders, names in os.walk(folder):
                yield from (Path(parent, name) for name in names)


@pytest.fixture(scope="module")
def place(tmp_path_factory, postgresql_server, mariadb_server, redis_server):
    """Servers that canaries open: users of their own for as long as the tests of this file run."""
    folder = tmp_path_factory.mktemp("canaries")
    passwords = {name: calls.canary(f"{name}-right") for name in ("postgresql", "mysql", "redis")}
    postgresql = postgresql_server.create_database("canaries")
    postgresql_server.psql(f"CREATE ROLE canaries LOGIN SUPERUSER PASSWORD '{passwords['postgresql']}'")
    postgresql_server.psql(PEOPLE, postgresql)
    mysql = mariadb_server.create_database("canaries")
    mariadb_server.sql(f"GRANT ALL ON *.* TO canaries@'%' IDENTIFIED BY '{passwords['mysql']}'; {PEOPLE};", mysql)
    redis_server.command("ACL", "SETUSER", "canaries", "on", f">{passwords['redis']}", "~*", "&*", "+@all")
    user = {"user": "canaries"}
    try:
        with Process(folder / "application", rate_limit=1_000_000) as application:
            yield calls.Place(
                str(folder), application.url, application.token,
                {"host": postgresql_server.host, "port": postgresql_server.port, "database": postgresql, **user, "password": passwords["postgresql"]},
                {"host": mariadb_server.host, "port": mariadb_server.port, "database": mysql, **user, "password": passwords["mysql"]},
                {"host": redis_server.host, "port": redis_server.port, **user, "password": passwords["redis"]}, 1,
            )  # fmt: skip
    finally:
        redis_server.command("ACL", "DELUSER", "canaries")
        mariadb_server.sql("DROP USER canaries@'%'")
        mariadb_server.sql(f"DROP DATABASE `{mysql}`")
        postgresql_server.psql(f'DROP DATABASE "{postgresql}" WITH (FORCE)')
        postgresql_server.psql("DROP ROLE canaries")


class Vault:
    """Takes the canaries out of arguments and puts the names of variables in their place."""

    def __init__(self, place):
        self.values, self._known = {}, {place.token: "token"}
        self.values["token"] = place.token

    def hide(self, given):
        if isinstance(given, dict):
            return {name: self.hide(value) for name, value in given.items()}
        if isinstance(given, (list, tuple)):
            return [self.hide(value) for value in given]
        if not isinstance(given, str):
            return given
        for secret, name in self._known.items():
            given = given.replace(secret, f"{{{{ vault.{name} }}}}")
        if calls.CANARY in given:
            name = f"v{len(self.values)}"
            self._known[given], self.values[name] = name, given
            given = f"{{{{ vault.{name} }}}}"
        return given


def written(place):
    """Write playbook and inventory; return their paths and all values that may not be seen."""
    folder, vault = Path(place.folder), Vault(place)
    (folder / "program.env").write_text(
        "".join(f"{name}={value}\n" for name, value in calls.program_file(place).items())
    )
    (folder / "one.env").write_text(f"ONE={calls.canary('before')}\n")
    (folder / "bad.json").write_text('{"a": {"b": "%s"' % calls.canary("in-bad-json"))  # noqa: UP031 - braces
    (folder / "people.csv").write_text("id,name,born\n1,Ana,2020-01-01 00:00:00\n")
    for name in ("state", "textfile", "backups", "tmp"):
        (folder / name).mkdir()
    made = [(f"sre.runbooks.{module}", vault.hide(arguments)) for module, arguments in calls.calls(place)]
    tasks = []
    for number, (name, arguments) in enumerate(made):
        module = name.rpartition(".")[2]
        given = [] if module in calls.BY_ROLES or arguments.get("stage") in calls.STAGES_BY_ROLES else [arguments]
        if module in MISSPELT:
            # A module that refuses an option has not read those of the others.
            given.append({**arguments, "misspelt": 1})
        for each in given:
            task = {"name": f"{name} {number}", name: each, "ignore_errors": True, "diff": True}
            tasks.append({**task, "no_log": True} if "values" in arguments else task)
    playbook = folder / "modules.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    inherited = {
        "runbooks_checks_all": calls.checks(place), "runbooks_databases_all": calls.sources(place),
        "runbooks_keys_all": [each for each in calls.keys(place) if "provider" in each],
        "runbooks_restic": calls.restic(place), "backup_restic": calls.restic(place),
        "runbooks_migrations_all": [{"name": "mcp", "directory": place.folder, "command": ["false"], "database": "postgresql_right"}],
        "runbooks_archives_all": [{**each, "table": "people", "column": "born", "older_than": "90d"} for each in calls.databases(place)],
    }  # fmt: skip
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "runbooks_system": "F11", "report_fail_on": "never",
        "runbooks_history_url": f"sqlite:///{folder}/history.db", "report_directory": str(folder / "reports"),
        "runbooks_state_dir": str(folder / "state"), "runbooks_textfile_dir": str(folder / "textfile"),
        "backup_directory": str(folder / "backups"), "key_rotation_force": ["by_http"], "restore_confirmed": True,
        **vault.hide(inherited), "vault": vault.values,
    }  # fmt: skip
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"host1": {}}, "vars": variables}}))
    files = (*calls.program_file(place).values(), calls.canary("before"), calls.canary("in-bad-json"))
    return playbook, inventory, {*vault.values.values(), *files}


@pytest.fixture(scope="module")
def run(place):
    """Everything run once as verbosely as can be; what was printed, what was watched, which values it must not have."""
    folder = Path(place.folder)
    playbook, inventory, values = written(place)
    environment = {
        **os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"), "TMPDIR": str(folder / "tmp"),
        # Without it Ansible itself puts a module's arguments into a file of the host for as long as the module runs.
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections"), "HOME": str(folder / "home"),
    }  # fmt: skip
    (folder / "home").mkdir()
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")), "-vvvv", "--diff", "-i", str(inventory),
        *(f"sre.runbooks.{name}" for name in PLAYBOOKS), str(playbook),
    ]  # fmt: skip
    began = time.monotonic()
    with Watch(folder / "tmp", folder / "state", folder / "backups") as watch:
        done = subprocess.run(
            argv, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=600
        )
    print(f"{time.monotonic() - began:.0f} s, {watch.samples} samples")
    return done.stdout + done.stderr, watch, values


def test_everything_was_run_and_told(run, place):
    """A run that stops at its first task would hide all secrets."""
    told, watch, _values = run
    assert told.count("PLAY RECAP") == 1 + len(PLAYBOOKS), told[-5000:]
    for module, _arguments in calls.calls(place):
        assert f"TASK [sre.runbooks.{module} " in told or module in calls.BY_ROLES, module
    for words in ("authentication failed", "Access denied", "WRONGPASS", "it is ********"):
        assert words in told, words
    assert watch.samples > 20
    assert any(b"pg_dump" in line for line in watch.lines)


def test_no_secret_is_printed(run):
    told, _watch, values = run
    assert not {value: told[told.index(value) - 300 : told.index(value) + 100] for value in values if value in told}


def test_no_secret_is_in_a_file_or_in_a_list_of_processes(run, place):
    """History, reports, state, metrics of the textfile collector, copies' manifests, logs, what was left or lay for a moment in temporary folders."""
    _told, watch, values = run
    folder = Path(place.folder)
    belongs = {folder / "inventory.json", folder / "one.env", folder / "program.env", folder / "bad.json"}
    # What can be taken back lies beside its file until it is proven, for its owner alone.
    previous = folder / "one.env.previous"
    assert previous.stat().st_mode & 0o777 == 0o600
    belongs.add(previous)
    seen = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path not in belongs}
    # What a service keeps of itself is its own.
    seen = {name: content for name, content in seen.items() if not name.startswith(f"{folder}/application/")}
    # What switches maintenance mode off outlives its run, in a file for its owner alone (test_maintenance.py) that the end of the lease removes.
    lease = f"{folder}/state/maintenance/"
    passing = {path: texts for path, texts in watch.files.items() if not str(path).startswith(lease)}
    seen |= {f"{path} for a moment": b"\n".join(texts) for path, texts in passing.items()}
    seen |= {f"process {number}": line for number, line in enumerate(watch.lines)}
    found = {(value, name) for value in values for name, content in seen.items() if value.encode() in content}
    assert not found
    assert [name for name in seen if name.endswith((".prom", "history.db", ".html"))]
