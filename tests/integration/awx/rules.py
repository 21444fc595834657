# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX 24 refuses, as its API says it: recurrence rules, surveys, prompts of schedules and workflow nodes, injectors of credential types.

Written after AWX's published serializers and their tests; each function returns what AWX puts into the body of its 400, empty when it accepts.
"""

from __future__ import annotations

import re
from typing import Any

import dateutil.parser
import dateutil.rrule
import dateutil.tz
import jinja2.sandbox

# Prompts that a saved launch may carry, and the switch of the template that lets it.
PROMPTS = {
    "inventory": "ask_inventory_on_launch",
    "limit": "ask_limit_on_launch",
    "job_tags": "ask_tags_on_launch",
    "skip_tags": "ask_skip_tags_on_launch",
    "job_type": "ask_job_type_on_launch",
    "verbosity": "ask_verbosity_on_launch",
    "diff_mode": "ask_diff_mode_on_launch",
    "forks": "ask_forks_on_launch",
    "job_slice_count": "ask_job_slice_count_on_launch",
    "timeout": "ask_timeout_on_launch",
    "execution_environment": "ask_execution_environment_on_launch",
    "scm_branch": "ask_scm_branch_on_launch",
}
QUESTIONS: dict[str, type] = {
    "text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int, "float": float,
}  # fmt: skip


def rrule_errors(text: str) -> list[str]:
    """AWX's validation of a recurrence rule."""
    for word in ("EXDATE", "RDATE"):
        if f"{word.lower()}:" in text.lower():
            return [f"{word} not allowed in rrule."]
    errors = []
    starts = re.findall(r"DTSTART(?:;[^:]+)?:[0-9]+T[0-9]+Z?", text)
    if not starts:
        errors.append("Valid DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ")
    if re.search(r"DTSTART:[0-9]+T[0-9]+ ", text):
        errors.append("DTSTART cannot be a naive datetime.  Specify ;TZINFO= or YYYYMMDDTHHMMSSZZ.")
    if len(starts) > 1:
        errors.append("Multiple DTSTART is not supported.")
    if "rrule:" not in text.lower():
        errors.append("One or more rule required in rrule.")
    for rule in re.findall(r"RULE:[^\s]*", text):
        errors += _rule_errors(rule)
    return errors + _parsing_errors(text)


def _rule_errors(rule: str) -> list[str]:
    errors = []
    if "interval" not in rule.lower():
        errors.append(f"INTERVAL required in rrule: {rule}")
    elif "secondly" in rule.lower():
        errors.append(f"SECONDLY is not supported: {rule}")
    if re.search(r"BYDAY[:=][0-9]+[a-zA-Z]{2}", rule):
        errors.append(f"BYDAY with numeric prefix not supported: {rule}")
    if "COUNT" in rule and "UNTIL" in rule:
        errors.append(f"RRULE may not contain both COUNT and UNTIL: {rule}")
    count = re.search(r"COUNT=([0-9]+)", rule)
    if count and int(count[1]) > 999:
        errors.append(f"COUNT > 999 is unsupported: {rule}")
    return errors


def _parsing_errors(text: str) -> list[str]:
    zones = dict.fromkeys(dateutil.parser.parserinfo().UTCZONE, dateutil.tz.UTC)
    try:
        rules = dateutil.rrule.rrulestr(text, tzinfos=zones, forceset=True)
    except (ValueError, TypeError, AttributeError) as error:
        return [f"rrule parsing failed validation: {error}"]
    for rule in vars(rules)["_rrule"]:
        if rule._dtstart.tzinfo is None:
            return ["rrule parsing failed validation: A valid TZID must be provided (e.g., America/New_York)"]
    return []


def survey_error(survey: dict[str, Any]) -> str:
    """AWX's validation of a survey."""
    for field, kind in (("name", str), ("description", str), ("spec", list)):
        if field not in survey:
            return f"Field '{field}' is missing from survey spec."
        if not isinstance(survey[field], kind):
            return f"Expected {kind.__name__} for field '{field}', received {type(survey[field]).__name__} type."
    if not survey["spec"]:
        return "'spec' doesn't contain any items."
    names = [item.get("variable") for item in survey["spec"]]
    for index, item in enumerate(survey["spec"]):
        if names.index(item.get("variable")) != index:
            return f"'variable' '{item['variable']}' duplicated in survey question {index}."
        if error := _question_error(item, index):
            return error
    return ""


def _question_error(item: dict[str, Any], index: int) -> str:
    for field in ("type", "question_name", "variable", "required"):
        if field not in item:
            return f"'{field}' missing from survey question {index}"
        kind = bool if field == "required" else str
        if not isinstance(item[field], kind):
            return f"'{field}' in survey question {index} expected to be {kind.__name__}."
    kind, default = item["type"], item.get("default", "")
    if kind not in QUESTIONS:
        return f"'{kind}' in survey question {index} is not one of '{', '.join(QUESTIONS)}' allowed question types."
    if default != "" and not isinstance(default, QUESTIONS[kind]):
        return f"Default value {default} in survey question {index} expected to be {QUESTIONS[kind].__name__}."
    return _limits_error(item, index) or (
        _choices_error(item, index) if kind in ("multiplechoice", "multiselect") else ""
    )


def _limits_error(item: dict[str, Any], index: int) -> str:
    for bound in ("min", "max"):
        if item.get(bound) is not None and not isinstance(item[bound], int):
            return f"The {bound} limit in survey question {index} expected to be integer."
    return ""


def _choices_error(item: dict[str, Any], index: int) -> str:
    if "choices" not in item:
        return f"Survey question {index} of type {item['type']} must specify choices."
    defaults = str(item.get("default", "")).splitlines()
    if item["type"] == "multiplechoice" and len(defaults) > 1:
        return "Multiple Choice (Single Select) can only have one default value."
    if any(each not in item["choices"] for each in defaults):
        return "Default choice must be answered from the choices listed."
    return ""


def answer_errors(question: dict[str, Any], answers: dict[str, Any]) -> list[str]:
    """AWX's validation of the answer to one question of a survey in `answers`, the variables of a saved launch."""
    name = question["variable"]
    if name not in answers:
        return [f"'{name}' value missing"] if question["required"] else []
    value, kind = answers[name], question["type"]
    if kind in ("text", "textarea", "password"):
        if not isinstance(value, str):
            return [f"Value {value} for '{name}' expected to be a string."]
        if len(value) < (question.get("min") or 0):
            return [f"'{name}' value {value} is too small (length is {len(value)} must be at least {question['min']})."]
    if kind == "integer" and not isinstance(value, int):
        return [f"Value {value} for '{name}' expected to be an integer."]
    if kind == "multiplechoice" and value not in question["choices"]:
        return [f"Value {value} for '{name}' expected to be one of {question['choices']}."]
    if kind == "multiselect" and not (isinstance(value, list) and set(value) <= set(question["choices"])):
        return [f"Value {value} for '{name}' expected to be a list of {question['choices']}."]
    return []


def launch_errors(template: dict[str, Any], survey: dict[str, Any], launch: dict[str, Any]) -> dict[str, list[str]]:
    """AWX's validation of what a schedule or a workflow node gives to `template`."""
    errors: dict[str, list[str]] = {}
    for field, switch in PROMPTS.items():
        value = launch.get(field)
        if value not in (None, "") and value != template.get(field) and not template.get(switch):
            errors[field] = ["Field is not configured to prompt on launch."]
    questions = survey.get("spec", []) if template.get("survey_enabled") else []
    given = launch.get("extra_data") or {}
    needed = [text for question in questions for text in answer_errors(question, given)]
    if needed:
        errors["variables_needed_to_start"] = needed
    asked = {question["variable"] for question in questions}
    unknown = sorted(set(given) - asked)
    if unknown and not template.get("ask_variables_on_launch"):
        errors["extra_data"] = [
            f"Variables {', '.join(unknown)} are not allowed on launch. Check the Prompt on Launch setting on the Job Template to include Extra Variables."
        ]
    return errors


def injector_errors(inputs: dict[str, Any], injectors: dict[str, Any]) -> list[str]:
    """AWX's validation of a credential type: injectors use the fields of its inputs and no others."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    fields = {field["id"]: "EXAMPLE" for field in inputs.get("fields", [])}
    errors = []
    for kind, values in injectors.items():
        if kind not in ("env", "extra_vars", "file"):
            errors.append(f"Additional properties are not allowed ('{kind}' was unexpected)")
            continue
        for name, template in values.items():
            if kind == "env" and name.startswith("ANSIBLE_"):
                errors.append(
                    f"Environment variable {name} may affect Ansible configuration so its use is not allowed in credentials."
                )
            try:
                environment.from_string(template).render(fields)
            except jinja2.UndefinedError as error:
                errors.append(f"{name} uses an undefined field ({error})")
    return errors
