#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Restore databases and files from proven copies, beside what is there, and swap
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Restores from the copies that M(sre.runbooks.backup) has made. The copy is chosen among the proven ones and its checksum compared; what is
    there now is backed up; the copy is restored beside it and compared with the figures of its dump; only then the two are
    swapped in one short step. What was there before is kept under another name.
  - Whatever fails before the swap leaves everything as it was. Killed at any moment, what is there is whole, the old or the new;
    the next run of the same restore cleans up and succeeds.
  - A restore that could not be made is an outcome with status V(critical) and fails the task; the others of the same call are made.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - The copy is chosen and its checksum compared, the target looked at. The outcomes say which copy, how old, how far it is proven, how
        long it should take and what would be kept. Nothing is written, not even a lock.
  diff_mode:
    support: full
    details: What is there before, and the copy that is there after.
options:
  name:
    description:
      - The name of the source whose copy is restored.
      - One of O(name) and O(restores) is required.
    type: str
  restores:
    description:
      - Several restores, made in this order. An entry has a C(name) and may have any of O(from), O(to), O(connection), O(level), O(force),
        O(disconnect), O(privileges), O(owner), O(group), O(mode), which this module's options are the defaults of.
      - Anything else in an entry is an option of the engine, so that the list of C(sources) of M(sre.runbooks.backup) can be given as it is.
    type: list
    elements: dict
  directory:
    description: Folder of all backups of the host.
    type: path
    default: /var/backups/sre-runbooks
  from:
    description:
      - Which copy. V(latest) is the newest proven one; a time such as V(2026-11-20T09:00:00Z) the newest proven one that is not newer (a time
        without a zone is UTC); a path that copy.
    type: str
    default: latest
  to:
    description:
      - Where to, when not to the original place, which stands in the manifest.
      - The path of the database file for the engine sqlite, the name of the database for postgresql and mysql, for files a folder below which
        the paths are restored.
    type: str
  connection:
    description:
      - Options of the engine, such as C(host) or C(password), in place of those in the manifest, which holds no secrets.
    type: dict
  level:
    description: The copy must be proven at this level or better. When not given, any proof will do.
    type: str
    choices: [checksum, archive, restored]
  force:
    description:
      - Also take a copy of which a proof failed or which was never proven, and put it in place though it differs from the figures of its
        dump. To get out of a damaged copy what is in it.
    type: bool
    default: false
  disconnect:
    description:
      - End the sessions of a database server that use the target, when the swap is made. When not given, a target in use is an error that
        names who uses it.
      - A SQLite file that a process has open, and a Redis server that runs, are refused all the same.
    type: bool
    default: false
  privileges:
    description: Restore owners and grants of a PostgreSQL database. With V(false) everything belongs to the user who connects.
    type: bool
    default: true
  owner:
    description: Owner of a restored SQLite or Redis file; when not given, that of the old file, or of the folder when there is none.
    type: str
  group:
    description: Its group, likewise.
    type: str
  mode:
    description: Its mode in octal, as V('0640'); when not given, that of the old file, V('0600') when there is none.
    type: str
  safety_backup:
    description:
      - Back up what is there before it is replaced, into C(.before-restore) below O(directory), from where it can be restored likewise.
        Three of these copies are kept at least, and all of the last 30 days.
      - When that backup cannot be made, nothing is changed. A SQLite file that is damaged needs none, for its files are kept as they are.
    type: bool
    default: true
  encryption:
    description: How encrypted copies are read.
    type: dict
    suboptions:
      identity:
        description: File on the host with the secret key of age.
        type: path
        required: true
  keep_old:
    description:
      - How many of those that restores have replaced are kept of each target, at least 1. When not given, all of them are, and it is for
        people to remove them.
    type: int
  limits:
    description: What one restore may cost.
    type: dict
    suboptions:
      bytes:
        description: A source that was larger than this is not restored, as in V(50GiB).
        type: str
      seconds:
        description: Each restore is given up after this long, as in V(2h); what is there stays.
        type: str
requirements:
  - zstd or gzip, as the copy was compressed; age for encrypted copies
  - psutil for the engines sqlite and redis
  - psql and pg_restore for the engine postgresql, of the version of the dump or newer
notes:
  - What was there is kept as C(<path>.before-restore-<time>) for files, and as a database C(<name>_before_restore_<time>) of the same server.
  - B(sqlite) refuses while a process has the database open, and says which. The log of the old one is brought home before the swap.
  - B(postgresql) restores into a new database with the encoding, locale, owner, grants and settings of the old one, and renames both in one
    transaction. Extensions that the server lacks and roles that are missing are found out before anything is changed.
  - B(files) unpacks each path beside the one that is there, with owners, modes, times and extended attributes, and exchanges the two.
    An owner is looked up by name, by number where the host has no such name. What the copy leaves out (C(exclude)) is not carried over.
seealso:
  - module: sre.runbooks.backup
  - module: sre.runbooks.backup_info
"""

EXAMPLES = r"""
- name: What would the latest copy bring back?
  sre.runbooks.restore:
    name: feature11
  check_mode: true

- name: Restore the database as it was on Friday morning
  sre.runbooks.restore:
    name: feature11
    from: "2026-11-20T09:00:00Z"
    keep_old: 2
  register: restore_result

- name: Restore a copy beside the original, to look at it
  sre.runbooks.restore:
    name: ghosteam_v5
    to: ghosteam_look
    safety_backup: false

- name: Restore a whole system
  sre.runbooks.restore:
    restores: "{{ runbooks_databases_mcp + runbooks_files_mcp }}"
    disconnect: true
    encryption:
      identity: /root/age-identity.txt

- name: Undo a restore
  sre.runbooks.restore:
    name: feature11
    directory: /var/backups/sre-runbooks/.before-restore
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: always, unless an option is wrong
  type: str
  sample: ok
outcomes:
  description: One for each restore.
  returned: always, unless an option is wrong
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: postgresql:ghosteam_v5
    stage:
      description: Always V(restore).
      type: str
      sample: restore
    status:
      description: V(ok), V(warning) (restored, and something has to be known), or V(critical) (not restored, what was there is untouched).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: >-
        restored from ghosteam_v5_20261120T090000Z.dump.zst (3.2 h old, proven as restored, 141.2 MiB) in 21.4 s: 61 tables, 6 000 000 rows;
        the old is kept as ghosteam_v5_before_restore_20261120T121504Z
    metrics:
      description:
        - C(duration_seconds) in all, of which C(safety_seconds), C(restore_seconds), and C(swap_seconds); C(age_seconds) of the copy, which is what
          the restore lost; C(size_bytes) of the copy.
      type: dict
      sample: {duration_seconds: 21.4, safety_seconds: 6.1, restore_seconds: 15.2, swap_seconds: 0.04, age_seconds: 11520, size_bytes: 148060123}
    details:
      description:
        - The C(target), the C(path), C(created) and C(level) of the copy, the C(figures) that were compared, what is C(kept), the C(safety_backup);
          in check mode C(would), C(expected_seconds), C(users), C(exists).
      type: dict
      sample: {target: ghosteam_v5, kept: ghosteam_v5_before_restore_20261120T121504Z}
msg:
  description: Why something could not be restored.
  returned: failure
  type: str
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import SHARED
from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(
        _settings.SPEC, mutually_exclusive=[("name", "restores")], required_one_of=[("name", "restores")]
    )
    runbook.run(module, _run.STAGE, lambda: restore(module), conceal=["connection", "restores"])


def restore(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, restore, return the envelope."""
    settings = _settings.settings(module.params)
    requests = _settings.requests(module.params, SHARED)
    host = _run.Host(
        command.Commands(module.run_command),
        state.directory(module.params["state_dir"]),
        module.check_mode,
        module.no_log_values.update,
        set(),
    )
    return _run.run(settings, requests, host)


if __name__ == "__main__":
    main()
