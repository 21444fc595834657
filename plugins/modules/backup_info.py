#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a host and how well each is proven
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Reads the manifests of the copies that M(sre.runbooks.backup) made; the copies themselves are not read.
  - A name without any good copy is V(critical). A copy whose newest verification failed, whose manifest cannot be read, or whose
    size is not the one on record is not good.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed.
options:
  directory:
    description: Folder of all backups of the host.
    type: path
    default: /var/backups/sre-runbooks
  names:
    description: Names of the sources to look at. When not given, all that have copies.
    type: list
    elements: str
seealso:
  - module: sre.runbooks.backup
"""

EXAMPLES = r"""
- name: List all backups
  sre.runbooks.backup_info:
  register: backups

- name: Look at the backups of one database
  sre.runbooks.backup_info:
    names: [ghosteam_v5]
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each name.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: postgresql:ghosteam_v5
    stage:
      description: Always V(backup_info).
      type: str
      sample: backup_info
    status:
      description: V(ok), V(warning) when a copy failed its verification, V(critical) when none is good.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: 30 copies, 4.1 GiB; the newest good one is 3.2 h old, 141.2 MiB, verified as restored
    metrics:
      description: C(copies), C(total_bytes), and C(age_seconds) and C(size_bytes) of the newest good copy.
      type: dict
      sample: {copies: 30, total_bytes: 4402341478, age_seconds: 11520.0, size_bytes: 148060123}
    details:
      description: The C(level) of the newest good copy; data files C(without_manifest), which are no copies.
      type: dict
      sample: {level: restored}
copies:
  description: All copies, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the source.
      type: str
      sample: ghosteam_v5
    engine:
      description: The engine that made it.
      type: str
      sample: postgresql
    path:
      description: The copy.
      type: str
      sample: /var/backups/sre-runbooks/ghosteam_v5/ghosteam_v5_20261120T090000Z.dump.zst
    manifest_path:
      description: Its manifest.
      type: str
      sample: /var/backups/sre-runbooks/ghosteam_v5/ghosteam_v5_20261120T090000Z.dump.zst.manifest.json
    created:
      description: When it was made.
      type: str
      sample: "2026-11-20T09:00:00Z"
    age_seconds:
      description: How old it is; negative when its time stamp lies in the future.
      type: float
      sample: 11520.0
    size_bytes:
      description: Its size.
      type: int
      sample: 148060123
    level:
      description: The best verification that it passed, V(checksum), V(archive), V(restored) or null.
      type: str
      sample: restored
    failed:
      description: Whether something speaks against it.
      type: bool
      sample: false
"""

import time

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _info
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook


def main() -> None:
    module = runbook.build(
        {
            "directory": {"type": "path", "default": "/var/backups/sre-runbooks"},
            "names": {"type": "list", "elements": "str"},
        }
    )
    options = module.params
    runbook.run(module, _info.STAGE, lambda: _info.info(options["directory"], options["names"], time.time()))


if __name__ == "__main__":
    main()
