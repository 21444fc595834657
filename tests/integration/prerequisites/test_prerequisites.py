# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role and the playbook sre.runbooks.prerequisites: the packages follow from the inventory (real package manager, check mode)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
POSTGRESQL_CHECK = {"name": "db", "type": "postgresql", "connection": {"database": "{{ system }}"}}
FILES = {"name": "f", "engine": "files", "paths": ["/etc"]}
COMPRESS = {"name": "c", "paths": ["/var/log/app"], "patterns": ["*"], "older_than": "7d", "action": "compress"}


def run(tmp_path, variables, *arguments):
    """Run the playbook against this machine with the host's variables."""
    inventory = tmp_path / "inventory.yml"
    # The system's Python: that one has the bindings of the package manager.
    here = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    inventory.write_text(json.dumps({"all": {"hosts": {"here": here}, "vars": {"system": "mcp", **variables}}}))
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    argv = [str(BIN / "ansible-playbook"), "-i", str(inventory), "sre.runbooks.prerequisites", *arguments]
    if os.geteuid() != 0:
        argv += ["-e", "ansible_become=false"]
    return subprocess.run(argv, cwd=ROOT, env=env, check=False, capture_output=True, text=True)


def packages(tmp_path, variables):
    """The list of packages that the role hands to the package manager."""
    done = run(tmp_path, variables, "--check", "-vvv")
    assert done.returncode == 0, done.stdout + done.stderr
    installed = done.stdout[done.stdout.index("Install what the inventory needs] **") :]
    arguments = installed[installed.index('"module_args": ') + len('"module_args": ') :]
    return json.JSONDecoder().raw_decode(arguments)[0]["name"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"runbooks_checks_a": [{"name": "x", "type": "cpu"}]}, []),
        ({"runbooks_checks_a": [POSTGRESQL_CHECK]}, ["postgresql-client"]),
        ({"runbooks_checks_a": [{**POSTGRESQL_CHECK, "connection": {"container": "db"}}]}, []),
        ({"runbooks_checks_a": [{"name": "r", "type": "redis"}], "runbooks_checks_b": [POSTGRESQL_CHECK]}, ["postgresql-client", "redis-tools"]),
        ({"runbooks_checks_a": [{"name": "t", "type": "tls", "host": "x"}]}, ["openssl"]),
        ({"runbooks_databases_a": [{"name": "d", "engine": "sqlite", "path": "/x"}]}, ["zstd"]),
        ({"runbooks_secrets_a": [{"name": "s", "paths": ["/opt"]}]}, ["python3-venv"]),
        ({"runbooks_secrets_a": [{"name": "s", "paths": ["/opt"]}], "secret_scan_program": "/x"}, []),
        ({"runbooks_audits_a": [{"name": "a", "type": "python_packages"}, {"name": "b", "type": "certificates"}]}, ["openssl", "python3-venv"]),
        ({"runbooks_audits_a": [{"name": "a", "type": "node_packages"}], "patching_certbot": True}, ["certbot"]),
        ({"runbooks_databases_a": [{"name": "d", "engine": "postgresql"}]}, ["postgresql-client", "zstd"]),
        ({"runbooks_databases_a": [{"name": "d", "engine": "postgresql", "container": "db"}]}, ["zstd"]),
        ({"runbooks_databases_a": [{"name": "d", "engine": "mysql"}]}, ["default-mysql-client", "zstd"]),
        ({"runbooks_databases_a": [{"name": "d", "engine": "redis", "container": "db"}]}, ["redis-tools", "zstd"]),
        ({"runbooks_files_a": [{"name": "f", "engine": "files", "encryption": {"recipients": ["age1"]}}]}, ["age", "zstd"]),
        ({"runbooks_files_a": [FILES], "runbooks_encryption": {"recipients": ["age1"]}}, ["age", "zstd"]),
        ({"runbooks_files_a": [FILES], "backup_encryption": {}, "runbooks_encryption": {"recipients": ["age1"]}}, ["zstd"]),
        ({"runbooks_encryption": {"recipients": ["age1"]}, "runbooks_restic": {"repository": "/r"}}, []),
        ({"runbooks_files_a": [FILES], "runbooks_restic": {"repository": "/r"}}, ["restic", "zstd"]),
        ({"runbooks_databases_a": [{**FILES, "restic": {"repository": "/r"}}, FILES]}, ["restic", "zstd"]),
        ({"runbooks_logs_a": [COMPRESS]}, ["zstd"]),
        ({"runbooks_logs_a": [{**COMPRESS, "action": "delete"}]}, []),
        ({"prerequisites_packages_extra": ["tar", "zstd"]}, ["tar", "zstd"]),
    ],
)  # fmt: skip
def test_the_packages_follow_from_the_inventory(tmp_path, variables, expected):
    assert packages(tmp_path, variables) == sorted(["python3-psutil", *expected])


def test_a_family_without_a_list_of_names_is_told(tmp_path):
    done = run(tmp_path, {}, "--check", "-e", '{"ansible_facts": {"os_family": "Plan9"}}')
    assert done.returncode != 0
    assert "Plan9.yml" in done.stdout
