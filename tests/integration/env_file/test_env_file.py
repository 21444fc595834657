# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.env_file as a task calls it (K3): what it says, what it keeps, and that values stay inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import CHECKOUT, ENVIRONMENT, systemd

CANARY = "canary-7f3a9c51-of-the-test"
NUMBER = 65534


@pytest.fixture
def file(tmp_path):
    """An environment file with mode 0640, and as root one of somebody else's."""
    path = tmp_path / "feature11.env"
    path.write_text("# service\nMONDAY_API_KEY='old-key'\nPORT=8000\n")
    path.chmod(0o640)
    groups = [each for each in os.getgroups() if each != os.getgid()]
    if os.geteuid() == 0:
        os.chown(path, NUMBER, NUMBER)
    elif groups:
        os.chown(path, -1, groups[0])
    return path


def state(path):
    """What must not change with the content."""
    info = path.stat()
    return info.st_uid, info.st_gid, info.st_mode


def test_changed_once_with_owner_and_mode_kept_and_the_previous_version_beside(run, file):
    before = state(file)
    os.setxattr(file, "user.note", b"kept")
    options = {"path": str(file), "variable": "MONDAY_API_KEY", "value": CANARY}
    result = run(**options, diff=True)
    assert (result["changed"], result["status"]) == (True, "ok")
    (outcome,) = result["outcomes"]
    assert (outcome["stage"], outcome["subject"]) == ("env_file", f"env_file:{file}#MONDAY_API_KEY")
    assert result["diff"][0]["after"] == "MONDAY_API_KEY: ******** (new value)\n"
    assert CANARY not in json.dumps(result)
    assert "old-key" not in json.dumps(result)
    assert file.read_text() == f"# service\nMONDAY_API_KEY='{CANARY}'\nPORT=8000\n"
    assert systemd(file) == {"MONDAY_API_KEY": CANARY, "PORT": "8000"}
    assert state(file) == before
    assert os.getxattr(file, "user.note") == b"kept"
    kept = file.with_name("feature11.env.previous")
    assert "old-key" in kept.read_text()
    assert state(kept) == (*before[:2], 0o100600)
    inode = file.stat().st_ino
    again = run(**options)
    assert (again["changed"], again["outcomes"][0]["details"]) == (False, {"changed": False})
    assert file.stat().st_ino == inode
    assert CANARY not in "".join(each.read_text() for each in Path(file.parent / "state").rglob("*"))


def test_check_mode_writes_nothing_at_all(run, file, tmp_path):
    text, there = file.read_text(), sorted(tmp_path.rglob("*"))
    result = run(check=True, diff=True, path=str(file), variable="MONDAY_API_KEY", value=CANARY)
    assert result["changed"] is True
    assert "would be changed" in result["outcomes"][0]["summary"]
    assert (file.read_text(), sorted(tmp_path.rglob("*"))) == (text, there)


def test_restored_and_forgotten_each_variable_for_itself(run, file, tmp_path):
    kept = file.with_name("feature11.env.previous")

    def call(variable, value=None, **more):
        return run(path=str(file), variable=variable, **({} if value is None else {"value": value}), **more)["changed"]

    assert call("MONDAY_API_KEY", "new-1")
    assert call("PORT", "9000")
    assert "old-key" in kept.read_text()
    assert "PORT=8000" in kept.read_text()
    assert call("MONDAY_API_KEY", state="restored", check=True)
    assert "new-1" in file.read_text()
    assert call("MONDAY_API_KEY", state="restored")
    assert file.read_text() == "# service\nMONDAY_API_KEY='old-key'\nPORT=9000\n"
    assert not call("MONDAY_API_KEY", state="restored")
    assert "PORT=8000" in kept.read_text()
    assert call("MONDAY_API_KEY", "new-2")
    assert call("PORT", state="forgotten")
    assert "old-key" in kept.read_text()
    assert "8000" not in kept.read_text()
    assert call("MONDAY_API_KEY", state="forgotten")
    assert not kept.exists()
    assert not call("MONDAY_API_KEY", state="forgotten")
    assert not call("MONDAY_API_KEY", state="restored")
    assert file.read_text() == "# service\nMONDAY_API_KEY='new-2'\nPORT=9000\n"


def test_several_in_one_call_and_one_that_fails_does_not_keep_the_others(run, file, tmp_path):
    config = tmp_path / "config.yml"
    config.write_text("api:\n  key: old # note\n")
    missing = tmp_path / "missing.env"
    variables = [
        {"path": str(missing), "variable": "KEY", "value": CANARY},
        {"path": str(file), "variable": "MONDAY_API_KEY", "value": CANARY},
        {"path": str(config), "variable": "api.key", "value": CANARY, "format": "yaml"},
    ]
    result = run(variables=variables)
    assert result["failed"] is True
    assert f"{missing}: KEY: there is no such file. Create it" in result["msg"]
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok", "ok"]
    assert result["changed"] is True
    assert config.read_text() == f"api:\n  key: {CANARY} # note\n"
    assert CANARY not in json.dumps(result)
    result = run(variables=variables, create=True)
    assert [each["details"]["changed"] for each in result["outcomes"]] == [True, False, False]
    assert (missing.read_text(), missing.stat().st_mode & 0o777) == (f"KEY={CANARY}\n", 0o600)


def test_a_variable_that_stands_there_twice_is_a_warning_and_the_last_one_changed(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("K=1\nK=2 # c\n")
    result = run(path=str(path), variable="K", value="new", backup=False)
    assert path.read_text() == "K=1\nK=new # c\n"
    assert result["status"] == "warning"
    assert "stands there 2 times" in result["outcomes"][0]["summary"]
    assert "systemd takes for a part" in result["outcomes"][0]["summary"]
    assert not path.with_name("file.previous").exists()


def test_a_comment_that_swallows_the_variable_for_systemd_is_a_warning(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("A=1\n# folder C:\\\nK=old\n")
    result = run(path=str(path), variable="K", value="new")
    assert path.read_text() == "A=1\n# folder C:\\\nK=new\n"
    assert systemd(path) == {"A": "1"}
    assert "ends in a backslash" in result["outcomes"][0]["summary"]
    assert result["status"] == "warning"


def test_what_was_removed_by_hand_is_forgotten_too(run, file):
    options = {"path": str(file), "variable": "MONDAY_API_KEY"}
    assert run(value="new", **options)["changed"]
    file.write_text("PORT=9000\n")
    assert run(state="forgotten", **options)["changed"]
    assert "old-key" not in file.with_name("feature11.env.previous").read_text()
    assert not run(state="forgotten", **options)["changed"]


BAD = [
    ({"variable": "K", "value": CANARY}, "path: None is no file's path from the root on"),
    ({"path": "relative", "variable": "K", "value": CANARY}, "path: 'relative' is no file's path from the root on"),
    ({"path": "/x", "value": CANARY}, "variable: None is no name"),
    ({"path": "/x", "variable": "a-b", "value": CANARY}, "variable: 'a-b' cannot be used"),
    ({"path": "/x", "variable": "k", "value": CANARY, "format": "ini"}, "Write both joined by a dot"),
    ({"path": "/x", "variable": "a..b", "value": CANARY, "format": "json"}, "joined by single dots"),
    ({"path": "/x", "variable": "K"}, "value: None is missing"),
    ({"path": "/x", "variable": "K", "value": CANARY, "state": "restored"}, "Leave it out"),
    ({"path": "/x", "variables": []}, "mutually exclusive"),
    ({"variables": []}, "Give at least one entry"),
    ({"variables": [{"path": "/x", "variable": "K", "value": CANARY}] * 2}, "is given twice"),
]


@pytest.mark.parametrize(("options", "told"), BAD)
def test_bad_input_names_the_option_and_the_remedy_and_no_value(run, options, told):
    result = run(**options)
    assert result["failed"] is True
    assert told in result["msg"]
    assert CANARY not in json.dumps(result)


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - sre.runbooks.env_file: {path: "{{ file }}", variable: MONDAY_API_KEY, value: "{{ canary }}", state_dir: "{{ state }}"}
    - sre.runbooks.env_file: {path: "{{ file }}", variable: PORT, value: "${{ '{' }}{{ canary }}}", state_dir: "{{ state }}"}
      ignore_errors: true
    - sre.runbooks.env_file:
        state_dir: "{{ state }}"
        variables:
          - {path: "{{ file }}", variable: PORT, value: "2{{ canary }}"}
          - {path: "{{ file }}.not", variable: PORT, value: "3{{ canary }}"}
      ignore_errors: true
"""


def test_a_canary_is_in_no_output_at_vvvv_no_diff_no_state_and_no_argument_vector(file, tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)
    given = {
        "file": str(file),
        "canary": CANARY,
        "state": str(tmp_path / "state"),
        "ansible_python_interpreter": sys.executable,
    }
    (tmp_path / "vars.json").write_text(json.dumps(given))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-vvvv", "--diff", "-i", "localhost,"]
    seen, ended = set(), threading.Event()

    def look():
        while not ended.wait(0.005):
            for each in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(each.read_bytes())
                except OSError:
                    continue

    watch = threading.Thread(target=look)
    watch.start()
    done = subprocess.run(
        [*command, "-e", f"@{tmp_path}/vars.json", str(tmp_path / "play.yml")],
        cwd=CHECKOUT, env={**ENVIRONMENT, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ended.set()
    watch.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MONDAY_API_KEY: ******** (new value)" in done.stdout
    assert done.stdout.count("...ignoring") == 2
    assert CANARY not in done.stdout + done.stderr
    assert any(b"play.yml" in each for each in seen)
    assert not any(CANARY.encode() in each for each in seen)
    assert CANARY in file.read_text()
    assert not any(CANARY in each.read_text() for each in (tmp_path / "state").rglob("*"))
