# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller tells Prometheus: that a runbook ran, whom it reached, which incidents go on. Names: docs/metrics.md."""

from __future__ import annotations

import collections
import datetime
import hashlib
import re
from collections.abc import Iterable, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core import textfile
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, worst
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import count
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Incident, moment
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, HostAnswer, Run

NO_SYSTEM = "no system"
TEXTS = {
    "run_timestamp_seconds": "When the last run of the playbook on the system ended.",
    "run_duration_seconds": "How long the last run of the playbook took, with all its systems.",
    "run_status": "Worst status that the last run of the playbook found on the system: 0 ok, 1 skipped, 2 unknown, 3 warning, 4 critical.",
    "run_hosts_expected": "Hosts of the system that the last run of the playbook was for.",
    "run_hosts_answered": "Hosts of the system that answered the last run of the playbook.",
    "run_missing": "Hosts and stages of the system that did not answer the last run of the playbook.",
    "run_outcomes": "Outcomes of the last run of the playbook on the system by status.",
    "incident_unfinished": "Incidents that are not closed, by type, system, severity and state.",
    "incident_oldest_timestamp_seconds": "When the oldest of these incidents began.",
    "incident_checked_timestamp_seconds": "When the incidents were last looked at.",
}


def write_run(directory: str, run: Run) -> None:
    """Replace the file of each system of `run`. A run that is limited to some systems leaves the others' files."""
    systems: dict[str, list[HostAnswer]] = collections.defaultdict(list)
    for host in run.hosts:
        systems[host.system or NO_SYSTEM].append(host)
    for name, hosts in systems.items():
        file = f"{textfile.PREFIX}run_{_plain(run.playbook)}_{_plain(name)}.prom"
        textfile.publish(directory, file, run_page(run, name, hosts))


def run_page(run: Run, system: str, hosts: Sequence[HostAnswer]) -> str:
    """Return the metrics of `system` in `run`."""
    began, ended = moment(run.started), moment(run.finished)
    outcomes = [each for host in hosts for each in host.outcomes]
    values = {
        "run_timestamp_seconds": ended.timestamp(),
        "run_duration_seconds": max(0.0, (ended - began).total_seconds()),
        "run_status": STATUSES.index(worst(host.status for host in hosts)),
        "run_hosts_expected": len(hosts),
        "run_hosts_answered": sum(host.answered for host in hosts),
        "run_missing": sum(each["stage"] == ROLL_CALL for each in outcomes),
    }
    series = textfile.labels(playbook=run.playbook, system=system)
    samples = {f"{textfile.PREFIX}{name}": {series: textfile.number(value)} for name, value in values.items()}
    samples[f"{textfile.PREFIX}run_outcomes"] = {
        textfile.labels(playbook=run.playbook, system=system, status=status): str(found)
        for status, found in count(outcomes).items()
    }
    return _page(samples)


def write_incidents(directory: str, incidents: Iterable[Incident], now: datetime.datetime) -> None:
    """Replace the file of the incidents that are not closed."""
    textfile.publish(directory, f"{textfile.PREFIX}incidents.prom", incidents_page(incidents, now))


def incidents_page(incidents: Iterable[Incident], now: datetime.datetime) -> str:
    """Return the metrics of `incidents`, of which none is closed."""
    found: dict[str, list[float]] = collections.defaultdict(list)
    for each in incidents:
        series = textfile.labels(
            type=each.type, system=each.system or NO_SYSTEM, severity=each.severity, state=each.state
        )
        found[series].append(moment(each.started or each.detected).timestamp())
    samples: textfile.Samples = {
        f"{textfile.PREFIX}incident_checked_timestamp_seconds": {"": textfile.number(now.timestamp())}
    }
    if found:
        samples[f"{textfile.PREFIX}incident_unfinished"] = {
            series: str(len(starts)) for series, starts in found.items()
        }
        samples[f"{textfile.PREFIX}incident_oldest_timestamp_seconds"] = {
            series: textfile.number(min(starts)) for series, starts in found.items()
        }
    return _page(samples)


def _page(samples: textfile.Samples) -> str:
    return textfile.exposition(samples, {f"{textfile.PREFIX}{name}": text for name, text in TEXTS.items()})


def _plain(name: str) -> str:
    """Return `name` as a part of a file's name; two names never become one."""
    plain = re.sub(r"[^A-Za-z0-9-]", "-", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
