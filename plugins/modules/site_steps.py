#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_steps
short_description: Run a site's own programs as steps of a cadence
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Runs those of O(steps) that belong to O(cadence), one after the other in the order in which they stand, and makes an outcome of each from what
    it says, with its figures.
  - A step is an argument vector, no shell. It runs in a session of its own; when its time is over, all of that session gets SIGTERM and, 5 s later,
    SIGKILL. What it leaves running when it ends by itself is left alone.
  - Of each output the first 64 KiB are read. The values of its C(environment) are in no result; those shorter than 4 characters are no secrets.
  - A step that cannot be run, or does not end in time, is V(critical), and the next one is run all the same, unless O(stop_on) says otherwise.
    A step may be run again after a run that was killed, so it has to bear that.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Nothing is run. The outcomes say what would be.
  diff_mode:
    support: full
    details: In check mode, the commands that would be run.
options:
  steps:
    description:
      - Each has a C(name), C(argv) (the program and its arguments) and C(cadences) (V(daily), V(weekly), V(monthly), V(quarterly)).
      - C(timeout) (V(10m)), C(run_as) (another user), C(chdir) (the folder in which it runs, and to which a relative path of the program belongs),
        C(environment) (a dictionary). The variable E(SRE_RUNBOOKS_CADENCE) is set for all.
      - C(expect) is V(nagios) (the default; exit status 0 to 3, first line and performance data as those of a Nagios plugin), V(json) (on its output, or on the
        last line of it, an object with C(status), C(summary) and, if it likes, C(metrics), numbers by name; the exit status can
        only make it worse), or V(success)
        (0 is V(ok), all else is V(critical)).
      - C(changes) (V(false)) says that it changes the host, so that the result is C(changed).
    type: list
    elements: dict
    required: true
  cadence:
    description: Run the steps of this cadence. Without it, all of them.
    type: str
    choices: [daily, weekly, monthly, quarterly]
  stop_on:
    description: After a step with this status or a worse one no further one is begun; those are V(skipped).
    type: str
    choices: [never, unknown, warning, critical]
    default: never
  timeout:
    description: Time for all steps together. What has not begun by then is V(critical).
    type: str
    default: 1h
seealso:
  - module: sre.runbooks.health_check
"""

EXAMPLES = r"""
- name: Run the weekly steps
  sre.runbooks.site_steps:
    cadence: weekly
    steps:
      - name: model drift
        argv: [venv/bin/python, scripts/check_model_drift.py, --json]
        chdir: /opt/ghosteam
        run_as: ghosteam
        environment: {MLFLOW_TRACKING_TOKEN: "{{ vault_ghosteam_mlflow_token }}"}
        cadences: [weekly, monthly]
        expect: json
        timeout: 15m
      - name: performance report
        argv: [/opt/ghosteam/venv/bin/python, /opt/ghosteam/scripts/generate_performance_report.py]
        cadences: [weekly]
        expect: success
  register: site_steps_result
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: always, unless an option is wrong
  type: str
  sample: warning
outcomes:
  description: One for each step of the cadence, in order.
  returned: always, unless an option is wrong
  type: list
  elements: dict
  contains:
    subject:
      description: C(step:) and the name.
      type: str
      sample: "step:model drift"
    stage:
      description: V(site_steps).
      type: str
      sample: site_steps
    status:
      description: As the step says it; V(critical) when it could not be run or did not end in time, V(skipped) when it was not begun.
      type: str
      sample: warning
    summary:
      description: One line for a person.
      type: str
      sample: drift of the feature age is 0.31, bound 0.2
    metrics:
      description: C(duration_seconds), and what the step measured.
      type: dict
      sample: {duration_seconds: 41.2, drift: 0.31}
    details:
      description: C(exit_code); C(output) and C(error_output), up to 1000 characters of each, where there is more to tell.
      type: dict
      sample: {exit_code: 1}
msg:
  description: Why nothing could be done.
  returned: failure
  type: str
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._steps import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: work(module), conceal=["steps"])


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, run the steps, return the envelope."""
    settings = _settings.read(module.params)
    commands = command.Commands(module.run_command)
    return _run.run(settings, commands, state.directory(module.params["state_dir"]), module.check_mode)


if __name__ == "__main__":
    main()
