#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_scan
short_description: Find credentials that lie open in files, configuration and logs
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Gives the files of folders, configuration and logs, archives of logs too, to detect-secrets or gitleaks, adds rules of its own for
    command lines, query strings, headers and variables, and returns file, line and kind of what lies open. Never a value, and no digest of one.
  - A secret is in its place in a file made for it, such as C(.env) or a private key. Such a file is a finding when everybody
    (V(critical)) or an unfit group (V(warning)) can read it.
  - What looks like a secret and is none is taken out, that is examples, templates, references, words, checksums. What is left and known goes to
    a baseline in the form of detect-secrets.
  - Each batch holds made-up credentials, so that an engine that does not work is V(unknown), never V(ok). So is what could not be read.
  - A finding is data. It is an outcome with status V(warning) or V(critical), not a failed task.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The same files are looked at; the state and baselines are not written, and RV(ignore:changed) says whether a baseline would be.
  diff_mode:
    support: none
    details: What changes is a baseline, which has digests of secrets.
options:
  scans:
    description: What is looked at.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name of its own; the outcomes' subjects are C(secrets:<name>) and C(secret_files:<name>).
        type: str
        required: true
      paths:
        description:
          - Folders and files, absolute, or shell patterns of them, such as C(/home/*/.bash_history). One without wildcards that is not there is V(unknown).
          - Links are not followed, nor are file systems crossed that are mounted below.
        type: list
        elements: path
        required: true
      patterns:
        description: Files to look at below a folder, by shell patterns of their names, or of their whole paths where there is a slash; all by default.
        type: list
        elements: str
        default: []
      exclude:
        description: Files and folders to pass over, by patterns as in O(scans[].patterns).
        type: list
        elements: str
        default: []
      usual_excludes:
        description:
          - Whether lock files of package managers, installed packages, minified code, translations, examples and the like are passed over too.
        type: bool
        default: true
      recurse:
        description: Whether folders in folders are looked at.
        type: bool
        default: true
      baseline:
        description:
          - A file in the form of detect-secrets' C(.secrets.baseline) with what is known and quiet. What an audit marked as a secret is told
            nevertheless.
          - It has plain SHA-1 digests, as its form wants it, from which poor passwords can be guessed; it is written readable by its owner alone.
        type: path
      disabled:
        description: Kinds not to look for, as findings name them (V(Secret Keyword), V(Query string)) or by plugin (V(KeywordDetector)).
        type: list
        elements: str
        default: []
      secret_files:
        description: Further files in which secrets belong, by patterns as in O(scans[].patterns).
        type: list
        elements: str
        default: []
      world_readable:
        description: Whether to look who can read files with secrets.
        type: bool
        default: true
      limits:
        description: What one run may take. What is beyond is V(unknown); the next run passes over what was clean, and comes further.
        type: dict
        default: {}
        suboptions:
          files:
            description: Number of files.
            type: int
            default: 100000
          bytes:
            description: Size of what is looked at, unpacked.
            type: str
            default: 256MiB
          file_size:
            description: Of a file that is larger, unpacked, only the begin is looked at.
            type: str
            default: 32MiB
      allow:
        description: What is no secret. An entry fits when all that it gives does.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: A pattern as in O(scans[].patterns).
            type: str
          kind:
            description: A kind, or the name of its plugin.
            type: str
          line:
            description: A regular expression that is found in the line.
            type: str
  engine:
    description: The program that looks for secrets. V(auto) takes detect-secrets where it is installed, else gitleaks.
    type: str
    choices: [auto, detect-secrets, gitleaks]
    default: auto
  program:
    description:
      - Path of that program. By default C(venv/bin/detect-secrets) below the state folder, where P(sre.runbooks.prerequisites#role) puts it,
        then C(PATH).
    type: path
  groups:
    description: Groups whose members may read files with secrets, besides C(root), C(ssl-cert), C(ssh_keys), C(shadow) and the private group of the owner.
    type: list
    elements: str
    default: []
  write_baseline:
    description: Whether to write what is found into the baselines of the scans. Judgements of audits stay.
    type: bool
    default: false
  show:
    description: How many findings of each outcome are shown, up to 1000; the worst first.
    type: int
    default: 50
  timeout:
    description: Time limit in seconds. What was not reached by then is V(unknown).
    type: float
    default: 1800
notes:
  - detect-secrets is called with C(--no-verify). It tries no credential at a provider.
  - The files are copied in batches of 8 MiB to a folder in memory (C(/dev/shm)), else below the state folder, that only the module's user can enter.
  - Of a value that stands in a file several times one place is told.
  - A line with C(pragma:allowlist secret) is passed over, as detect-secrets does.
  - POSIX ACLs are seen as far as the bits of the group show them.
seealso:
  - module: sre.runbooks.log_scan
  - module: sre.runbooks.rotating_key
"""

EXAMPLES = r"""
- name: Look for credentials that lie open
  sre.runbooks.secret_scan:
    scans:
      - name: application
        paths: [/opt/feature11, /etc/feature11]
        exclude: [/opt/feature11/data]
        baseline: /var/lib/sre-runbooks/feature11.baseline
      - name: logs
        paths: [/var/log/feature11, /var/log/nginx]
        allow:
          - {kind: Query string, line: 'key=public-'}
      - name: shells
        paths: [/root/.bash_history, "/home/*/.bash_history", "/home/*/.git-credentials"]
    groups: [feature11]
  become: true
  register: secret_scan_result

- name: Take what is there now as known
  sre.runbooks.secret_scan:
    write_baseline: true
    scans:
      - name: application
        paths: [/opt/feature11]
        baseline: /var/lib/sre-runbooks/feature11.baseline
  become: true
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: critical
outcomes:
  description: One or two for each scan.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: C(secrets:<name>) for what lies open, C(secret_files:<name>) for who can read files with secrets.
      type: str
      sample: secrets:application
    stage:
      description: Always V(secret_scan).
      type: str
      sample: secret_scan
    status:
      description: V(ok), V(unknown), V(warning) or V(critical).
      type: str
      sample: critical
    summary:
      description: One line for a person.
      type: str
      sample: "2 credentials lie open in 1 files (AWS Access Key 1, Secret Keyword 1); 412 files looked at (3.1 MiB), 0 as they were when they were clean"
    metrics:
      description:
        - Of what lies open C(findings), C(critical_findings), C(baseline_findings), C(allowed_findings), C(kept_findings) (in files made for them), C(files),
          C(scanned_files), C(unchanged_files), C(binary_files), C(unscanned_files), C(read_bytes), C(duration_seconds).
        - Of files with secrets C(secret_files), C(world_readable), C(group_readable).
      type: dict
      sample: {findings: 2, critical_findings: 1, files: 412}
    details:
      description: C(findings) with file, line, kind and severity, or C(files) with mode, owner and group; C(not_scanned) with reasons; the engine; the remedy.
      type: dict
      sample: {findings: [{file: /opt/feature11/config.py, line: 12, kind: AWS Access Key, severity: critical}]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _options, _scan

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_options.SPEC)
    runbook.run(module, _options.STAGE, lambda: secret_scan(module), conceal=("scans",))


def secret_scan(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, scan, return the envelope."""
    settings = _options.read(module.params)
    directory = state.directory(module.params["state_dir"])
    result = _scan.run(settings, command.Commands(module.run_command), directory, module.check_mode)
    for outcome in result["outcomes"]:
        for note in outcome["details"].get("notes", ()):
            module.warn(note)
    return result


if __name__ == "__main__":
    main()
