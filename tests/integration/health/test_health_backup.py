# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check `backup` on what sre.runbooks.backup left (H9)."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import backup


@pytest.fixture
def back_up(tmp_path, capsys):
    """Back up an SQLite database called tasks for real, verified as `level`; return the folder of backups."""
    connection = sqlite3.connect(tmp_path / "tasks.db")
    connection.execute("CREATE TABLE tasks AS SELECT 1 AS id")
    connection.commit()
    connection.close()

    def go(level="restored"):
        options = {
            "sources": [{"name": "tasks", "engine": "sqlite", "path": str(tmp_path / "tasks.db")}],
            "directory": str(tmp_path / "backups"),
            "state_dir": str(tmp_path / "state"),
            "verify": level,
        }
        with patch_module_args(options), pytest.raises(SystemExit):
            backup.main()
        result = json.loads(capsys.readouterr().out)
        assert result["status"] == "ok", result
        return tmp_path / "backups"

    return go


def manifest(folder):
    (path,) = folder.glob("tasks/*.manifest.json")
    return path


def test_a_good_backup(check, back_up):
    folder = back_up()
    outcome = check("backup", directory=str(folder), names=["tasks"], warning="> 26h", critical="> 50h")
    assert (outcome["subject"], outcome["status"]) == ("backup:x:tasks", "ok")
    assert 0 <= outcome["metrics"]["age_seconds"] < 600
    assert outcome["metrics"]["size_bytes"] == Path(str(manifest(folder)).removesuffix(".manifest.json")).stat().st_size
    assert outcome["summary"].endswith("old, verified as restored")


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({"warning": "> 26h"}, "ok"),
        ({"warning": ">= 0s"}, "warning"),
        ({"critical": ">= 0s"}, "critical"),
        ({"metrics": {"size_bytes": {"critical": "< 1 GiB"}}}, "critical"),
    ],
)
def test_bounds_on_age_and_size(check, back_up, bounds, status):
    assert check("backup", directory=str(back_up()), **bounds)["status"] == status


@pytest.mark.parametrize(
    ("made", "wanted", "status"),
    [("checksum", "checksum", "ok"), ("checksum", "restored", "critical"), ("restored", "checksum", "ok")],
)
def test_a_backup_counts_at_the_level_it_was_verified_at(check, back_up, made, wanted, status):
    outcome = check("backup", directory=str(back_up(made)), level=wanted, warning="> 26h")
    assert outcome["status"] == status
    if status == "critical":
        assert outcome["summary"] == "none of the 1 backups of tasks is verified as restored"


def test_no_backup_is_critical(check, tmp_path):
    outcome = check("backup", directory=str(tmp_path))
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{tmp_path} holds no backup")
    assert check("backup", directory=f"{tmp_path}/none")["status"] == "critical"


def test_a_name_without_a_backup_is_critical_beside_one_that_has(run, back_up):
    entry = {
        "name": "x",
        "type": "backup",
        "directory": str(back_up()),
        "names": ["tasks", "orders"],
        "warning": "> 26h",
    }
    outcomes = run(entry)["outcomes"]
    assert [(each["subject"], each["status"]) for each in outcomes] == [
        ("backup:x:tasks", "ok"),
        ("backup:x:orders", "critical"),
    ]
    assert outcomes[1]["summary"] == "there is no backup of orders"


def truncate(folder):
    data = manifest(folder).with_name(manifest(folder).name.removesuffix(".manifest.json"))
    data.write_bytes(data.read_bytes()[:-1])


def fail_later(folder):
    document = json.loads(manifest(folder).read_text())
    document["verifications"].append({**document["verifications"][-1], "ok": False})
    manifest(folder).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        fail_later,
        lambda folder: manifest(folder).write_text("{"),
        lambda folder: manifest(folder).unlink(),
    ],
    ids=["cut short", "failed later", "no manifest any more", "manifest gone"],
)
def test_a_damaged_backup_does_not_count(check, back_up, damage):
    folder = back_up()
    damage(folder)
    assert check("backup", directory=str(folder), names=["tasks"], warning="> 26h")["status"] == "critical"


def test_a_backup_from_the_future_does_not_count(check, back_up):
    folder = back_up()
    stamp = manifest(folder).name.removeprefix("tasks_")[:16]
    later = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 86400))
    for path in folder.glob("tasks/tasks_*"):
        path.write_bytes(path.read_bytes().replace(stamp.encode(), later.encode()))
        path.rename(path.with_name(path.name.replace(stamp, later)))
    assert check("backup", directory=str(folder), names=["tasks"], warning="> 26h")["status"] == "critical"
