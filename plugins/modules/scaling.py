#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling
short_description: Say how many instances of a service are wanted, and start or stop them when told to
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes the checks of each target, compares their figures with its rules, and recommends one number of instances. With O(act) it starts or stops
    what is missing or too much.
  - One rule of C(up) that holds is enough for more instances; of C(down) all have to. C(for) means that every look since that long ago saw it so,
    which the host remembers in O(state_dir). So it has to be called again and again, at least as often as C(gap) says.
  - What cannot be measured is no reason to stop anything, the outcome is V(unknown) then. There are never fewer than C(minimum) instances and
    never more than C(maximum) by its doing, and after each change it rests.
  - A run that was killed rests as well; the next one counts what runs, whatever the one before was about to do.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The checks are made and nothing is kept of them. The outcomes say what would be done.
  diff_mode:
    support: full
    details: How many instances of each target are wanted, where that is another number.
options:
  targets:
    description:
      - Each has a C(name), a C(kind), C(minimum) (V(1)), C(maximum), C(step) (V(1), how many at a time), C(measures), C(up) and C(down).
      - C(cooldown_up) (V(3m)) and C(cooldown_down) (V(15m)) are the rest before instances are added or taken away after any change.
        When nobody has looked for longer than C(gap) (V(15m)), all times of C(for) begin anew.
      - C(measures) are checks as in M(sre.runbooks.health_check), without bounds of their own.
      - C(up) and C(down) are rules, a bound for each metric of the measures, by C(metric) or, where several have it, by C(measure.metric). Bounds that leave no
        room between each other are refused.
      - Without C(up) they are C(cpu_percent > 80 for 5m), C(memory_percent > 85 for 5m), C(queue_depth > 10), C(response_seconds > 5s), and without C(down)
        C(cpu_percent < 30 for 15m), C(memory_percent < 50 for 15m), C(queue_depth == 0 for 10m), each where it is measured.
      - V(systemd) has C(template), such as V(worker@.service), and C(first) (V(1)), the lowest number of an instance. The lowest that does
        not run is started next, the highest stopped. C(drain) is a program that is run before, in whose arguments C({instance}) and C({unit})
        are replaced. C(drain_within) (V(10m)), C(stop_within) (V(100s)), C(start_within) (V(60s)).
      - V(compose) has C(project), C(service), C(files) (compose files by their whole path), C(command) (V([docker, compose]) or V([podman-compose]), by what
        is installed), C(runtime) (V(podman) or V(docker)), C(run_as), C(stop_within) (V(30s)), C(start_within) (V(3m)).
    type: list
    elements: dict
    required: true
  act:
    description: Start and stop instances. Otherwise it is only told how many are wanted.
    type: bool
    default: false
  timeout:
    description: Time for everything. When it is over nothing further is begun.
    type: str
    default: 15m
seealso:
  - module: sre.runbooks.health_check
  - module: sre.runbooks.stabilise
"""

EXAMPLES = r"""
- name: Scale the workers by load and queue
  sre.runbooks.scaling:
    act: true
    targets:
      - name: evaluation workers
        kind: systemd
        template: evaluation-worker@.service
        minimum: 1
        maximum: 4
        measures:
          - {name: cpu, type: cpu, interval: 1s}
          - {name: memory, type: memory}
          - {name: queue, type: http, url: "http://127.0.0.1:8000/api/v1/metrics", values: {queue_depth: queue_depth}}
        drain: [/opt/abs/bin/drain, "{instance}"]
      - name: api
        kind: compose
        project: ai-benchmark-suite
        service: api
        files: [/opt/ai-benchmark-suite/docker-compose.production.yml]
        maximum: 3
        measures:
          - {name: cpu, type: cpu, interval: 1s}
          - {name: api, type: http, url: "http://127.0.0.1:8000/health", timeout: 15s}
        up: {cpu_percent: "> 80 for 5m", response_seconds: "> 5s"}
        down: {cpu_percent: "< 30 for 15m", response_seconds: "< 1s for 15m"}
  register: scaling_result
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: always, unless an option is wrong
  type: str
  sample: warning
outcomes:
  description: One for each target.
  returned: always, unless an option is wrong
  type: list
  elements: dict
  contains:
    subject:
      description: Kind and name of the target.
      type: str
      sample: "systemd:evaluation workers"
    stage:
      description: V(scaling).
      type: str
      sample: scaling
    status:
      description:
        - V(ok) (as many as wanted, changed, or fewer are recommended), V(warning) (more are recommended, or wanted and not allowed),
          V(unknown) (not all could be measured), V(critical) (they could not be changed).
      type: str
      sample: warning
    summary:
      description: One line for a person.
      type: str
      sample: "recommended are 3 instead of 2: cpu_percent is 91.0 %, bound > 80 for 5m"
    metrics:
      description: C(instances), C(wanted), C(minimum), C(maximum), and the figures of the rules.
      type: dict
      sample: {instances: 2, wanted: 3, minimum: 1, maximum: 4, cpu_percent: 91.0}
    pending:
      description: True when a rule holds but not yet for long enough, or the target rests.
      type: bool
      returned: when so
    details:
      description: The limits, and whether it was to act.
      type: dict
      sample: {minimum: 1, maximum: 4, act: false}
msg:
  description: Why nothing could be done.
  returned: failure
  type: str
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run as _health
from ansible_collections.sre.runbooks.plugins.module_utils._scaling import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: work(module), conceal=["targets"])


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, look, act when told to, return the envelope."""
    settings, secrets = _settings.read(module.params)
    commands = command.Commands(module.run_command)
    result = _run.run(settings, commands, state.directory(module.params["state_dir"]), module.check_mode)
    return _health.conceal(result, secrets)


if __name__ == "__main__":
    main()
