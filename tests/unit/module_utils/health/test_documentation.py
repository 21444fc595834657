# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/checks.md and the notes of sre.runbooks.health_check tell what the check types have, and their examples can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, _registry
from ansible_collections.sre.runbooks.plugins.modules import health_check

PAGE = (Path(__file__).resolve().parents[4] / "docs/checks.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
NOTES = " ".join(yaml.safe_load(health_check.DOCUMENTATION)["notes"])


@pytest.mark.parametrize("kind", _registry.NAMES)
def test_every_type_has_its_metrics_and_options_on_the_page(kind):
    family = _registry.load(kind)
    named = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", SECTIONS[kind], flags=re.DOTALL)))
    named |= {name.partition(".")[0] for name in named}
    assert {*family.METRICS, *family.OPTIONS} <= named


@pytest.mark.parametrize("kind", _registry.NAMES)
def test_the_main_metric_stands_first(kind):
    metrics = re.findall(r"^\| `(\w+)`", SECTIONS[kind], flags=re.MULTILINE)
    assert metrics[0] == _registry.load(kind).METRICS[0]


@pytest.mark.parametrize("kind", _registry.NAMES)
def test_every_example_can_be_read_as_it_stands(kind):
    (example,) = re.findall(r"```yaml\n(.*?)```", SECTIONS[kind], flags=re.DOTALL)
    (given,) = yaml.safe_load(example).items()
    assert given[0] == f"runbooks_checks_{kind}"
    checks, _secrets = _check.read(given[1])
    assert {check.type for check in checks} == {kind}


@pytest.mark.parametrize("kind", _registry.NAMES)
def test_every_type_and_metric_stands_in_the_notes_of_the_module(kind):
    family = _registry.load(kind)
    assert f"B({kind})" in NOTES
    assert [metric for metric in (*family.METRICS, *family.OPTIONS) if f"C({metric})" not in NOTES] == []


def test_the_example_of_the_module_can_be_read():
    (task,) = yaml.safe_load(health_check.EXAMPLES)
    checks, _secrets = _check.read(task["sre.runbooks.health_check"]["checks"])
    assert len(checks) == len(task["sre.runbooks.health_check"]["checks"])
