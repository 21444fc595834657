#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/ssh_key_pair.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_key_pair
short_description: The key pair of an SSH user on the controller, in a rotation of all hosts that it opens
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Makes the next key pair beside the one in use, puts it in its place when all hosts that can be reached were opened with it, and keeps the
    private key before it until no host needs it any more. The role P(sre.runbooks.ssh_keys#role) calls its stages between those of
    M(sre.runbooks.ssh_keys), whose registered results it reads of all hosts of the play.
  - C(ssh_pairs.json) in the state folder of the controller says which key opens which host. Killed at any moment, the next run goes on.
options:
  stage:
    description:
      - V(status) tells the age, and claims what another run left.
      - V(create) makes the next pair when it is due, every host has answered or is known to be away, and none is left out of the play.
      - V(decide) puts it in its place, or gives it up when a host refused it.
      - V(finish) removes private keys that no host needs.
    type: str
    choices: [status, create, decide, finish]
    default: status
  private_key:
    description: The private key in use, a file on the controller with mode 0600 and no passphrase.
    type: str
    required: true
  name:
    description: What the key is called; also its comment.
    type: str
    default: automation
  run:
    description: Name of this rotation; all its stages have the same.
    type: str
    default: ""
  actor:
    description: Who rotates, for the audit.
    type: str
    default: ""
  force:
    description: Whether the key is due whatever its age.
    type: bool
    default: false
  compromised:
    description: Whether the key is due whatever its age, and ends in this run.
    type: bool
    default: false
  max_age:
    description: The age from which it is due.
    type: str
    default: 180d
  overlap:
    description: For how long the one before goes on to open hosts.
    type: str
    default: 24h
  state_dir:
    description: The state folder of the controller; by default V(/var/lib/sre-runbooks) for root and V(~/.local/state/sre-runbooks) else.
    type: path
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
  - sre.runbooks.attributes.controller
attributes:
  check_mode:
    support: full
    details: Nothing is made or written.
  diff_mode:
    support: none
seealso:
  - module: sre.runbooks.ssh_keys
"""

EXAMPLES = r"""
- name: See how old the key is
  sre.runbooks.ssh_key_pair:
    private_key: ~/.ssh/id_ed25519
  run_once: true
"""

RETURN = r"""
status:
  description: The status of the outcome.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for the key.
  returned: success
  type: list
  elements: dict
  sample:
    - {subject: "key:automation", stage: ssh_keys, status: ok, summary: "SHA256:4tYQ… is 12 d old", metrics: {age_seconds: 1036800.0}, details: {}}
facts:
  description: What the stages on hosts go by; public keys, fingerprints and paths.
  returned: success
  type: dict
  sample: {fingerprint: "SHA256:4tYQ…", pending: false, with: {}}
"""
