#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove again that the backups of a host can be restored, and measure how long that takes
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Climbs, for each copy that M(sre.runbooks.backup) made, from its existence over its checksum and a readable archive to a restore
    into a scratch place whose content is compared with the figures of the dump; and writes what it found into the copy's manifest.
  - What was verified longest ago comes first, over all names; a copy that was never verified at O(level) comes before all. What
    does not fit into O(budget) waits for the next run.
  - A copy that is not what its manifest says is V(critical), as is a manifest that was edited, a data file that is gone beside its
    manifest, and a name without any backup. It stays so until a verification at least as thorough passes, or it is removed.
  - The last measured restore is the expected recovery time, the age of the newest good copy the recovery point. Both are metrics,
    stand in the report, and are held against O(targets).
  - Killed at any moment, no copy is harmed; the next run, of this module or of M(sre.runbooks.backup), removes what was left.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Says which copies would be verified and how long that should take. Nothing is read but the manifests, nothing is written.
  diff_mode:
    support: none
    details: Verifications are added to manifests; the copies themselves are never changed.
options:
  directory:
    description: Folder of all backups of the host.
    type: path
    default: /var/backups/sre-runbooks
  names:
    description: Names of the sources whose copies are verified. When not given, all that have copies, and all in O(sources) and O(targets).
    type: list
    elements: str
  sources:
    description:
      - The list of M(sre.runbooks.backup), for what manifests do not hold (passwords), and for servers that are reached in another
        way today. When not given, and for names that are not in it, what stands in each manifest is used.
      - A name in it that has no copy is V(critical).
    type: list
    elements: dict
  level:
    description:
      - How far copies are proven.
      - V(checksum) reads each copy and compares it with what was written.
      - V(archive) also reads it to its end with the program that would restore it.
      - V(restored) also restores it into a scratch place, compares it with the figures of the dump, and cleans up.
    type: str
    choices: [checksum, archive, restored]
    default: restored
  interval:
    description:
      - A copy that was verified at O(level) within this time is not verified again, as in V(6d).
      - When not given, every run verifies as many as O(budget) allows.
    type: str
  budget:
    description:
      - What one run may cost. A copy's cost is told from its last verification, or from others of its name, or from its size.
      - A copy that would not fit into the whole budget is a V(warning), for it would never be verified.
    type: dict
    suboptions:
      seconds:
        description: Nothing is begun that is expected to pass this, as in V(30m); what takes longer than expected is given up then.
        type: str
      bytes:
        description: As much is read, or unpacked where O(level=restored), in all, as in V(50GiB).
        type: str
  encryption:
    description: How encrypted copies are read. Without it only their checksums are compared, which is V(unknown) where O(level) asks for more.
    type: dict
    suboptions:
      identity:
        description: File with the secret key of C(age) on the host. A source's own in O(sources) comes first.
        type: path
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
requirements:
  - what M(sre.runbooks.backup) needs for the engines and the compression of the copies
  - age, for encrypted copies
notes:
  - B(postgresql) and B(mysql) restore into a scratch database of the server in the manifest, or in O(sources); it is always dropped again.
  - A manifest keeps the first verification, the newest that passed at each level, and the newest 30.
seealso:
  - module: sre.runbooks.backup
  - module: sre.runbooks.backup_info
"""

EXAMPLES = r"""
- name: Restore every copy for proof about once a week, for half an hour a day at most
  sre.runbooks.backup_verify:
    interval: 6d
    budget:
      seconds: 30m
    targets:
      recovery_time: 1h
      recovery_point: 26h
  register: backup_verify_result

- name: Read the backups of one database, which needs a password
  sre.runbooks.backup_verify:
    names: [mcp]
    level: archive
    sources:
      - name: mcp
        engine: postgresql
        host: db.example.com
        user: backup
        password: "{{ mcp_backup_password }}"
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
      description: Always V(verify).
      type: str
      sample: verify
    status:
      description:
        - V(critical) when a copy failed, is missing, or there is none; V(unknown) when one could not be verified; V(warning) when a
          target is passed, the budget is too small for a copy, or another run holds the lock.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: 2 of 30 copies proven as restored in 12.1 s; the newest good one is 3.2 h old, a restore takes 5.4 s
    metrics:
      description:
        - C(recovery_time_seconds) and C(recovery_point_seconds), where known; C(copies), C(failed_copies), C(verified_copies) and
          C(postponed_copies); C(verify_seconds) that this run took.
      type: dict
      sample: {recovery_time_seconds: 5.4, recovery_point_seconds: 11520.0, copies: 30, failed_copies: 0, verified_copies: 2}
    details:
      description:
        - Copies that C(failed) with their problems, data files that are C(missing), the first that are C(postponed) with the reason,
          and C(recovery) as the report shows it.
      type: dict
      sample: {recovery: {level: restored, created: "2026-11-20T09:00:00Z", proven: "2026-11-20T09:00:06Z"}}
proofs:
  description: All verifications of this run, in check mode those that would be made.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the source.
      type: str
      sample: ghosteam_v5
    path:
      description: The copy.
      type: str
      sample: /var/backups/sre-runbooks/ghosteam_v5/ghosteam_v5_20261120T090000Z.dump.zst
    level:
      description: How far it was to be proven.
      type: str
      sample: restored
    ok:
      description: Whether it is; null in check mode.
      type: bool
      sample: true
    duration_seconds:
      description: How long that took; in check mode how long it should take.
      type: float
      sample: 6.1
    problem:
      description: What was found to be wrong, or null.
      type: str
      sample: null
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _proofs, _proofs_settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_proofs_settings.SPEC)
    runbook.run(module, _proofs.STAGE, lambda: verify(module), conceal=["sources"])


def verify(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, verify, return the envelope."""
    settings, secrets = _proofs_settings.settings(module.params)
    module.no_log_values.update(secrets)
    return _proofs.run(settings, command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
