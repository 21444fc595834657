#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_export
short_description: Write the rows of a query or a table to a CSV or JSON file
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - The rows stream from the database into a file in one read-only transaction, in constant memory. A query that writes is refused by the
    server. The file is replaced as a whole, has mode 0600, and is left alone when its content would be the same.
  - An export that fails is an outcome with status V(critical) and keeps no other from being made.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The query is run, and the outcome says how many rows and bytes there are and whether the file would change. Nothing is written.
  diff_mode:
    support: full
    details: The checksums of the content before and after.
options:
  databases:
    description:
      - The exports. Each has a C(name), which is unique, an C(engine), the engine's options as in M(sre.runbooks.database_archive), and any
        of the options below; what it leaves out is taken from the module's options.
    type: list
    elements: dict
    required: true
  query:
    description: One SELECT. Give names to columns that would be called alike. Either this or O(table).
    type: str
  table:
    description: A table, all of its columns, in the order of its key.
    type: str
  schema:
    description: Its schema, in PostgreSQL.
    type: str
  where:
    description: A condition in SQL that the rows of O(table) must meet.
    type: str
  dest:
    description: The file, which is packed when its name ends in C(.zst). Its folder is made when missing.
    type: path
  format:
    description:
      - By default what the name tells (C(.csv), C(.jsonl), C(.json)).
      - V(jsonl) has one object in each line, V(json) is one array of objects.
      - Binary content is C(\\x) and hexadecimal digits without quotes in CSV and an object with the key C($hex) in JSON.
    type: str
    choices: [csv, jsonl, json]
  header:
    description: Whether CSV begins with the names of the columns; V(true) when not given.
    type: bool
  delimiter:
    description: The character between cells of CSV; a comma when not given.
    type: str
  "null":
    description:
      - What stands for NULL in CSV, without quotes; a text that is the same is in quotes. Nothing when not given, and an empty text is C("").
    type: str
  encoding:
    description: The encoding of the file; V(utf-8) when not given, V(utf-8-sig) has a byte order mark. What it lacks is an error.
    type: str
  spreadsheet_safe:
    description:
      - Put an apostrophe before text in CSV that begins with C(=), C(+), C(-), C(@), a tab or a carriage return, which a spreadsheet would
        take for a formula. Numbers are left alone. Such a file does not come back as it was.
    type: bool
  limits:
    description: What an export may cost; past one of them nothing is written.
    type: dict
    suboptions:
      rows:
        description: Rows at most.
        type: int
      bytes:
        description: Bytes of content at most, as in V(1GiB).
        type: str
      seconds:
        description: Time at most, which the server keeps too, as in V(10m).
        type: str
requirements:
  - zstd, for packed files
  - psql for the engine postgresql, mariadb or mysql for the engine mysql
notes:
  - In PostgreSQL a query goes through psql, in MariaDB and MySQL through their client; backslash commands in it are those of the client.
seealso:
  - module: sre.runbooks.database_import
  - module: sre.runbooks.database_archive
"""

EXAMPLES = r"""
- name: Utilization of the last week for a spreadsheet
  sre.runbooks.database_export:
    databases:
      - name: utilization
        engine: sqlite
        path: /var/lib/feature11/feature11.db
        query: SELECT person, week, hours FROM allocation WHERE week >= date('now', '-7 days') ORDER BY person
        dest: /srv/reports/utilization.csv
    spreadsheet_safe: true
    encoding: utf-8-sig

- name: A table as packed JSON lines
  sre.runbooks.database_export:
    databases:
      - {name: ghosteam_v5, engine: postgresql, run_as: postgres, table: models, dest: /srv/exports/models.jsonl.zst}
    limits: {rows: 1000000, seconds: 10m}
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each export.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: sqlite:utilization
    stage:
      description: Always V(export).
      type: str
      sample: export
    status:
      description: V(ok), V(warning) (another run writes the same file), or V(critical) (refused or failed).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "1204 rows, 61.2 KiB, written to /srv/reports/utilization.csv in 140 ms"
    metrics:
      description: C(rows), C(size_bytes) of the content, C(duration_seconds).
      type: dict
      sample: {rows: 1204, size_bytes: 62669, duration_seconds: 0.14}
    details:
      description: The C(path), the C(sha256) of the content before packing, the C(columns), the C(format).
      type: dict
      sample: {path: /srv/reports/utilization.csv, format: csv}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _export

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_export.SPEC)
    runbook.run(module, _export.STAGE, lambda: export(module), conceal=["databases"])


def export(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, export, return the envelope."""
    tasks, secrets = _export.read(module.params)
    module.no_log_values.update(secrets)
    return _export.run(tasks, module.params["state_dir"], command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
