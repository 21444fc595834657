#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/window.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: window
short_description: Say whether a stage may begin now, by the host's maintenance windows
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Looks at the maintenance windows of each host, by the clock of the controller, right before a stage that disrupts. Connects to nothing.
  - Outside of all windows, or when the one that is open ends before the stage would, the result says that it may not begin, and why.
  - Registered as C(<stage>_window_result), it stands in the record for a stage that was not begun, as one outcome with the status V(skipped).
  - On a host without windows nothing that disrupts is begun, unless O(now) says so.
options:
  stage:
    description: Name of the stage, such as V(patching).
    type: str
    required: true
  playbook:
    description: Name of the playbook; windows whose C(for) names others do not count.
    type: str
    required: true
  inputs:
    description:
      - Variables that the stage works on; a name that ends with an underscore stands for all that begin with it.
      - On a host that has none of them the stage is V(skipped) for that, whatever the time.
    type: list
    elements: str
    default: []
  windows:
    description: The maintenance windows. By default all lists named C(runbooks_windows) or C(runbooks_windows_*), joined by the order of their names.
    type: list
    elements: dict
  needs:
    description:
      - How much time must be left when a stage begins, as in V({patching:45m}). By default C(runbooks_stage_needs).
      - >-
        What is not in it needs V(5m) for C(log_cleanup), V(15m) for C(key_rotation), C(service_restart) and C(site_steps), and V(30m) for
        C(backup), C(backup_verify), C(database_maintenance) and C(patching).
    type: dict
  gated:
    description:
      - The stages that keep windows. By default C(runbooks_gated_stages), or V(database_maintenance), V(key_rotation), V(patching), V(service_restart).
      - V(backup), V(backup_verify), V(log_cleanup) and V(site_steps) can be among them.
    type: list
    elements: str
  now:
    description: Begin whatever the windows say; an outcome of the stage tells it. By default C(runbooks_now).
    type: bool
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Asks the windows as a real run does; with O(now) a stage can be tried outside of them.
  diff_mode:
    support: none
  action:
    description: Has an action that runs on the controller.
    support: full
  bypass_host_loop:
    description: Runs once for all hosts of the play.
    support: none
  connection:
    description: Connects to hosts.
    support: none
requirements:
  - python-dateutil (on the controller)
seealso:
  - module: sre.runbooks.record
  - module: sre.runbooks.patching
"""

EXAMPLES = r"""
- name: Maintain databases in their windows
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask whether databases may be maintained now
      sre.runbooks.window:
        stage: database_maintenance
        playbook: weekly
        windows:
          - at: Sunday 02:00-04:00
            zone: Europe/Madrid
        needs:
          database_maintenance: 45m
      register: database_maintenance_window_result

    - name: Maintain databases
      ansible.builtin.include_role:
        name: sre.runbooks.database_maintenance
      when: database_maintenance_window_result.begin
"""

RETURN = r"""
begin:
  description: Whether the stage may begin.
  type: bool
  returned: success
  sample: false
window:
  description:
    - What is left of the window that is open, in a list of one, as O(sre.runbooks.patching#module:windows) takes it.
    - Empty where none is open, none is kept, or the open one never ends.
  type: list
  elements: dict
  returned: success
  sample: [{"begin": "2026-11-22T00:10:00Z", "end": "2026-11-22T03:00:00Z"}]
status:
  description: V(skipped) where the stage may not begin, else V(ok).
  type: str
  returned: success
  sample: skipped
outcomes:
  description: One for a stage that may not begin, or that begins by O(now) alone; else none.
  type: list
  elements: dict
  returned: success
  sample:
    - subject: patching
      stage: patching
      status: skipped
      summary: >-
        not begun: no maintenance window is open (Sunday 02:00-04:00 Europe/Madrid); the next one opens Sun 2026-11-22 02:00 Europe/Madrid
      metrics: {}
      details: {needs_seconds: 1800.0, left_seconds: null, next: "2026-11-22T01:00:00Z"}
"""
