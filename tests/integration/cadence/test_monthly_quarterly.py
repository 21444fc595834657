# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks sre.runbooks.monthly (C3) and sre.runbooks.quarterly (C4), one after the other on the same systems."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import sys

import pytest

from .conftest import CLOSED, OPEN

PROOF = """
import hashlib, os, sqlite3, sys
digest = hashlib.sha256(os.environ["SRE_RUNBOOKS_KEY"].encode()).hexdigest()
row = sqlite3.connect(sys.argv[1]).execute("SELECT revoked_at FROM api_keys WHERE key_hash = ?", (digest,)).fetchone()
sys.exit(0 if row == (None,) else 1)
"""


def with_key(system, name):
    """Give the system an API key that is due, which a program of it has in its settings; return the variables of its rotation."""
    with contextlib.closing(sqlite3.connect(system.database)) as opened:
        opened.execute(
            "CREATE TABLE api_keys (id INTEGER PRIMARY KEY, key_hash TEXT, name TEXT, owner TEXT, role TEXT, "
            "created_at TEXT, expires_at TEXT, revoked_at TEXT)"
        )
        digest = hashlib.sha256(b"the-old-key").hexdigest()
        opened.execute(
            "INSERT INTO api_keys (key_hash, name, created_at) VALUES (?, ?, datetime('now', '-100 days'))",
            (digest, name),
        )
        opened.commit()
    proof, settings = system.folder / "proof.py", system.folder / ".env"
    proof.write_text(PROOF)
    settings.write_text("API_KEY=the-old-key\n")
    settings.chmod(0o600)
    return {
        "runbooks_keys_shop": [
            {
                "name": name,
                "provider": {"type": "store", "host": name, "engine": "sqlite", "path": str(system.database)},
                "consumers": [{"hosts": name, "path": str(settings), "variable": "API_KEY", "command": ["true"]}],
                "verify": {
                    "type": "command",
                    "argv": [sys.executable, str(proof), str(system.database)],
                    "within": "5s",
                },
            }
        ]
    }


@pytest.fixture
def systems(site):
    """One in its window and one before it, both with old rows and a key that is due."""
    made = []
    for name, window in (("shop", OPEN), ("night", CLOSED)):
        system = site.system(name, runbooks_windows_shop=[window])
        site.hosts[name].update(
            with_key(system, name),
            runbooks_archives_shop=[
                {"name": "app", "engine": "sqlite", "path": str(system.database), "tables": [{"table": "history", "column": "at"}]}
            ],
            database_maintenance_archive_directory=f"{system.folder}/archive",
            preflight_kinds=["policies"],
        )  # fmt: skip
        made.append(system)
    return made


def test_c3_c4_a_month_and_a_quarter(site, systems):
    shop, night = systems
    ran = site.run("sre.runbooks.monthly")
    assert ran.rc == 0, ran.output
    stages = {each["stage"] for each in ran.hosts["shop"]}
    assert stages >= {
        "health", "log_scan", "secret_scan", "keys", "preflight", "backup", "verify", "archive", "site_steps",
    }, ran.output  # fmt: skip
    # Rows are archived and the key rotated in the window alone.
    assert (shop.rows(), night.rows()) == (1000, 2000)
    assert list((shop.folder / "archive").rglob("*.csv*"))
    assert "the-old-key" not in (shop.folder / ".env").read_text()
    assert "the-old-key" in (night.folder / ".env").read_text()
    assert "the-old-key" not in ran.output
    for stage in ("database_maintenance", "key_rotation"):
        (told,) = ran.told("night", stage)
        assert (told["subject"], told["status"]) == (stage, "skipped")
        assert told["summary"].startswith("not begun: no maintenance window is open")
    # A host without certificates, and services whose users nobody reviews, say so in a row each.
    assert "nothing to do here: the inventory has no patching_certbot" in ran.told("shop", "patching")[0]["summary"]
    assert ran.told("shop", "access_review")[0]["status"] == "skipped"
    # A full backup whatever the age of the last one (of a day the last one is kept), and all copies restored for proof.
    first = shop.copies()
    ran = site.run("sre.runbooks.monthly", "--limit", "shop", "--tags", "backup,backup_verify")
    copies = shop.copies()
    assert len(first) == 1
    assert copies[-1] not in first
    # Midnight may have passed between the two.
    assert len(copies) == len({name.split("_")[1][:8] for name in copies})
    assert {each["stage"] for each in ran.hosts["shop"]} == {"backup", "verify"}
    assert all("nothing to do" not in each["summary"] for each in ran.told("shop", "verify")), ran.hosts

    # No host for a drill: that is a finding.
    ran = site.run("sre.runbooks.quarterly")
    assert ran.rc == 0, ran.output
    (told,) = ran.told("shop", "disaster_drill")
    assert told["status"] == "warning"
    assert "no disaster drill was held, for no host is in drill" in told["summary"]
    assert ran.rows("night") == []
    assert {each["stage"] for each in ran.hosts["night"]} == {"health", "site_steps"}
    # With one, the lost system is restored there, and each host has its own stages only.
    shutil.rmtree(night.folder / "app")
    site.hosts["night"].update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    spare = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "runbooks_state_dir": f"{site.folder}/spare",
        "drill_for": "night", "drill_source": f"{night.folder}/backups",
    }  # fmt: skip
    site.children["drill"] = {"hosts": {"spare": spare}}
    ran = site.run("sre.runbooks.quarterly", "--check")
    assert f"would restore {night.database} from app_" in ran.output, ran.output
    assert not night.database.exists()
    ran = site.run("sre.runbooks.quarterly", runbooks_hosts="shop")
    assert ran.rc == 0, ran.output
    assert {each["stage"] for each in ran.hosts["shop"]} == {"health", "site_steps"}
    assert {each["stage"] for each in ran.hosts["spare"]} == {"restore", "health", "disaster_drill"}
    (told,) = ran.told("spare", "disaster_drill")
    assert told["subject"] == "drill:SHOP"
    assert "restored and healthy" in told["summary"]
    assert night.rows() == 2000
