#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_keys
short_description: One stage of the rotation of an SSH key on a host that it opens
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Adds a public key to the C(authorized_keys) of one user with the options of the key that it follows, proves by a second connection that it
    opens the host, and removes the one before. The role P(sre.runbooks.ssh_keys#role) calls its stages on all hosts in their order.
  - Owner and mode of the file, its comments, and other people's keys stay as they are; it is replaced as a whole. A file or folder that is a
    symbolic link, a file with several names, or one that belongs to somebody else is refused.
  - A key is removed only where another one that opens the host stays. Private keys stay on the controller, as the files that they are.
  - C(ssh_keys.json) in the state folder holds the fingerprints of keys that were given up, which are not taken again; C(keys_audit.jsonl) says
    who changed what and when. Both have mode 0600.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Fingerprints, for the options of a line may hold secrets.
  action:
    description: Has an action that runs on the controller, which makes the second connection.
    support: full
options:
  stage:
    description:
      - V(status) tells whether the file can be changed and which keys it holds.
      - V(add) puts O(key) after each line of the first key of O(beside) that is there, with its options.
      - V(prove) opens a second connection from the controller with O(private_key) alone, without an agent, without the connection that is
        shared, with the host's key checked as always. The key that the server accepted must be O(key).
      - V(revoke) removes O(remove) where O(key) stays, and proves that the private keys in O(dead) are refused.
      - V(rollback) removes O(remove) where one of O(beside) stays, and does not take it again.
    type: str
    choices: [status, add, prove, revoke, rollback]
    default: status
  name:
    description: What the key is called in outcomes and in the audit.
    type: str
    default: automation
  user:
    description: Whose keys; by default the user that the module runs as.
    type: str
  path:
    description: The file; by default C(.ssh/authorized_keys) in the user's home.
    type: path
  key:
    description: The public key that is to open the host.
    type: str
  beside:
    description: Public keys that may open it now, what is liked best first.
    type: list
    elements: str
    default: []
  remove:
    description: Public keys that are to be removed.
    type: list
    elements: str
    default: []
  private_key:
    description: The file on the controller with the private key of O(key), for V(prove).
    type: path
  dead:
    description: Files on the controller with private keys that must be refused after V(revoke).
    type: list
    elements: path
    default: []
  run:
    description: Name of this rotation, for the audit.
    type: str
    default: ""
  actor:
    description: Who rotates, for the audit.
    type: str
    default: ""
notes:
  - The role P(sre.runbooks.ssh_keys#role) calls all stages.
seealso:
  - module: sre.runbooks.ssh_key_pair
"""

EXAMPLES = r"""
- name: See which keys open this host
  sre.runbooks.ssh_keys:
    user: deploy

- name: Prove that the key in use opens it
  sre.runbooks.ssh_keys:
    stage: prove
    key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    private_key: ~/.ssh/id_ed25519
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for the user's file.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Key and user.
      type: str
      sample: key:automation@deploy
    stage:
      description: Always V(ssh_keys).
      type: str
      sample: ssh_keys
    status:
      description: V(ok), V(warning) (not there, or the host is away), V(critical) (refused, or cannot be changed), V(unknown).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: SHA256:4tYQ… proven by a connection of its own
    metrics:
      description: None.
      type: dict
      sample: {}
    details:
      description: None.
      type: dict
      sample: {}
report:
  description: What the controller goes by; fingerprints that the file holds, the one that was proven, and what went wrong.
  returned: success
  type: dict
  sample: {seen: true, held: ["SHA256:4tYQ…"], problem: ""}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _run


def main() -> None:
    module = runbook.build(_run.SPEC)
    runbook.run(module, "ssh_keys", lambda: _run.run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
