#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics
short_description: Collect what a responder needs before anything is changed, in one file without secrets
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes a bundle, a C(tar.zst) or C(tar.gz) of mode 0600, of resources, processes, sockets, services, journal, logs, databases, kernel,
    network and recent changes. Nothing else on the host is changed.
  - Its first file, C(summary.md), is a page for a person, with what is different from the last healthy baseline; C(manifest.json) has each
    part with size, SHA-256, seconds, whether it was cut, and what went wrong.
  - A collector that fails or hangs is recorded with the reason and keeps no other from its work; its programs are ended. Too much is cut, the
    oldest first, from the largest part. A disk that comes to O(limits.reserve) gets a smaller bundle or none.
  - Secrets are taken out, the same value by the same mark C(<secret-1>) in all parts. That are the passwords in O(databases), O(secrets), what
    O(env_files) hold, what matches O(redact), and what looks like a password, token, key, cookie or authorization anywhere. Such a value is
    then hidden in all parts, wherever it stands.
  - With O(fetch_directory) the bundle is brought to the controller in pieces and its SHA-256 compared there.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Tells what would be collected.
  diff_mode:
    support: none
    details: What is new is one file, which the result names.
  action:
    description: Has an action that runs on the controller.
    support: partial
    details: The action fetches the bundle.
options:
  incident:
    description: Id of the incident; it stands in the bundle's name.
    type: str
    default: ""
  collect:
    description:
      - What to collect. When not given, all but V(containers) and V(sos), and the engines that O(databases) name.
      - V(changes) are packages, files below O(paths), O(deployments), and runs of this collection. V(sos) is the distribution's own report.
    type: list
    elements: str
    choices: [changes, containers, journal, kernel, logs, mysql, network, postgresql, processes, redis, resources, services, sockets, sos, sqlite]
  units:
    description: Units of systemd of which everything is told. Units that failed are added.
    type: list
    elements: str
    default: []
  logs:
    description: Log files as paths or patterns; of each the end is read, and of those rotated away from it within O(since). Symbolic links are not followed.
    type: list
    elements: path
    default: []
  databases:
    description: Databases as in the C(sources) of M(sre.runbooks.backup), C({name, engine, ...}). Entries with the engine C(files) are passed over.
    type: list
    elements: dict
    default: []
  containers:
    description: Containers whose logs are read, with V(containers) in O(collect).
    type: list
    elements: str
    default: []
  paths:
    description: Folders and files; what changed below them within O(changed_within) is listed, and the baseline compares them.
    type: list
    elements: path
    default: []
  deployments:
    description: Folders of releases; where symbolic links in them lead is told, and the revision of a git checkout.
    type: list
    elements: path
    default: []
  since:
    description: How far back journals, logs and containers are read.
    type: str
    default: 2h
  changed_within:
    description: How far back changes are told.
    type: str
    default: 24h
  limits:
    description: What a bundle may take.
    type: dict
    default: {}
    suboptions:
      bytes:
        description: Size of all parts together, unpacked.
        type: str
        default: 50MiB
      part:
        description: Size of the end that is read of one log or journal.
        type: str
        default: 8MiB
      seconds:
        description: Time for all collectors.
        type: str
        default: 120s
      collector:
        description: Time for each of them.
        type: str
        default: 60s
      reserve:
        description: So much of the disk stays free.
        type: str
        default: 256MiB
  sos:
    description: What the report of sos may take, besides O(limits).
    type: dict
    default: {}
    suboptions:
      bytes:
        description: Size of what is taken over from it.
        type: str
        default: 100MiB
      seconds:
        description: Time for it.
        type: str
        default: 5m
      plugins:
        description: Its plugins to run. When empty, all that it enables by itself.
        type: list
        elements: str
        default: []
  directory:
    description: Folder of the bundles on the host, mode 0700. By default C(diagnostics) in the state folder.
    type: path
  keep:
    description: So many of the newest bundles are kept.
    type: int
    default: 10
  redact:
    description: Regular expressions of Python for further secrets. When there is a group, the first one is the secret, else all of the match.
    type: list
    elements: str
    default: []
  secrets:
    description: Further values to hide. Those shorter than four characters are not.
    type: list
    elements: str
    default: []
  env_files:
    description: Environment files on the host whose secrets are to be hidden.
    type: list
    elements: path
    default: []
  baseline:
    description:
      - V(compare) makes a bundle and compares the host with the last baseline, V(none) makes one without comparison.
      - V(save) makes no bundle; it keeps the facts as the new baseline when O(health) is V(ok).
    type: str
    choices: [compare, save, none]
    default: compare
  health:
    description: Status of the health checks that were just made, for V(baseline=save).
    type: str
    choices: [ok, skipped, unknown, warning, critical]
  fetch_directory:
    description: Folder on the controller; the bundle goes into a folder of it that is called as the host. When not given it stays on the host.
    type: path
notes:
  - Run it as root to see processes, sockets and journals of all users.
  - Fetching runs C(dd) and C(base64) on the host, as the user that the module runs as.
seealso:
  - module: sre.runbooks.health_check
  - module: sre.runbooks.log_scan
"""

EXAMPLES = r"""
- name: Collect diagnostics before the service is restarted
  sre.runbooks.diagnostics:
    incident: INC-20261120-090000-1f2e
    units: [feature11.service]
    logs: [/var/log/feature11/*.log]
    databases: "{{ runbooks_databases_feature11 }}"
    paths: [/etc/feature11, /opt/feature11]
    env_files: [/etc/feature11/feature11.env]
    fetch_directory: ~/.local/state/sre-runbooks/diagnostics
  become: true
  register: diagnostics_result

- name: Keep the baseline of a healthy host
  sre.runbooks.diagnostics:
    baseline: save
    health: "{{ health_result.status }}"
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for the bundle or the baseline, one for each collector that could not do its work.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: V(diagnostics:bundle), V(diagnostics:baseline), V(diagnostics:fetch) or the collector.
      type: str
      sample: diagnostics:bundle
    stage:
      description: Always V(diagnostics).
      type: str
      sample: diagnostics
    status:
      description:
        - V(ok), V(warning) for a bundle that the disk made smaller, V(unknown) for a collector that failed, V(critical) when there is no bundle.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "41 files, 1.2 MiB in 2.1 s: /var/lib/sre-runbooks/diagnostics/diagnostics_INC-1_20261120T090000Z.tar.zst"
    metrics:
      description: Sizes, seconds, number of parts and of those that were cut.
      type: dict
      sample: {size_bytes: 1258291, content_bytes: 9437184, duration_seconds: 2.1, parts: 41, truncated: 0}
    details:
      description: Path and sum of the bundle, what was skipped, and the differences from the baseline.
      type: dict
      sample: {differences: ["services: changed feature11.service: active/running -> failed/failed"]}
bundle:
  description: The bundle.
  returned: when one was made
  type: dict
  contains:
    path:
      description: Where it is on the host.
      type: str
      sample: /var/lib/sre-runbooks/diagnostics/diagnostics_INC-1_20261120T090000Z.tar.zst
    size_bytes:
      description: Its size.
      type: int
      sample: 1258291
    sha256:
      description: Its SHA-256.
      type: str
      sample: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    created:
      description: When it was begun.
      type: str
      sample: "2026-11-20T09:00:00Z"
    incident:
      description: The incident.
      type: str
      sample: INC-1
    fetched:
      description: Where it is on the controller, when it was fetched and its sum is the same there.
      type: str
      sample: /home/ops/.local/state/sre-runbooks/diagnostics/app1/diagnostics_INC-1_20261120T090000Z.tar.zst
differences:
  description: What is different from the baseline, by subject; null when there is none.
  returned: when a bundle was made
  type: dict
  sample: {services: {changed: {feature11.service: [active/running, failed/failed]}}}
deleted:
  description: Bundles that were more than O(keep).
  returned: when a bundle was made
  type: list
  elements: str
  sample: []
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _settings.STAGE, lambda: diagnostics(module), conceal=["databases", "secrets", "redact"])


def diagnostics(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, collect, return the envelope."""
    settings, secrets = _settings.read(module.params)
    # What stands in environment files is as secret as what stands in the options; short values would blot out half of the result.
    module.no_log_values.update(
        secrets | {each for each in settings.secrets if len(each) >= _settings.SHORTEST_BLOTTED}
    )
    return _run.run(settings, command.Commands(module.run_command), module.check_mode)


if __name__ == "__main__":
    main()
