# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in for AWX refuses the rules that AWX's own tests say it refuses, and takes what this collection makes (C8)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sre.runbooks.plugins.plugin_utils import _schedule_filters
from ansible_collections.sre.runbooks.tests.integration.awx import rules

REFUSED = [
    ("DTSTART:NONSENSE", "Valid DTSTART required in rrule"),
    ("DTSTART:20300308T050000 RRULE:FREQ=DAILY;INTERVAL=1", "DTSTART cannot be a naive datetime"),
    ("DTSTART:20300308T050000Z DTSTART:20310308T050000", "Multiple DTSTART is not supported"),
    ("DTSTART:20300308T050000Z", "One or more rule required in rrule"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=MONTHLY;INTERVAL=1; EXDATE:20220401", "EXDATE not allowed in rrule"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=MONTHLY;INTERVAL=1; RDATE:20220401", "RDATE not allowed in rrule"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=SECONDLY;INTERVAL=5;COUNT=6", "SECONDLY is not supported"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=DAILY", "INTERVAL required in rrule"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=5MO", "BYDAY with numeric prefix not supported"),
    ("DTSTART:20300925T104941Z RRULE:FREQ=DAILY;INTERVAL=10;COUNT=500;UNTIL=20400925T104941Z", "RRULE may not contain both COUNT and UNTIL"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=DAILY;INTERVAL=1;COUNT=2000", "COUNT > 999 is unsupported"),
    ("DTSTART;TZID=US-Eastern:20301105T090000 RRULE:FREQ=MINUTELY;INTERVAL=10;COUNT=5", "A valid TZID must be provided"),
    ("DTSTART:20300308T050000Z RRULE:FREQ=REGULARLY;INTERVAL=1", "rrule parsing failed validation: invalid 'FREQ': REGULARLY"),
    ("DTSTART;TZID=America/New_York:20300308T050000Z RRULE:FREQ=DAILY;INTERVAL=1", "rrule parsing failed validation"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_c8_what_awx_refuses_is_refused(text: str, error: str) -> None:
    assert any(error in each for each in rules.rrule_errors(text))


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"at": "daily 09:00"}, "DTSTART;TZID=Europe/Madrid:20260101T090000 RRULE:FREQ=DAILY;INTERVAL=1"),
        ({"at": "Friday 15:00"}, "DTSTART;TZID=Europe/Madrid:20260102T150000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=FR"),
        (
            {"at": "first Friday 09:00"},
            "DTSTART;TZID=Europe/Madrid:20260102T090000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=1",
        ),
        (
            {"rule": "FREQ=MONTHLY;BYDAY=-1SU", "start": "02:00"},
            "DTSTART;TZID=Europe/Madrid:20260125T020000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=SU;BYSETPOS=-1",
        ),
    ],
)
def test_c8_what_people_say_is_a_rule_that_awx_takes(said: dict[str, Any], rule: str) -> None:
    text = _schedule_filters.schedule_rrule({"name": "x", "zone": "Europe/Madrid", **said})
    assert text == rule
    assert rules.rrule_errors(text) == []


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"type": "choice"}, "is not one of"),
        ({"default": 3}, "expected to be str"),
        ({"required": "no"}, "expected to be bool"),
        ({"type": "multiplechoice"}, "must specify choices"),
        ({"type": "multiplechoice", "choices": ["a"], "default": "b"}, "Default choice must be answered"),
        ({"min": "1"}, "expected to be integer"),
    ],
)
def test_surveys_that_awx_refuses(question: dict[str, Any], error: str) -> None:
    asked = {"question_name": "Q", "variable": "q", "type": "text", "required": False}
    assert rules.survey_error({"name": "", "description": "", "spec": [asked]}) == ""
    assert error in rules.survey_error({"name": "", "description": "", "spec": [{**asked, **question}]})


def test_a_schedule_gives_only_what_its_template_asks_for() -> None:
    template = {"ask_limit_on_launch": False, "ask_variables_on_launch": False, "survey_enabled": True}
    survey = {"spec": [{"variable": "hosts", "type": "text", "required": True, "min": 1}]}
    assert rules.launch_errors(template, survey, {"extra_data": {"hosts": "shop"}}) == {}
    errors = rules.launch_errors(template, survey, {"extra_data": {"other": 1}, "limit": "shop"})
    assert set(errors) == {"extra_data", "limit", "variables_needed_to_start"}


def test_a_credential_type_uses_its_own_fields_alone() -> None:
    fields = {"fields": [{"id": "url"}]}
    assert rules.injector_errors(fields, {"extra_vars": {"a": "{{ url }}"}}) == []
    assert "uses an undefined field" in rules.injector_errors(fields, {"extra_vars": {"a": "{{ other }}"}})[0]
    assert "not allowed" in rules.injector_errors(fields, {"env": {"ANSIBLE_X": "{{ url }}"}})[0]
