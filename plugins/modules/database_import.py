#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_import
short_description: Insert the rows of a CSV or JSON file into a table, and tell every bad one by its line
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - All rows are tried in one transaction. Rows that are malformed, have too many or too few columns, are in another encoding, do not fit the
    columns, or break a constraint are counted and told with the line in which they begin; then either nothing is kept or all good rows are.
  - An import that fails is an outcome with status V(critical) and keeps no other from being made.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: All rows are tried for real in a transaction that is rolled back, so that the outcome is what a run would say.
  diff_mode:
    support: full
    details: The number of rows that are written to each table.
options:
  databases:
    description:
      - The imports. Each has a C(name), which is unique, an C(engine), the engine's options as in M(sre.runbooks.database_archive), and any
        of the options below; what it leaves out is taken from the module's options.
    type: list
    elements: dict
    required: true
  table:
    description: The table, which must be there. In MariaDB and MySQL its storage engine must know transactions.
    type: str
  schema:
    description: Its schema, in PostgreSQL.
    type: str
  src:
    description: The file on the host; it is unpacked when its name ends in C(.zst).
    type: path
  format:
    description: By default what the name tells (C(.csv), C(.jsonl), C(.json)). V(jsonl) has one object a line, V(json) is one array of objects.
    type: str
    choices: [csv, jsonl, json]
  columns:
    description:
      - Which column of the file goes to which of the table, where they are called differently. One that is mapped to nothing is left out.
    type: dict
  names:
    description: The names of the file's columns, for CSV that has no row of names.
    type: list
    elements: str
  delimiter:
    description: The character between cells of CSV; a comma when not given.
    type: str
  "null":
    description: What stands for NULL in CSV when it is not in quotes; nothing when not given, so that C("") is an empty text.
    type: str
  encoding:
    description: The encoding of the file; V(utf-8) when not given. A byte order mark is left out.
    type: str
  on_bad_rows:
    description: V(refuse), when not given, keeps nothing when a row is bad; V(skip) keeps the others, and the outcome is a V(warning).
    type: str
    choices: [refuse, skip]
  on_duplicate:
    description:
      - V(error), when not given, takes a row for bad when a unique key is there already. V(skip) leaves what is there.
      - V(update) sets the columns of the row that is there to those of the file, when they differ.
    type: str
    choices: [error, skip, update]
  key:
    description: The columns of the unique key by which V(update) finds rows; by default the first whose columns the file has.
    type: list
    elements: str
  report:
    description: How many bad rows are told; all are counted. 20 when not given.
    type: int
  limits:
    description: What an import may cost; past one of them nothing is kept.
    type: dict
    suboptions:
      rows:
        description: Rows at most.
        type: int
      bytes:
        description: Size of the file at most, as in V(1GiB).
        type: str
      seconds:
        description: Time at most, as in V(10m).
        type: str
  lock_timeout:
    description: How long to wait for another's lock, as in V(5s); V(10s) when not given.
    type: str
requirements:
  - zstd, for packed files
  - psql for the engine postgresql, mariadb or mysql for the engine mysql
notes:
  - SQLite keeps what it is given; numbers and lengths that a column's type speaks of are held against the values all the same.
  - A row that points to another by a foreign key must come after it.
  - A row longer than 8 MiB is bad.
seealso:
  - module: sre.runbooks.database_export
"""

EXAMPLES = r"""
- name: Import people, and change nothing when one row is bad
  sre.runbooks.database_import:
    databases:
      - name: feature11
        engine: sqlite
        path: /var/lib/feature11/feature11.db
        table: people
        src: /srv/inbox/people.csv
        columns: {Name: name, "E-mail": email, Comment: }
    on_duplicate: update

- name: Bring an archive back
  sre.runbooks.database_import:
    databases:
      - name: ghosteam_v5
        engine: postgresql
        run_as: postgres
        table: predictions
        src: /var/backups/sre-runbooks/archive/ghosteam_v5/predictions_20261120T090000Z.csv.zst
    on_duplicate: skip
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each import.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: sqlite:feature11
    stage:
      description: Always V(import).
      type: str
      sample: import
    status:
      description: V(ok), V(warning) (bad rows were left out, another import is at it), or V(critical) (nothing was kept).
      type: str
      sample: critical
    summary:
      description: One line for a person.
      type: str
      sample: "nothing was written to people; 2 of 300 rows are bad (1 columns, 1 duplicate), first line 17: 4 columns instead of 3, in 31 ms"
    metrics:
      description: C(rows) in the file, C(rows_written), C(rows_unchanged) (there already), C(rows_bad), C(duration_seconds).
      type: dict
      sample: {rows: 300, rows_written: 0, rows_unchanged: 0, rows_bad: 2, duration_seconds: 0.031}
    details:
      description: C(bad_rows) with C(line), C(kind) and C(reason), the first of them, and C(bad), how many of each kind.
      type: dict
      sample: {bad: {columns: 1, duplicate: 1}, bad_rows: [{line: 17, kind: columns, reason: 4 columns instead of 3}]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _import

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_import.SPEC)
    runbook.run(module, _import.STAGE, lambda: insert(module), conceal=["databases"])


def insert(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, import, return the envelope."""
    tasks, secrets = _import.read(module.params)
    module.no_log_values.update(secrets)
    return _import.run(tasks, module.params["state_dir"], command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
