# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.secret_scan: lists joined, nothing asked where there is nothing, no value told anywhere (K4)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import CHECKOUT, PROGRAM, UPPER, private_key, value

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture
def role(tmp_path):
    """Apply the role to this machine with `variables`; return output and the registered result."""

    def go(variables, *arguments):
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        everything = {
            "runbooks_state_dir": str(tmp_path / "state"),
            "runbooks_textfile_dir": str(tmp_path / "metrics"),
            "secret_scan_program": PROGRAM,
            **variables,
        }
        (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"here": host}, "vars": everything}}))
        copy = {
            "content": "{{ secret_scan_result | default({}) | to_json }}",
            "dest": str(tmp_path / "result.json"),
            "mode": "0600",
        }
        show = {"ansible.builtin.copy": copy, "check_mode": False}
        play = {"hosts": "all", "gather_facts": False, "roles": ["sre.runbooks.secret_scan"], "post_tasks": [show]}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        (tmp_path / "metrics").mkdir(exist_ok=True)
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        argv = [PLAYBOOK, "-i", tmp_path / "inventory.yml", tmp_path / "play.yml", *arguments]
        done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr, json.loads((tmp_path / "result.json").read_text())

    return go


class Listing:
    """All command lines and environments of this machine, as long as the block runs."""

    def __enter__(self):
        self.text = b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_reason):
        self._over.set()
        self._thread.join()

    def _sample(self):
        seen = set()
        while not self._over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue
        self.text = b"\n".join(seen)


def test_k4_no_value_and_no_digest_is_told_anywhere(role, tree, tmp_path):
    canaries = [value(20), f"AKIA{value(16, UPPER)}", value(18), value(30), value(22)]
    (tree / "a.conf").write_text(f"password={canaries[0]}\n")
    (tree / "b.py").write_text(f'KEY = "{canaries[1]}"\n')
    (tree / ".bash_history").write_text(f"mysql -p{canaries[2]}\n")
    (tree / "a.log").write_text(f"GET /?token={canaries[3]}\n")
    (tree / "open.env").write_text(f"API_KEY={canaries[4]}\n")
    (tree / "clean.conf").write_text("port=1\n")
    key = private_key()
    (tree / "c.txt").write_text(f"the key:\n{key}")
    scan = {"name": "x", "paths": [str(tree)], "allow": [{"line": canaries[2]}]}
    with Listing() as listing:
        output, result = role({"runbooks_secrets_x": [scan]}, "-vvvv")
    assert result["outcomes"][0]["metrics"]["findings"] == 4
    kept = [path for folder in ("state", "metrics") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert {"secret_scan.x.json"} <= {path.name for path in kept}
    assert any(b"secrets:x" in path.read_bytes() for path in kept)
    told = "\n".join([json.dumps(result), listing.text.decode(errors="replace")])
    told += "\n".join(path.read_text() for path in kept)
    # What the inventory says is in Ansible's own output: the pattern of `allow` is no secret there.
    secrets = [*canaries, *key.split("\n")[1:6]]
    for secret in secrets:
        digest = hashlib.sha1(secret.encode(), usedforsecurity=False).hexdigest()
        assert secret not in told
        assert digest not in told + output
        assert secret not in output or secret == canaries[2]


def test_lists_are_joined_and_check_mode_writes_nothing(role, tree, tmp_path):
    (tree / "a.conf").write_text(f"password={value(14)}\n")
    variables = {
        "runbooks_secrets_b": [{"name": "b", "paths": [str(tree)], "baseline": str(tmp_path / "b.baseline")}],
        "runbooks_secrets_a": [{"name": "a", "paths": [str(tree)], "world_readable": False}],
        "secret_scan_write_baseline": True,
    }
    _output, result = role(variables, "--check")
    assert [each["subject"] for each in result["outcomes"]] == ["secrets:a", "secrets:b", "secret_files:b"]
    assert (result["status"], result["changed"], result["failed"]) == ("warning", True, False)
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "b.baseline").exists()


def test_nothing_is_asked_where_there_is_nothing_and_a_failure_keeps_the_host(role):
    assert role({})[1]["skipped"]
    output, result = role({"runbooks_secrets_x": [{"name": "x", "paths": ["etc"]}]})
    assert result["failed"]
    assert "no absolute path" in output
