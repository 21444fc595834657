#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_indexes
short_description: Make the indexes that must exist without blocking writers, and report missing and useless ones and slow queries
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes each index of O(indexes) that is not there. An index of another name over the same columns counts; one of the same name over others
    is a V(warning) and stays.
  - PostgreSQL makes them C(CONCURRENTLY). An invalid index, which a run that was killed leaves, is dropped C(CONCURRENTLY) and made again.
    MariaDB makes them in place without a lock, or refuses. SQLite makes each in one transaction.
  - Reports what the server's own statistics say, with a remedy, and drops nothing of it.
  - Judges the mean time of each kind of statement. Their values are never shown.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Everything is looked at and told; no index is made.
  diff_mode:
    support: full
    details: The indexes that are made.
options:
  databases:
    description:
      - Where to look. Each has a C(name), an C(engine), and the engine's options, as for M(sre.runbooks.database_vacuum).
    type: list
    elements: dict
    required: true
  indexes:
    description: Indexes that must exist.
    type: list
    elements: dict
    default: []
    suboptions:
      database:
        description: The C(name) of an entry of O(databases).
        type: str
        required: true
      table:
        description: The table's name. Names are taken as they stand, whatever is in them.
        type: str
        required: true
      schema:
        description: The table's schema, of PostgreSQL alone; V(public) when not given.
        type: str
      columns:
        description: Names of columns in their order.
        type: list
        elements: str
        required: true
      name:
        description: The index's name; C(idx_<table>_<columns>) when not given.
        type: str
      unique:
        description: Whether it keeps rows unique.
        type: bool
        default: false
      where:
        description: SQL expression that makes it a partial index, of PostgreSQL and SQLite alone. Such an index is known by its name.
        type: str
      method:
        description: PostgreSQL's access method such as V(gin), or MariaDB's V(btree) or V(hash).
        type: str
  timeout:
    description: For each database, how long making indexes may take; what is not made by then is undone, and a V(warning).
    type: str
    default: 1h
  lock_timeout:
    description: How long to wait for a lock that would keep others waiting, as MariaDB and SQLite need one.
    type: str
    default: 10s
  report:
    description:
      - What to report.
      - C(foreign_key_without_index), C(sequential_scans) of big tables, C(unused_index) and C(broken_index) come from PostgreSQL, the first
        from SQLite too; C(duplicate_index) from all; C(table_without_primary_key) from MariaDB.
    type: list
    elements: str
    choices: [foreign_key_without_index, sequential_scans, unused_index, duplicate_index, broken_index, table_without_primary_key]
    default: [foreign_key_without_index, sequential_scans, unused_index, duplicate_index, broken_index, table_without_primary_key]
  ignore:
    description: Names not to report, as they stand before the first space of a finding's C(target), such as V(public.events).
    type: list
    elements: str
    default: []
  minimum_table_size:
    description: PostgreSQL's tables and indexes smaller than this are not reported, as the last C(VACUUM) or C(ANALYZE) has counted them.
    type: str
    default: 8MiB
  minimum_age:
    description: An index counts as unused when PostgreSQL has kept its statistics for so long.
    type: str
    default: 7d
  slow_queries:
    description:
      - From when on the mean time of a kind of statement is slow, in seconds. PostgreSQL tells by the extension C(pg_stat_statements), MariaDB by
        its performance schema or a slow query log in a table; without those the outcome is V(skipped).
    type: dict
    suboptions:
      warning:
        description: A threshold, as in V(> 500ms).
        type: raw
        default: "> 1"
      critical:
        description: A threshold.
        type: raw
      calls:
        description: Statements that ran less often are not judged.
        type: int
        default: 5
      limit:
        description: How many to look at, the slowest.
        type: int
        default: 10
requirements:
  - psql for the engine postgresql, mariadb or mysql for the engine mysql
seealso:
  - module: sre.runbooks.database_vacuum
"""

EXAMPLES = r"""
- name: See that two indexes are there
  sre.runbooks.database_indexes:
    databases:
      - {name: mcp, engine: postgresql, run_as: postgres}
    indexes:
      - {database: mcp, table: tasks, columns: [project_id]}
      - {database: mcp, table: tasks, columns: [status], where: "deleted_at IS NULL", name: idx_tasks_live_status}
    slow_queries: {warning: "> 500ms", critical: "> 5"}
  register: indexes_result

- name: Report only
  sre.runbooks.database_indexes:
    databases:
      - {name: feature11, engine: sqlite, path: /var/lib/feature11/feature11.db}
    ignore: [allocations]
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: For each database one about its indexes, and one about its statements, of which SQLite keeps no record.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name; of statements, with C(:queries).
      type: str
      sample: postgresql:mcp
    stage:
      description: Always V(indexes).
      type: str
      sample: indexes
    status:
      description:
        - V(ok); V(skipped) on a standby, and where no statements are kept; V(warning) when something is conspicuous, slow or locked; V(critical)
          when an index cannot be made, or the database not be looked at.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "2 of 2 wanted indexes are there; idx_tasks_status on tasks (status) created in 1.3 s"
    metrics:
      description: C(indexes), C(indexes_bytes), C(wanted), C(missing), C(findings); of statements C(statements), C(slow), C(slowest_seconds).
      type: dict
      sample: {indexes: 41, wanted: 2, missing: 0, findings: 0}
    details:
      description: What was C(made), the C(problems), the C(findings) with C(kind), C(target) and C(advice); the C(queries). 20 of each at most.
      type: dict
      sample: {made: ["idx_tasks_status on tasks (status) created in 1.3 s"]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._database import _indexes, _indexes_settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_indexes_settings.SPEC)
    runbook.run(module, _indexes.STAGE, lambda: indexes(module), conceal=["databases"])


def indexes(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, make what is missing, return the envelope."""
    items, secrets = _indexes_settings.items(module.params)
    module.no_log_values.update(secrets)
    settings = _indexes_settings.settings(module.params, items)
    state_dir = state.directory(module.params["state_dir"])
    return _indexes.run(settings, items, command.Commands(module.run_command), state_dir, module.check_mode)


if __name__ == "__main__":
    main()
