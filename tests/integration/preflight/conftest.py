# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.preflight called in this process, or in one whose file systems and programs are its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import preflight

CHECKOUT = Path(__file__).resolve().parents[3]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import preflight
with patch_module_args(json.loads(sys.argv[1])):
    preflight.main()
"""
# Holds a SQLite database open, in the middle of its life, until its input ends.
HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode=wal")
database.execute("INSERT INTO t VALUES (2)")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(capsys, tmp_path):
    """Prove an inventory and return the module's result; options as keywords."""

    def go(**options):
        with (
            patch_module_args({"state_dir": str(tmp_path / "state"), **options}),
            pytest.raises(SystemExit),
        ):
            preflight.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def found(run):
    """Prove an inventory by some kinds and return {subject: outcome}, without the kinds that found nothing."""

    def go(*kinds, **options):
        result = run(kinds=list(kinds), **options)
        assert "outcomes" in result, result
        assert result["changed"] is False
        return {each["subject"]: each for each in result["outcomes"] if not each["subject"].startswith("preflight:")}

    return go


@pytest.fixture
def run_in_namespace(tmp_path):
    """Run shell lines, then the module, in a mount namespace of its own, which any user may make."""

    def go(lines, **options):
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        given = json.dumps({"state_dir": str(tmp_path / "state"), **options})
        done = subprocess.run(
            [*unshare, "sh", "-ec", f'{lines}\nexec "$@"', "sh", sys.executable, "-c", MODULE, given],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)

    return go


@pytest.fixture
def holder():
    """A service that has a SQLite database open."""
    processes = []

    def go(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "open\n"

    yield go
    for process in processes:
        process.communicate("")


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Take programs away: PATH leads to links to all the others."""

    def go(*programs):
        folder = tmp_path / "without"
        folder.mkdir()
        for path in [*os.environ["PATH"].split(":"), "/usr/sbin", "/sbin"]:
            for each in Path(path).glob("*") if Path(path).is_dir() else ():
                if each.name not in programs and not (folder / each.name).is_symlink():
                    (folder / each.name).symlink_to(each)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(shutil, "which", lambda name, path=None, which=shutil.which: which(name, path=str(folder)))

    return go


def database(path):
    """A SQLite database with one row."""
    with contextlib.closing(sqlite3.connect(path)) as opened, opened as connection:
        connection.execute("CREATE TABLE t (number INTEGER)")
        connection.execute("INSERT INTO t VALUES (1)")
    return path


def tree(folder):
    """Every path below `folder` with what would change if somebody touched it."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode) for path in folder.rglob("*")
    }
