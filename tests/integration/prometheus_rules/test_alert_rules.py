# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alert rules by promtool (R6, H1, H2, H3, H8, H9, R4): each fires past its bound and not within it, and no bound can change unseen."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.plugin_utils.runbooks import shipped

from .cases import CASES, GROUPS

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "extensions/prometheus/rules"
URL = "https://github.com/ansible-collections/sre.runbooks/blob/main/docs/alerts.md#"
FILES = sorted(path.stem for path in RULES.glob("*.yml"))
KEPT = ("alertname", "severity", "incident_type", "runbooks_hosts", "cadence")


def alerts(file):
    document = yaml.safe_load((RULES / f"{file}.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]


def key(rule):
    return rule["alert"], rule["labels"]["severity"], rule["labels"].get("cadence", "")


def series_of(world, case, minutes):
    """promtool's form of series, constant or with a step each minute, with the labels that targets have."""
    target = {"instance": "host.example.org:9100", "job": "node"}
    if case.system:
        target["system"] = case.system
    found = []
    for name, value in world.items():
        metric, _brace, labels = name.rstrip("}").partition("{")
        more = ",".join(f'{label}="{text}"' for label, text in target.items())
        inside = f"{labels},{more}" if labels else more
        first, step = value if isinstance(value, tuple) else (value, 0)
        found.append({"series": f"{metric}{{{inside}}}", "values": f"{first}+{step}x{minutes + 10}"})
    return found


def worlds_of(case):
    """The worlds of a case as promtool's tests."""
    labels = {"alertname": case.alert, "severity": case.severity}
    if case.incident:
        labels["incident_type"] = case.incident
        if case.file in GROUPS.values():
            labels["runbooks_hosts"] = case.file
    if case.cadence:
        labels["cadence"] = case.cadence
    chosen = ",".join(f'{name}="{labels.get(name, "")}"' for name in ("alertname", "severity", "cadence"))
    query = f'count by ({", ".join(KEPT)}) (ALERTS{{{chosen},alertstate="firing"}})'
    told = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))

    def test(world, *moments):
        expected = [
            {"expr": query, "eval_time": f"{minute}m", "exp_samples": [{"labels": f"{{{told}}}", "value": 1}] if fires else []}
            for minute, fires in moments
        ]  # fmt: skip
        return {"interval": "1m", "input_series": series_of(world, case, case.wait), "promql_expr_test": expected}

    waits = [(case.wait - 1, False)] if case.wait else []
    return [test(case.past, *waits, (case.wait, True)), *(test(world, (case.wait + 2, False)) for world in case.within)]


def promtool(folder, suites):
    """Run suites of (rules, tests) by name at once; return those that passed and those that failed, with the output."""
    paths = []
    for name, (rules, tests) in suites.items():
        (folder / f"{name}.rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"rule_files": [f"{name}.rules.yml"], "evaluation_interval": "1m", "tests": tests}))
        paths.append(path.name)
    done = subprocess.run(
        ["promtool", "test", "rules", *paths],
        cwd=folder,
        env={**os.environ, "TMPDIR": "/dev/shm"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = done.stdout
    told = dict(re.findall(r"^Unit Testing:\s+(\S+)\.json\n\s+(SUCCESS|FAILED)", output, re.MULTILINE))
    assert told.keys() == suites.keys(), output[-3000:]
    return {name for name, word in told.items() if word == "SUCCESS"}, output


def test_promtool_finds_no_fault():
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml"))],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES)
def test_each_alert_fires_past_its_bound_and_not_within(file, tmp_path):
    cases = [case for case in CASES if case.file == file]
    rules = alerts(file)
    assert {key(rule) for rule in rules} == {(case.alert, case.severity, case.cadence) for case in cases}
    tests = [test for case in cases for test in worlds_of(case)]
    passed, output = promtool(tmp_path, {file: (rules, tests)})
    assert passed == {file}, output[:3000]


def changed(rule):
    """The rule with one of its numbers, or the time that it waits, changed: every way to do that."""
    for found in re.finditer(r"([<>]=?|==) ([\d.]+)", rule["expr"]):
        value = float(found[2])
        for other in (value + 1, value - 1) if found[1] == "==" or value == 0 else (value * 1.1, value * 0.9):
            yield {**rule, "expr": f"{rule['expr'][: found.start(2)]}{other:.10g}{rule['expr'][found.end(2) :]}"}
    minutes = {"m": 1, "h": 60, "d": 1440}
    wait = int(rule["for"][:-1]) * minutes[rule["for"][-1]] if "for" in rule else 0
    for other in {wait + 1, max(0, wait - 1)} - {wait}:
        yield {**rule, "for": f"{other}m"}


@pytest.mark.parametrize("file", FILES)
def test_no_bound_can_be_changed_unseen(file, tmp_path):
    suites = {}
    for number, rule in enumerate(alerts(file)):
        cases = [case for case in CASES if case.file == file and (case.alert, case.severity, case.cadence) == key(rule)]
        # What else an alert fires at does not change with its bound.
        tests = [test for case in cases[:2] for test in worlds_of(case)]
        for change, other in enumerate(changed(copy.deepcopy(rule))):
            suites[f"{number}-{change}"] = ([other], tests)
    passed, _output = promtool(tmp_path, suites)
    unseen = [suites[name][0][0] for name in passed]
    assert not unseen, json.dumps(unseen, indent=1)
    assert len(suites) > 2 * len(alerts(file))


@pytest.mark.parametrize("file", FILES)
def test_what_people_read_of_an_alert_is_whole(file, tmp_path):
    """promtool shows what it got where it expected nothing."""
    tests = []
    for case in (case for case in CASES if case.file == file):
        expected = {"eval_time": f"{case.wait}m", "alertname": case.alert, "exp_alerts": []}
        tests.append(
            {"interval": "1m", "input_series": series_of(case.past, case, case.wait), "alert_rule_test": [expected]}
        )
    _passed, output = promtool(tmp_path, {file: (alerts(file), tests)})
    shown = re.findall(r"Annotations:\{(.*)\}", output)
    assert len(shown) >= len(tests)
    for text in shown:
        assert not re.search(r"error expanding|no value|\{\{|  | (on|of) (is|at|has|fail)\b", text), text


@pytest.mark.parametrize("file", FILES)
def test_each_alert_says_what_it_is_and_where_to_read_on(file):
    pages = set(re.findall(r"^### (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE))
    types = {each["name"] for each in shipped()}
    for rule in alerts(file):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["labels"].get("incident_type", "cache") in types
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{URL}{rule['alert'].lower()}"
        assert rule["alert"] in pages
