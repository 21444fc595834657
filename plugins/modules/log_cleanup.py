#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: log_cleanup
short_description: Delete, compress, archive or empty logs, within limits and without touching anything else
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Looks through folders of logs, plans by policies which files go, and acts on each only if it still is what was looked at.
  - Never follows a symbolic link in any part of a path, never crosses file systems, takes regular files only, and leaves alone what
    has other hard links and what a process has open for writing.
  - A run that would pass one of the O(limits) touches nothing; its outcomes are V(critical) and show the plan.
  - Archiving to another file system copies a file, makes the copy last, compares it, and only then removes the original.
  - Compressing writes the archive beside the log, unpacks it again to compare it, and removes the log only when nobody wrote to it
    meanwhile. Killed at any moment, no line is lost, and the next run clears up what was left.
  - Where several policies match a file, the first that wants it gets it.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The outcomes say what would be done. Nothing is written, not even a lock.
  diff_mode:
    support: full
    details: The first hundred names of the plan.
options:
  policies:
    description: What to clean up, in the order in which files are offered to them.
    type: list
    elements: dict
    suboptions:
      name:
        description: A name of its own; the outcome's subject is C(logs:<name>).
        type: str
        required: true
      paths:
        description:
          - Folders, as absolute paths. Refused are C(/), folders of the system such as C(/etc) and C(/usr), and folders that hold far more
            than logs such as C(/var) and C(/home).
          - One that is missing, or that is reached through a symbolic link, is an outcome V(unknown) that names it.
        type: list
        elements: path
        required: true
      patterns:
        description: Shell patterns of file names, such as V(*.log.*). V(*) takes hidden files too. Case matters.
        type: list
        elements: str
        required: true
      exclude:
        description: Shell patterns of file names that stay, and with O(policies[].recurse) of folders that are not looked into.
        type: list
        elements: str
        default: []
      recurse:
        description: Whether to look into the folders below as well, up to 64 levels down.
        type: bool
        default: false
      older_than:
        description: Only files last modified longer ago than this, as in V(30d).
        type: str
      larger_than:
        description: Only files larger than this, as in V(100MiB).
        type: str
      keep_newest:
        description: The newest so many matching files of each folder stay, whatever their age and size.
        type: int
      max_total:
        description:
          - The newest matching files of all O(policies[].paths) that together are at most so large stay, what is older goes, as in V(2GiB).
          - Goes beside O(policies[].older_than) and O(policies[].larger_than), which choose files on their own account. What
            O(policies[].keep_newest) keeps and what cannot be touched counts as well.
        type: str
      action:
        description:
          - What happens to the files.
          - V(compress) leaves alone what is compressed already, by its name, and what is empty.
          - V(archive) moves files to O(policies[].archive_dir).
          - V(truncate) empties files, also those that are open for writing. What was in them is gone. A service that opened its log
            to append (C(O_APPEND)) goes on at the beginning; one that did not goes on where it was, and a hole takes the place of its old
            lines, which takes no space and is read as NUL bytes; the outcome says so. O(policies[].larger_than) does not count holes here.
        type: str
        choices: [delete, compress, archive, truncate]
        required: true
      archive_dir:
        description:
          - The folder that V(archive) moves files to, on any file system; made when it is missing. What was below a folder of
            O(policies[].paths) comes to the same place below it.
          - A name that is taken there by another file is never overwritten; the file gets the time of its last line added to its name.
          - To another file system a file is copied, synced, read back and compared before it goes from where it was.
        type: path
      compression:
        description: How V(compress) compresses. V(zstd) needs the program C(zstd) and adds C(.zst) to the name, V(gzip) adds C(.gz).
        type: str
        choices: [zstd, gzip]
        default: zstd
  containers:
    description:
      - Tells what images, containers, volumes, the build cache and the logs of containers take of the disk, as an outcome
        C(containers:<runtime>).
      - At least one of O(policies) and O(containers) is required.
    type: dict
    suboptions:
      runtime:
        description: The default is podman where it is installed, else docker.
        type: str
        choices: [podman, docker]
      prune:
        description:
          - What to remove of it, nothing by default. V(images) are those that no container uses, V(build_cache) what building left.
          - What this can free counts against O(limits.bytes).
        type: list
        elements: str
        choices: [images, build_cache]
        default: []
      older_than:
        description: Only what was made longer ago than this, as in V(30d).
        type: str
  limits:
    description: The most that one run may act on, all policies together. A run that would pass one of them touches nothing.
    type: dict
    suboptions:
      files:
        description: Number of files.
        type: int
        default: 100000
      bytes:
        description: Sum of their sizes, as in V(20GiB).
        type: str
        default: 100GiB
      percent:
        description:
          - Share of all files that match a policy. V(100) is no limit, for in a folder of a few logs any share can be right; set it where
            there are many.
        type: float
        default: 100
notes:
  - A policy needs at least one of O(policies[].older_than), O(policies[].larger_than), O(policies[].keep_newest) and
    O(policies[].max_total).
  - Large runs look at what is open for writing about once a second, runs of up to 20,000 files ask the kernel about each.
  - Users other than root see only their own processes; what others have open for writing is then recognised for V(compress) alone,
    where the kernel is asked about each file. The outcome's details say so.
"""

EXAMPLES = r"""
- name: Compress a service's rotated logs after a week, delete them after a month
  sre.runbooks.log_cleanup:
    policies:
      - name: feature11_compress
        paths: [/var/log/feature11]
        patterns: ["*.log.*"]
        older_than: 7d
        action: compress
      - name: feature11_delete
        paths: [/var/log/feature11]
        patterns: ["*.log.*"]
        exclude: ["audit*"]
        older_than: 30d
        keep_newest: 5
        action: delete
    limits:
      files: 1000
      percent: 80
  register: log_cleanup_result

- name: Move rotated logs to another disk, cap what stays, empty a log that grew too large, tell what containers take
  sre.runbooks.log_cleanup:
    policies:
      - name: abs_archive
        paths: [/opt/abs/logs]
        patterns: ["*.log.*"]
        older_than: 7d
        action: archive
        archive_dir: /srv/archive/abs
      - name: abs_cap
        paths: [/opt/abs/logs]
        patterns: ["*.log.*"]
        max_total: 2GiB
        keep_newest: 3
        action: delete
      - name: abs_runaway
        paths: [/opt/abs/logs]
        patterns: ["*.log"]
        larger_than: 1GiB
        action: truncate
    containers:
      prune: [images, build_cache]
      older_than: 30d
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each policy, and one for O(containers).
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The policy, or the runtime of the containers.
      type: str
      sample: logs:feature11_delete
    stage:
      description: Always V(log_cleanup).
      type: str
      sample: log_cleanup
    status:
      description:
        - V(ok), V(warning) when some files could not be cleaned up, V(critical) when none of them could or the run was refused by its limits,
          V(unknown) when a folder or a program is missing.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "deleted 12 files, 141.2 MiB freed; 30 remain, 20.1 MiB"
    metrics:
      description:
        - C(files) acted on and C(freed_bytes); C(remaining_files) and C(remaining_bytes) that match the policy; C(failed_files). In check mode,
          what would be.
        - Of containers, C(<kind>_bytes) and C(<kind>_unused_bytes) of images, containers, volumes and build cache, C(logs_bytes), C(freed_bytes).
      type: dict
      sample: {files: 12, freed_bytes: 148060123, remaining_files: 30, remaining_bytes: 21074112, failed_files: 0}
    details:
      description:
        - The first names (C(examples)), how many files were C(skipped) for which reason, C(failures), C(problems) with folders, and the C(plan)
          of a run that was refused.
      type: dict
      sample: {action: delete, examples: [/var/log/feature11/api.log.31], skipped: {open for writing: 1}}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, containers, policy, report

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: dict[str, t.Any] = {
    "policies": {"type": "list", "elements": "dict", "options": policy.SPEC},
    "containers": {"type": "dict", "options": containers.SPEC},
    "limits": {"type": "dict", "options": policy.LIMITS, "apply_defaults": True},
}


def main() -> None:
    module = runbook.build(SPEC, required_one_of=[("policies", "containers")])
    runbook.run(module, report.STAGE, lambda: log_cleanup(module))


def log_cleanup(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, clean up, return the envelope."""
    params = module.params
    work = cleanup.Work(
        policy.parse(params["policies"] or []),
        policy.parse_limits(params["limits"]),
        containers.parse(params["containers"]),
    )
    return cleanup.run(work, params["state_dir"], module.run_command, module.check_mode)


if __name__ == "__main__":
    main()
