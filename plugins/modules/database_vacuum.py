#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_vacuum
short_description: Check the integrity of databases, free what is dead in them, and renew their statistics
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Looks for damage first. A damaged database is V(critical) and is left as it is.
  - Then does what is due, table by table, most urgent first, within a budget of time and bytes. Each step is whole by itself, so that
    a run that is killed or out of its budget loses nothing; the next one goes on. A second run finds nothing to do.
  - Of several databases the one that has waited longest comes first.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Each database is looked at, and the outcomes say what would be done to which table. Nothing is written, and integrity is not checked.
  diff_mode:
    support: full
    details: The steps with their reasons.
options:
  databases:
    description:
      - What to maintain. Each has a C(name), an C(engine), the engine's options, see the notes, and may say otherwise for itself than
        O(full), O(analyze), O(integrity), O(lock_timeout), O(minimum_free_percent) and O(minimum_dead_percent).
      - Options of M(sre.runbooks.backup) in an entry are passed over, so that one list serves both.
    type: list
    elements: dict
    required: true
  full:
    description:
      - Write tables anew that have much free space, which needs as much room again and locks them meanwhile (PostgreSQL C(VACUUM FULL),
        MariaDB C(OPTIMIZE TABLE)). For SQLite, do it for any free page.
    type: bool
    default: false
  analyze:
    description: Renew the statistics that queries are planned by, where there are none or much has changed.
    type: bool
    default: true
  integrity:
    description:
      - How thoroughly to look for damage. V(full) is SQLite's C(integrity_check), MariaDB's C(CHECK TABLE), and of PostgreSQL failed
        checksums and, where the extension C(amcheck) is in the database, every table and every row of every B-tree.
      - V(quick) is C(quick_check), C(CHECK TABLE QUICK), and of PostgreSQL the order of every B-tree.
    type: str
    choices: [none, quick, full]
    default: full
  budget:
    description: What the whole run may cost. Steps that do not fit are left for the next run, and the outcome is a V(warning).
    type: dict
    suboptions:
      seconds:
        description: Time, as in V(2h). A step that is going on at its end is ended, and undone by the engine.
        type: str
      bytes:
        description: Sizes of tables that are worked on, as in V(50GiB).
        type: str
  lock_timeout:
    description: How long to wait for a lock that somebody else holds; then the table (of SQLite, the file) is left as it is, which is a V(warning).
    type: str
    default: 10s
  minimum_free_percent:
    description:
      - Free share of a SQLite file from which on it is vacuumed, and with O(full) of a table from which on it is written anew.
      - PostgreSQL's is an estimate from the width of the rows, for tables of at least 1 MiB.
    type: float
    default: 10
  minimum_dead_percent:
    description: Share of dead rows from which on a PostgreSQL table is vacuumed, if there are at least 50.
    type: float
    default: 5
requirements:
  - psql for the engine postgresql, mariadb or mysql for the engine mysql
notes:
  - B(sqlite) vacuums the file C(path). VACUUM writes it anew in one transaction, for which the file's folder must have room for the file
    and its content once more; writers wait meanwhile. Where C(auto_vacuum) is incremental, pages are given back a few at a time instead.
    In WAL mode the log is brought into the file at the end.
  - B(postgresql) does C(VACUUM (ANALYZE)) on tables of C(database) (default the entry's name) that have dead rows, no or old
    statistics, or old transaction ids. C(host), C(port), C(user), C(password), C(run_as) and C(container) as for M(sre.runbooks.backup). A
    standby is skipped.
  - B(mysql) does C(ANALYZE TABLE) on tables that have changed since the last run. Connection as for postgresql, and C(socket). Nothing of it
    is written to the binary log.
seealso:
  - module: sre.runbooks.backup
  - module: sre.runbooks.database_indexes
"""

EXAMPLES = r"""
- name: Maintain two databases for an hour at most
  sre.runbooks.database_vacuum:
    databases:
      - {name: feature11, engine: sqlite, path: /var/lib/feature11/feature11.db}
      - {name: ghosteam_v5, engine: postgresql, run_as: postgres, integrity: quick}
    budget: {seconds: 1h}
  register: vacuum_result

- name: Write bloated tables anew while nobody works
  sre.runbooks.database_vacuum:
    databases:
      - {name: ghosteam_v5, engine: postgresql, run_as: postgres}
    full: true
    minimum_free_percent: 30
    lock_timeout: 1s
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each database.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: postgresql:ghosteam_v5
    stage:
      description: Always V(vacuum).
      type: str
      sample: vacuum
    status:
      description:
        - V(ok); V(skipped) on a standby; V(warning) when something is left for the next run, was locked, or belongs to somebody else; V(critical)
          when the database is damaged or could not be maintained.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "1.4 GiB -> 1.2 GiB; VACUUM (ANALYZE) of 12 in 41.3 s; amcheck ok: 61 tables, 143 indexes"
    metrics:
      description:
        - C(size_before_bytes), C(size_bytes), C(free_percent) (SQLite, MariaDB) or C(dead_percent) (PostgreSQL), C(wal_bytes), C(tables), C(steps),
          C(steps_left), C(duration_seconds), C(integrity_seconds).
      type: dict
      sample: {size_before_bytes: 1503238553, size_bytes: 1288490188, dead_percent: 0.2, steps: 12, steps_left: 0, duration_seconds: 41.3}
    details:
      description: The C(steps) that were done (in check mode, would be), those C(left), and C(problems); 50 of each at most.
      type: dict
      sample: {steps: [{target: public.events, action: VACUUM (ANALYZE), reason: 31 % dead rows, bytes: 104857600}]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._database import _settings, _vacuum

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _vacuum.STAGE, lambda: vacuum(module), conceal=["databases"])


def vacuum(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, maintain, return the envelope."""
    items, secrets = _settings.items(module.params)
    module.no_log_values.update(secrets)
    settings = _settings.settings(module.params)
    state_dir = state.directory(module.params["state_dir"])
    return _vacuum.run(settings, items, command.Commands(module.run_command), state_dir, module.check_mode)


if __name__ == "__main__":
    main()
