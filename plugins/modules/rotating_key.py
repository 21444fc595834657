#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotating_key
short_description: One stage of the rotation of keys, on the host that makes them or on one that uses them
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - A key goes through the stages pending, current, previous and revoked. This module does one of them for all keys of a host; the role
    P(sre.runbooks.key_rotation#role) calls it on all hosts in their order and carries what one must know of another.
  - A new key is made current only when every consumer on every host has proven it by a real call. The one before is revoked only when its
    overlap has passed, and then proven dead by a call that is refused.
  - Killed at any moment, every consumer holds a key that works, and the next run goes on. What a run left pending is given up by the next one,
    taken back from all consumers, and only then revoked.
  - Values are in no result but that of the stage V(create), whose task must have C(no_log), and stay nowhere but in the consumers' files and,
    the one before until it is proven dead, in the consumers' state folders with mode 0600. What is shown of a value is its fingerprint,
    the first 12 hexadecimal digits of the SHA-256 of C(<name>:<value>).
  - The journal on the provider's host (C(keys.json)) holds ids, fingerprints and times; C(keys_audit.jsonl) on every host says who did what
    and when. Both have mode 0600.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Keys that are due are told. Nothing is made, written, restarted or revoked; calls that prove a key are made.
  diff_mode:
    support: none
    details: A difference would show values.
options:
  keys:
    description:
      - The keys. Each has a C(name); C(provider), on the host that makes it; C(consumers), on hosts that use it; C(verify), how it is proven;
        C(max_age) (V(90d)) and C(overlap) (V(24h)); and C(expected), on the provider's host, the hosts that must prove it.
      - C(provider) has a C(type), see the notes, its options, and C(adopt), the id of the key that consumers had before the first rotation. Without
        it that is the newest active one whose name at the provider is the key's C(name). Where it connects to a database, C(server) is the
        address of that; C(host) is, for the role, the host that makes the key.
      - A consumer has C(path) and C(variable), C(format) (V(env), V(yaml), V(json), V(ini)), and one of C(restart) (a unit), C(reload) (a unit)
        and C(command) (a list, run when the file has changed), with C(timeout) (V(60s)). C(template), as in V(postgresql://{id}:{value}@db1/app), says
        that the variable holds more than the key; C(user_variable) names another variable of the file, which holds the user. Both change in one go.
      - C(verify) has a C(type). V(http) takes C(url), C(method), C(header) (V(Authorization)), C(prefix) (V(Bearer) and a space for that header), C(status)
        (V([200])), C(refused) (V([401, 403])), C(headers), C(validate_certs), C(ca_path). V(postgresql) and V(mysql) take a connection; the key is the
        password, or a connection string, and the user that which stands in the file. V(command) takes C(argv), C(environment) (the variable that gets the key,
        V(SRE_RUNBOOKS_KEY); the user is in C(SRE_RUNBOOKS_USER)), C(run_as),
        C(refused) (the exit statuses of a key that does not work, V([1])). All take C(timeout) of one call (V(10s)), C(within) (V(30s)), for as long as
        they are tried, and C(used_by) with C(url), C(headers), C(method), C(status), a call to the consumer itself that it answers well only when its
        own calls with the key are.
    type: list
    elements: dict
    required: true
  stage:
    description:
      - V(status) tells ages; with O(run) set it also claims what another run left pending, which that can then not promote any more.
      - V(create), on the provider's host, revokes what another run left and makes a new key of those that are due.
      - V(distribute), on a consumer, puts the new key into the file and has the program read it; the value before is kept.
      - V(prove), on a consumer, makes a real call with the key in the file.
      - V(promote), on the provider's host, makes the new key current, or gives it up, by what O(reports) prove.
      - V(rollback), on a consumer, puts the kept value back where one that was given up is.
      - V(revoke), on the provider's host, revokes given-up keys that no consumer holds, and earlier ones whose overlap has passed.
      - V(prove_dead), on a consumer, makes a real call with a revoked key, which must be refused, and removes that value.
    type: str
    choices: [status, create, distribute, prove, promote, rollback, revoke, prove_dead]
    default: status
  run:
    description: Name of this rotation; all its stages have the same.
    type: str
    default: ""
  actor:
    description: Who rotates, for the audit.
    type: str
    default: ""
  values:
    description: The new values by key, for V(distribute).
    type: dict
    default: {}
  orders:
    description: What the providers' hosts said last, by key (RV(facts)), for stages on a consumer.
    type: dict
    default: {}
  reports:
    description: What the consumers said last, by host (RV(reports)), for stages on the provider's host.
    type: dict
    default: {}
  force:
    description: Names of keys that are due whatever their age.
    type: list
    elements: str
    default: []
  compromised:
    description: Names of keys that are due whatever their age, and whose overlap is 0.
    type: list
    elements: str
    default: []
  limit:
    description: Keys that may be created in one call; the others wait for the next run.
    type: int
    default: 10
  timeout:
    description: Time limit of a provider for one key, as in V(60s).
    type: str
    default: 60s
notes:
  - B(store) makes keys in a table that a service reads (C(engine) V(sqlite), V(postgresql) or V(mysql) with its connection, C(table), C(columns), C(hash),
    C(prefix), C(bytes), C(owner), C(role), C(permissions), C(expires_in), C(times)).
  - B(http) makes them by an admin API (C(url), C(headers), C(create), C(revoke), C(list)).
  - B(postgresql_role) and B(mysql_user) give two users in turn new passwords (C(users), C(group), C(same_rights), C(bytes), C(expires_in), C(account_host),
    and a connection). The consumers need C(template) or C(user_variable).
  - B(command) has programs make them (C(create), C(revoke), C(list), C(environment), C(generate)). B(vault) keeps them in a KV version 2 engine of HashiCorp
    Vault or OpenBao (C(url), C(mount), C(path), C(field), C(token), C(token_file), C(token_variable), C(namespace)). See docs/keys.md.
  - The role P(sre.runbooks.key_rotation#role) calls all stages.
"""

EXAMPLES = r"""
- name: See how old the keys of this host are
  sre.runbooks.rotating_key:
    keys:
      - name: reporting
        max_age: 90d
        provider: {type: store, engine: sqlite, path: /var/lib/feature11/feature11.db, role: ANALYST}
  register: key_result

- name: See how old the password of a database is that two roles take turns with
  sre.runbooks.rotating_key:
    keys:
      - name: orders
        provider: {type: postgresql_role, database: orders, run_as: postgres, users: [orders_a, orders_b], group: orders}

- name: Prove that the key in the file of this host works
  sre.runbooks.rotating_key:
    stage: prove
    keys:
      - name: reporting
        consumers:
          - {path: /opt/reporting/.env, variable: FEATURE11_API_KEY, restart: reporting.service}
        verify: {type: http, url: "http://127.0.0.1:8000/api/v1/whoami"}
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each key on the provider's host, one for each variable on a consumer.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The key, on a consumer with variable and file.
      type: str
      sample: key:reporting
    stage:
      description: Always V(keys).
      type: str
      sample: keys
    status:
      description: V(ok), V(warning) (the rotation waits), V(critical) (failed, and rolled back), V(unknown) (could not be looked at).
      type: str
      sample: ok
    summary:
      description: One line for a person; fingerprints, never a value.
      type: str
      sample: "rotated: 3f2a9c10b7d4 is current, proven by 3 host(s); the old one ends in 24.0 h"
    metrics:
      description: C(age_seconds) of the current key.
      type: dict
      sample: {age_seconds: 7862400}
    details:
      description: C(current), its fingerprint.
      type: dict
      sample: {current: 3f2a9c10b7d4}
facts:
  description: By key, what stages on consumers go by; on the provider's host.
  returned: success
  type: dict
  sample: {reporting: {due: "", waits: "", revoked: []}}
reports:
  description: By key, what stages on the provider's host go by; on a consumer.
  returned: success
  type: dict
  sample: {reporting: {seen: true, held: [3f2a9c10b7d4], proven: true, released: [], problem: ""}}
made:
  description: The new values by key. They must not be shown; set C(no_log) for the task.
  returned: stage V(create), when keys were made
  type: dict
  sample: {}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, "keys", lambda: rotate(module), conceal=["keys", "values", "orders", "reports"])


def rotate(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, do the stage, return the envelope."""
    keys, secrets = _settings.read(module.params["keys"])
    module.no_log_values.update(secrets)
    return _run.run(module.params, keys, command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
