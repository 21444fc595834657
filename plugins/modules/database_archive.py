#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_archive
short_description: Export old rows of a table, verify the export, then delete those rows
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Rows of a table that are older than an age are exported to a packed CSV or JSON lines file, the file is read back from the disk and
    compared, and then exactly those rows are deleted, a batch in each transaction.
  - A row is deleted only when, locked and read once more, it is byte for byte what its export holds. One that has changed since stays and
    is told in the outcome; the next run exports it again.
  - An export is C(<directory>/<name>/<table>_<UTC yyyymmddThhmmssZ>.<csv|jsonl>.zst) with C(<that>.manifest.json) beside it (columns, key,
    cutoff, rows, first and last key, checksums). Files have mode 0600, folders 0700.
  - Killed at any moment, every row is in the table, or in an export that was verified, or in both. The next run goes on with the same export.
  - A table that cannot be archived is an outcome with status V(critical) and keeps no other from it.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The outcomes say how many rows, how many bytes and which cutoff. Nothing is written, not even a lock.
  diff_mode:
    support: full
    details: The number of rows before and after.
options:
  databases:
    description:
      - The databases. Each has a C(name), which is unique and names its folder, an C(engine), the engine's options, see the notes, and any
        of the options below from O(table) on; what it leaves out is taken from the module's options.
      - C(tables) is a list of dictionaries with those options again, for several tables of a database.
    type: list
    elements: dict
    required: true
  directory:
    description: Folder of all exports; it is made when missing.
    type: path
    default: /var/backups/sre-runbooks/archive
  table:
    description: The table. It must have a primary key or a unique one without NULL; in SQLite the rowid will do.
    type: str
  schema:
    description: Its schema, in PostgreSQL; by default the first of the search path that has the table.
    type: str
  column:
    description: The column that holds the time of a row. Rows where it is NULL, or no time, are never old.
    type: str
  column_type:
    description:
      - How the column holds times. Times without a zone are taken as UTC.
      - V(auto) goes by the column's type, in SQLite by the first value that is found.
      - V(text) is ISO 8601, V(epoch) and V(epoch_ms) are seconds and milliseconds since 1970.
    type: str
    choices: [auto, timestamp, date, epoch, epoch_ms, text]
  older_than:
    description: The age, as in V(90d). The cutoff is computed once, before the export.
    type: str
  where:
    description: A further condition in SQL that the rows must meet.
    type: str
  batch:
    description: Rows that are deleted in one transaction; 1000 when not given. Rows together larger than 1 MiB make a batch of their own.
    type: int
  format:
    description: The format of the export; V(csv) when not given.
    type: str
    choices: [csv, jsonl]
  limits:
    description: What one table may cost in one run; past one of the first three the run is refused, with its plan in the outcome.
    type: dict
    suboptions:
      rows:
        description: Rows that may go.
        type: int
      bytes:
        description: Bytes of content that may go, as in V(2GiB).
        type: str
      percent:
        description: Share of the table's rows that may go; 90 when not given, for a clock that is wrong would let everything be old.
        type: float
      seconds:
        description: An export that takes longer is given up; a deletion stops after its batch and is left to the next run, as in V(1h).
        type: str
  pause:
    description: Pause after each batch, for replicas to keep up, as in V(200ms).
    type: str
  foreign_keys:
    description:
      - What to do when rows of other tables may point to this one.
      - V(refuse), when not given, archives nothing and names them.
      - V(unreferenced) archives only rows that nothing points to.
      - V(cascade) archives them all; what the foreign keys then do to the other tables (delete rows, set NULL) is not exported.
    type: str
    choices: [refuse, unreferenced, cascade]
  lock_timeout:
    description: How long to wait for another's lock, as in V(5s); V(10s) when not given.
    type: str
  keep_exports:
    description: Exports older than this, whose rows were dealt with, are removed, as in V(730d). When not given, they are kept for ever.
    type: str
requirements:
  - zstd
  - psql for the engine postgresql, mariadb or mysql for the engine mysql
notes:
  - B(sqlite) takes C(path). Writers of a database without a write-ahead log wait while it is exported.
  - B(postgresql) takes C(database) (default the entry's name), C(host), C(port), C(user), C(password), C(run_as) (an operating system user,
    for peer authentication) or C(container).
  - B(mysql) takes the same and C(socket). The table's storage engine must know transactions.
  - Triggers of the table run at deletion as at any other.
seealso:
  - module: sre.runbooks.database_export
  - module: sre.runbooks.database_import
"""

EXAMPLES = r"""
- name: Archive what is older than 90 days
  sre.runbooks.database_archive:
    databases:
      - name: feature11
        engine: sqlite
        path: /var/lib/feature11/feature11.db
        table: allocation_history
        column: created_at
    older_than: 90d
  register: archive_result

- name: Several tables of a server, gently
  sre.runbooks.database_archive:
    databases:
      - name: ghosteam_v5
        engine: postgresql
        run_as: postgres
        tables:
          - {table: predictions, column: made_at, older_than: 180d}
          - {table: audit_log, column: at, format: jsonl, where: "level <> 'security'"}
    older_than: 365d
    batch: 500
    pause: 100ms
    limits:
      rows: 5000000
      seconds: 1h
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each table.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine, name and table.
      type: str
      sample: sqlite:feature11.allocation_history
    stage:
      description: Always V(archive).
      type: str
      sample: archive
    status:
      description:
        - V(ok), V(warning) (rows have changed since their export, time was up, another run is at it), or V(critical) (refused or failed).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "48211 of 48211 exported rows deleted, 1.9 MiB in /var/backups/sre-runbooks/archive/…/events_20261120T090000Z.csv.zst, in 1.2 s"
    metrics:
      description: C(rows) in the export, C(deleted), C(changed), C(size_bytes), C(duration_seconds).
      type: dict
      sample: {rows: 48211, deleted: 48211, changed: 0, size_bytes: 1990332, duration_seconds: 1.2}
    details:
      description: The C(path), its C(sha256), the C(cutoff), and the keys of up to 20 changed rows.
      type: dict
      sample: {cutoff: "2026-08-22T09:00:00Z"}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _archive, _archive_settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_archive_settings.SPEC)
    runbook.run(module, _archive.STAGE, lambda: archive(module), conceal=["databases"])


def archive(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, archive, return the envelope."""
    settings, secrets = _archive_settings.read(module.params)
    module.no_log_values.update(secrets)
    return _archive.run(settings, command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
