# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory wants of a host, read by the very code of the stages, entry by entry: a broken one is a finding.

A kind of proof is a module beside this one, without a leading underscore, with
  RULES   {rule: why it is one}, the rows of docs/preflight.md
  look(inventory, host) -> Looked   which changes nothing
"""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _recovery, _restic, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _options, policy
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

RULE = "invalid"
# Time between two runs, and between two rehearsals of a restore, where neither the option nor a schedule says it.
RUN_EVERY, DRILL_PERIOD = "24h", "7d"
# Options of the stages that are lists of entries, each of which is read by itself.
SPEC: dict[str, t.Any] = {
    "checks": {"type": "list", "elements": "dict", "default": []},
    "health": {"type": "dict", "default": {}},
    "sources": {"type": "list", "elements": "dict", "default": []},
    "backup": {"type": "dict", "default": {}},
    "targets": {"type": "dict", "default": {}},
    "units": {"type": "list", "elements": "str", "default": []},
    "log_scan": {"type": "dict", "default": {}},
    "log_cleanup": {"type": "dict", "default": {}},
    "runbooks": {"type": "list", "elements": "dict", "default": []},
    "remedies": {"type": "dict", "default": {}},
    "plans": {"type": "dict", "default": {}},
    "scaling": {"type": "list", "elements": "dict", "default": []},
    "steps_timeout": {"type": "str", "default": "1h"},
    "run_every": {"type": "str"},
    "drill_period": {"type": "str"},
    "log_size": {"type": "str", "default": "100MiB"},
    "folders": {"type": "list", "elements": "path", "default": []},
    "tls_ports": {"type": "list", "elements": "int"},
    "limits": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "files": {"type": "int", "default": 100000},
            "folders": {"type": "int", "default": 10000},
            "seconds": {"type": "float", "default": 10.0},
        },
    },
}


class Cleanup(t.NamedTuple):
    """A clean-up policy, and the words in which it was given."""

    policy: policy.Policy
    given: t.Mapping[str, t.Any]


class Inventory(t.NamedTuple):
    """Everything that could be read. Durations in seconds, sizes in bytes; `sources` and `entries` (checks) are the entries as given.

    `plans` is what the controller counted (plugin_utils/preflight_plans.py). `cache` holds what several kinds look at and one looked at first.
    """

    checks: list[_check.Check]
    jobs: list[_settings.Job]
    scan: _options.Options | None
    cleanups: list[Cleanup]
    sources: list[t.Mapping[str, t.Any]]
    targets: _recovery.Targets
    units: list[str]
    directory: str
    health_timeout: float
    run_every: float
    drill_period: float
    log_size: int
    folders: list[str]
    tls_ports: list[int] | None
    limits: t.Mapping[str, t.Any]
    state_dir: str
    cache: dict[str, t.Any]
    entries: list[t.Mapping[str, t.Any]]
    runbooks: list[t.Mapping[str, t.Any]]
    remedies: t.Mapping[str, t.Any]
    plans: t.Mapping[str, t.Any]
    steps_timeout: float
    scaling: t.Sequence[t.Mapping[str, t.Any]]


def read(
    options: t.Mapping[str, t.Any], commands: Commands, state_dir: str
) -> tuple[Inventory, list[Finding], set[str]]:
    """Return the inventory, a finding for each entry that no stage would take, and the secrets in it.

    Raises InputError for what is an option of the proof itself.
    """
    findings: list[Finding] = []
    secrets: set[str] = set()
    checks = _checks(options["checks"], findings, secrets)
    jobs = _jobs(options, findings, secrets, commands)
    plans = options["plans"]
    findings += [broken(each["subject"], each["problem"]) for each in plans.get("broken") or []]
    inventory = Inventory(
        checks,
        jobs,
        _scan(options["log_scan"], findings),
        _cleanups(options["log_cleanup"].get("policies") or [], findings),
        [each for each in options["sources"] if isinstance(each, dict)],
        _targets(options["targets"], findings),
        list(options["units"]),
        jobs[0].settings.directory if jobs else options["backup"].get("directory") or _settings.DIRECTORY,
        float(options["health"].get("timeout") or 30),
        # Where the schedules say it, nobody has to.
        _positive(options["run_every"] or plans.get("run_every") or RUN_EVERY, "run_every"),
        _positive(options["drill_period"] or plans.get("drill_period") or DRILL_PERIOD, "drill_period"),
        units.size(options["log_size"], "log_size"),
        list(options["folders"]),
        options["tls_ports"],
        options["limits"],
        state_dir,
        {},
        [each for each in options["checks"] if isinstance(each, dict)],
        options["runbooks"],
        options["remedies"],
        plans,
        _positive(options["steps_timeout"], "steps_timeout"),
        options["scaling"],
    )
    return inventory, findings, secrets


def _positive(text: object, option: str) -> float:
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give a duration above 0, such as 24h.")
    return seconds


def broken(subject: str, error: object) -> Finding:
    """What no stage would take: the stage would refuse all entries because of it."""
    return Finding(subject, "critical", RULE, f"cannot be used: {error}")


def _checks(given: t.Sequence[t.Mapping[str, t.Any]], findings: list[Finding], secrets: set[str]) -> list[_check.Check]:
    found: list[_check.Check] = []
    for number, each in enumerate(given):
        subject = f"{each.get('type', 'check')}:{each.get('name', f'checks[{number}]')}"
        try:
            read_one, hidden = _check.read([each])
        except RunbookError as error:
            findings.append(broken(subject, str(error).replace("checks[0]", f"checks[{number}]")))
            continue
        if any(read_one[0].subject() == other.subject() for other in found):
            findings.append(broken(subject, f"the name {each['name']!r} is used twice for this type"))
            continue
        found += read_one
        secrets |= hidden
    return found


def _jobs(
    options: t.Mapping[str, t.Any], findings: list[Finding], secrets: set[str], commands: Commands
) -> list[_settings.Job]:
    sources = options["sources"]
    if not sources:
        return []
    # What a role leaves out stands there as null.
    given = {name: value for name, value in options["backup"].items() if value is not None}
    result = ArgumentSpecValidator(_settings.SPEC).validate({**given, "sources": sources})
    if result.error_messages:
        findings.append(broken("backup", "; ".join(result.error_messages)))
        return []
    common = result.validated_parameters
    secrets |= set(result._no_log_values) | _restic.secrets(common["restic"])
    try:
        _settings.settings(common)
    except RunbookError as error:
        findings.append(broken("backup", error))
        return []
    jobs: list[_settings.Job] = []
    for each in sources:
        name = str(each.get("name", "?"))
        try:
            items, hidden = _settings.items([each])
            secrets |= hidden
            if any(job.item.name == name for job in jobs):
                raise InputError(f"sources.{name}", name, "is used twice", "Give each source a name of its own.")
            jobs += _settings.jobs(common, items, commands)
        except RunbookError as error:
            findings.append(broken(f"{each.get('engine', 'backup')}:{name}", error))
    return jobs


def _targets(given: t.Mapping[str, t.Any], findings: list[Finding]) -> _recovery.Targets:
    result = ArgumentSpecValidator(_recovery.SPEC["options"]).validate(
        {k: v for k, v in given.items() if v is not None}
    )
    try:
        if result.error_messages:
            raise RunbookError("; ".join(result.error_messages))
        return _recovery.targets(result.validated_parameters)
    except RunbookError as error:
        findings.append(broken("targets", error))
        return _recovery.targets(None)


def _scan(given: t.Mapping[str, t.Any], findings: list[Finding]) -> _options.Options | None:
    if not given.get("sources"):
        return None
    result = ArgumentSpecValidator(_options.SPEC).validate({k: v for k, v in given.items() if v is not None})
    try:
        if result.error_messages:
            raise RunbookError("; ".join(result.error_messages))
        return _options.read(result.validated_parameters)
    except RunbookError as error:
        findings.append(broken("log_scan", error))
        return None


def _cleanups(given: t.Sequence[t.Mapping[str, t.Any]], findings: list[Finding]) -> list[Cleanup]:
    found: list[Cleanup] = []
    for number, each in enumerate(given):
        subject = f"log_cleanup:{each.get('name', number)}"
        result = ArgumentSpecValidator(policy.SPEC).validate(dict(each))
        try:
            if result.error_messages:
                raise RunbookError("; ".join(result.error_messages))
            spec = result.validated_parameters
            read_one = policy.parse([spec])[0]
            if any(other.policy.name == read_one.name for other in found):
                raise InputError("policies.name", read_one.name, "names two policies", "Give each its own name.")
            found.append(Cleanup(read_one, spec))
        except RunbookError as error:
            findings.append(broken(subject, error))
    return found
