# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.log_scan over logs that real programs wrote: run as a program, so that it may be put into any namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
MODULE = CHECKOUT / "plugins/modules/log_scan.py"
REFERENCE = CHECKOUT / "inventories/reference/group_vars"


def reference(group, kind):
    """What the reference inventory has of a kind (`rules`, `codes`, `measures`), by name, for use with other sources."""
    found = yaml.safe_load((REFERENCE / f"{group}.yml").read_text(encoding="utf-8"))
    entries = found[f"runbooks_scan_{kind}_{'base' if group == 'all' else group}"]
    return {each.get("name") or each["code"]: {**each, "sources": None} for each in entries}


def scan(state_dir, prefix=(), **options):
    """Run the module; return its outcomes by subject."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"state_dir": str(state_dir), **options}})
    done = subprocess.run(
        [*prefix, sys.executable, str(MODULE)], input=arguments, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {each["subject"]: each for each in json.loads(done.stdout)["outcomes"]}


@pytest.fixture
def state(tmp_path):
    """The state folder of a test."""
    return tmp_path / "state"
