#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/record.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Record what every host of a run answered, and who did not
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Reads the registered results of all stages of all hosts of the play at once, without templating them, and writes
    them as one run to the history store.
  - "Holds the roll-call: a host that was unreachable, a stage that failed or that never ran is an outcome of its own, of
    the stage V(roll_call) with the status V(critical)."
  - "Remembers since when each status has held: the module's own word, or the run in which it was first seen."
options:
  playbook:
    description: Name of the run's kind, such as V(daily); runs of one name are one history.
    type: str
    required: true
  stages:
    description:
      - Stages that every host of the play is expected to have run, in their order. The result of the stage V(health) is
        the registered variable C(health_result).
      - Stages that C(--tags) and C(--skip-tags) leave out are not expected; the tag of a stage is its name.
    type: list
    elements: str
    required: true
  history_url:
    description:
      - Where the history is kept, C(sqlite:///<path>) or C(postgresql://<user>@<host>/<database>).
      - The file and its folder are made for their owner alone. Tables are made and brought up to date as needed.
      - The password of a database may stand in C(PGPASSWORD), C(~/.pgpass) or a service file instead of the URL; it is never printed.
    type: str
    default: sqlite:///~/.local/state/sre-runbooks/history.db
  joined:
    description:
      - Name of runs that are in the history already, such as V(daily). What every host of the play said in its newest one of them is
        recorded as one run named O(playbook), which has to be another name; O(stages) are then those of the joined runs.
      - For hosts that run by themselves (C(ansible-pull)) and for fleets in slices. Empty to record what the hosts of this play answered.
    type: str
    default: ""
  joined_within:
    description: How long ago such a run may have ended. A host without one is a row of the roll-call.
    type: str
    default: 26h
  textfile_dir:
    description:
      - Folder of the textfile collector of the controller's node_exporter. What became of the run is written there, a file for each
        playbook and system. Empty for none.
    type: str
    default: ""
  log:
    description:
      - A file on the controller to which a JSON line for the run and one for each outcome are added. It is made with the mode V(0640).
        Empty for none.
    type: str
    default: ""
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
  - sre.runbooks.attributes.controller
attributes:
  check_mode:
    support: full
    details: Nothing is recorded.
  diff_mode:
    support: none
requirements:
  - SQLAlchemy >= 2.0 (on the controller)
  - psycopg >= 3.2 (on the controller, for PostgreSQL)
  - psutil >= 5.9 (on the controller)
notes:
  - "The play has to have the same hosts as the play of the stages: under C(--limit), a play on the implicit localhost is dropped."
  - Never reports a change, for the record of a run is no state of a host.
seealso:
  - module: sre.runbooks.report
"""

EXAMPLES = r"""
- name: Report the run
  hosts: all
  gather_facts: false
  tasks:
    - name: Record the run
      sre.runbooks.record:
        playbook: daily
        stages: [health, log_cleanup, backup]

    - name: Record the run in a database that several controllers share
      sre.runbooks.record:
        playbook: daily
        stages: [health, log_cleanup, backup]
        history_url: postgresql://runbooks@history.example.com/runbooks
"""

RETURN = r"""
run_id:
  description: Identifier of the run, sorts by its start; empty in check mode.
  type: str
  returned: success
  sample: 20261121T090000Z-3f2a9c
status:
  description: The worst status of all outcomes.
  type: str
  returned: success
  sample: warning
started:
  description: Start of the ansible-playbook process, UTC.
  type: str
  returned: success
  sample: "2026-11-21T09:00:00Z"
counts:
  description: Number of outcomes by status.
  type: dict
  returned: success
  sample: {ok: 41, skipped: 0, unknown: 0, warning: 1, critical: 0}
expected:
  description: Number of hosts that were expected.
  type: int
  returned: success
  sample: 40
answered:
  description: Number of hosts that answered.
  type: int
  returned: success
  sample: 39
troubles:
  description: What could not be written to O(textfile_dir) or O(log); the run is recorded all the same.
  type: list
  elements: str
  returned: success
  sample: []
"""
