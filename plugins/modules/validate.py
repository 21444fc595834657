#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/validate.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Validate the variables of several roles before the first of them begins
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Holds a host's variables against the argument specifications of several roles of this collection in one task.
  - A mistake in the variables of the last role is found before the first one has changed anything, and a host costs one task
    instead of one per role. Import the roles with C(rolespec_validate=false) then.
options:
  roles:
    description: Names of roles of this collection, such as V(health).
    type: list
    elements: str
    required: true
  playbook:
    description:
      - Name of the playbook whose stages keep maintenance windows (M(sre.runbooks.window)), to validate those too, with C(runbooks_stage_needs)
        and C(runbooks_gated_stages). When empty, they are not looked at.
    type: str
    default: ""
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
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
"""

EXAMPLES = r"""
- name: Do two stages
  hosts: all
  gather_facts: false
  tasks:
    - name: Validate the variables
      sre.runbooks.validate:
        roles: [health, backup]

    - name: Health
      ansible.builtin.import_role:
        name: sre.runbooks.health
        rolespec_validate: false

    - name: Backup
      ansible.builtin.import_role:
        name: sre.runbooks.backup
        rolespec_validate: false
"""

RETURN = r""" # """
