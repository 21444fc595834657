# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forty names for pyinfra, from the inventory of the lab."""

from __future__ import annotations

from pathlib import Path

import yaml

FOLDER = Path(".work/lab/benchmarks").resolve()
NAMES = yaml.safe_load((FOLDER / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab_names"]["hosts"]

hosts = [
    (
        name,
        {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": variables["ansible_port"],
            "ssh_user": "sre",
            "ssh_key": str(FOLDER / "key"),
            "ssh_known_hosts_file": str(FOLDER / "known_hosts"),
            "ssh_strict_host_key_checking": "yes",
        },
    )
    for name, variables in NAMES.items()
]
