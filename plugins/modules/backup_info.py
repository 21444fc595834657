#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a host, how well each is proven, and the databases that have none
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Reads the manifests of the copies that M(sre.runbooks.backup) made; the copies themselves are not read.
  - A name without any good copy is V(critical), as is a data file that is gone beside its manifest. A copy that failed a verification
    which no later one as thorough refuted, whose manifest was edited, or whose size is not the one on record is not good.
  - Tells the recovery point, the age of the newest good copy, and the expected recovery time, that of the last restore that was measured,
    and holds them against O(targets).
  - With O(sources), each database found on the host that none of them covers is V(warning).
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
    description: Names of the sources to look at. When not given, all that have copies, and all in O(sources) and O(targets).
    type: list
    elements: str
  level:
    description: How far a copy must be proven to be good.
    type: str
    choices: [checksum, archive, restored]
    default: checksum
  targets:
    description: What was promised; past it an outcome is a V(warning). With O(sources), those for all names hold for the names in it alone.
    type: dict
    suboptions:
      recovery_time:
        description: A restore takes no longer, as in V(1h). A name without a measured restore is past it.
        type: str
      recovery_point:
        description: The newest good copy is no older, as in V(26h).
        type: str
      names:
        description: Targets of single names, as in C({ghosteam_v5:{recovery_time:15m,recovery_point:2h}}); they come before those for all.
        type: dict
  sources:
    description:
      - All policies of the host, the list of M(sre.runbooks.backup). A name in it that has no copy is V(critical).
      - When given, even empty, the host is searched for databases that none of them covers, in running servers of PostgreSQL, MariaDB and
        Redis, among SQLite files that are open, and below O(search). What may not be looked at is V(unknown).
    type: list
    elements: dict
  search:
    description: Folders in which SQLite files are looked for, besides those of O(sources).
    type: list
    elements: path
    default: []
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

- name: Find databases that nobody backs up
  sre.runbooks.backup_info:
    sources: "{{ backup_sources }}"
    search: [/opt, /srv]
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each name, and one for each database that no source covers.
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
      description:
        - V(ok), V(warning) when a copy failed, a target is passed or no source covers a database, V(critical) when no copy is good or a data
          file is gone.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: 30 copies, 4.1 GiB; the newest good one is 3.2 h old, 141.2 MiB, verified as restored
    metrics:
      description:
        - C(recovery_time_seconds) and C(recovery_point_seconds), where known; C(copies), C(total_bytes), and C(age_seconds) and C(size_bytes) of
          the newest good copy.
      type: dict
      sample: {copies: 30, total_bytes: 4402341478, age_seconds: 11520.0, size_bytes: 148060123}
    details:
      description:
        - The C(level) of the newest good copy; data files C(without_manifest), which are no copies; data files that are C(missing) beside their
          manifests; copies that C(failed), with the reason; C(recovery) as the report shows it.
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
    problem:
      description: What speaks against it, or null.
      type: str
      sample: null
    pinned:
      description: Whether a file C(<path>.pin) keeps it from retention.
      type: bool
      sample: false
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _info
from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_info.SPEC)
    runbook.run(module, _info.STAGE, lambda: look(module), conceal=["sources"])


def look(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, look, return the envelope."""
    settings, secrets = _info.settings(module.params)
    module.no_log_values.update(secrets)
    return _info.info(settings, command.Commands(module.run_command))


if __name__ == "__main__":
    main()
