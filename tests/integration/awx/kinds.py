# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of objects of AWX's API that the controller configuration uses: fields with their defaults, as AWX's OPTIONS tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_ASK = dict.fromkeys(
    f"ask_{name}_on_launch"
    for name in (
        "diff_mode", "variables", "limit", "tags", "skip_tags", "job_type", "verbosity", "inventory", "credential", "execution_environment",
        "labels", "forks", "job_slice_count", "timeout", "instance_groups", "scm_branch",
    )
)  # fmt: skip
_ASK_NONE: dict[str, Any] = dict.fromkeys(_ASK, False)
_ASK_WORKFLOW: dict[str, Any] = {
    f"ask_{name}_on_launch": False
    for name in ("variables", "inventory", "limit", "scm_branch", "labels", "skip_tags", "tags")
}
_PROMPTS: dict[str, Any] = {
    "extra_data": {}, "inventory": None, "scm_branch": None, "job_type": None, "job_tags": None, "skip_tags": None, "limit": None,
    "diff_mode": None, "verbosity": None, "execution_environment": None, "forks": None, "job_slice_count": None, "timeout": None,
}  # fmt: skip
_NOTIFIED = ("notification_templates_started", "notification_templates_success", "notification_templates_error")


@dataclass(frozen=True)
class Kind:
    """One endpoint. `fields`: writable fields and their defaults; all others that are sent are ignored, as AWX does."""

    type: str
    fields: dict[str, Any]
    required: tuple[str, ...] = ("name",)
    references: dict[str, str] = field(default_factory=dict)
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    unique: tuple[str, ...] = ("name",)
    associations: dict[str, str] = field(default_factory=dict)


def _notified(*more: str) -> dict[str, str]:
    return dict.fromkeys((*_NOTIFIED, *more), "notification_templates")


_ORGANIZATION = {"organization": "organizations"}
_TEMPLATES = "unified_job_templates"

KINDS: dict[str, Kind] = {
    "organizations": Kind(
        "organization",
        {"name": "", "description": "", "max_hosts": 0, "default_environment": None},
        references={"default_environment": "execution_environments"},
        associations={
            **_notified("notification_templates_approvals"),
            "galaxy_credentials": "credentials",
            "instance_groups": "instance_groups",
        },
    ),
    "instance_groups": Kind("instance_group", {"name": "", "is_container_group": False}),
    "execution_environments": Kind(
        "execution_environment",
        {"name": "", "description": "", "organization": None, "image": "", "credential": None, "pull": ""},
        ("name", "image"),
        {**_ORGANIZATION, "credential": "credentials"},
        {"pull": ("", "always", "missing", "never")},
    ),
    "credential_types": Kind(
        "credential_type",
        {"name": "", "description": "", "kind": "", "inputs": {}, "injectors": {}},
        ("name", "kind"),
        choices={"kind": ("net", "cloud")},  # those that a user may make
        unique=("name", "kind"),
    ),
    "credentials": Kind(
        "credential",
        {"name": "", "description": "", "organization": None, "credential_type": None, "inputs": {}},
        ("name", "credential_type"),
        {**_ORGANIZATION, "credential_type": "credential_types"},
        unique=("organization", "name", "credential_type"),
    ),
    "projects": Kind(
        "project",
        {
            "name": "", "description": "", "organization": None, "local_path": "", "scm_type": "", "scm_url": "", "scm_branch": "",
            "scm_refspec": "", "scm_clean": False, "scm_track_submodules": False, "scm_delete_on_update": False, "credential": None,
            "timeout": 0, "scm_update_on_launch": False, "scm_update_cache_timeout": 0, "allow_override": False, "default_environment": None,
        },
        references={**_ORGANIZATION, "credential": "credentials", "default_environment": "execution_environments"},
        choices={"scm_type": ("", "git", "svn", "insights", "archive")},
        unique=("name", "organization"),
        associations=_notified(),
    ),
    "inventories": Kind(
        "inventory",
        {"name": "", "description": "", "organization": None, "kind": "", "host_filter": None, "variables": "", "prevent_instance_group_fallback": False},
        ("name", "organization"),
        _ORGANIZATION,
        {"kind": ("", "smart", "constructed", None)},
        ("name", "organization"),
        {"instance_groups": "instance_groups"},
    ),
    "inventory_sources": Kind(
        "inventory_source",
        {
            "name": "", "description": "", "source": "", "source_path": "", "source_vars": "", "scm_branch": "", "credential": None,
            "enabled_var": "", "enabled_value": "", "host_filter": "", "overwrite": False, "overwrite_vars": False, "timeout": 0, "verbosity": 1,
            "limit": "", "execution_environment": None, "inventory": None, "update_on_launch": False, "update_cache_timeout": 0,
            "source_project": None,
        },
        ("name", "inventory"),
        {"inventory": "inventories", "source_project": "projects", "credential": "credentials", "execution_environment": "execution_environments"},
        unique=("name", "inventory"),
        associations=_notified(),
    ),
    "notification_templates": Kind(
        "notification_template",
        {"name": "", "description": "", "organization": None, "notification_type": "", "notification_configuration": {}, "messages": None},
        ("name", "organization", "notification_type"),
        _ORGANIZATION,
        {"notification_type": ("awssns", "email", "grafana", "irc", "mattermost", "pagerduty", "rocketchat", "slack", "twilio", "webhook")},
        ("organization", "name"),
    ),
    "job_templates": Kind(
        "job_template",
        {
            "name": "", "description": "", "job_type": "run", "inventory": None, "project": None, "playbook": "", "scm_branch": "", "forks": 0,
            "limit": "", "verbosity": 0, "extra_vars": "", "job_tags": "", "force_handlers": False, "skip_tags": "", "start_at_task": "",
            "timeout": 0, "use_fact_cache": False, "execution_environment": None, "host_config_key": "", "survey_enabled": False,
            "become_enabled": False, "diff_mode": False, "allow_simultaneous": False, "job_slice_count": 1, "webhook_service": "",
            "webhook_credential": None, "prevent_instance_group_fallback": False, **_ASK_NONE,
        },
        references={"inventory": "inventories", "project": "projects", "execution_environment": "execution_environments"},
        choices={"job_type": ("run", "check"), "verbosity": (0, 1, 2, 3, 4, 5)},
        unique=("name", "organization"),
        associations={**_notified(), "credentials": "credentials", "instance_groups": "instance_groups", "labels": "labels"},
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        {
            "name": "", "description": "", "extra_vars": "", "organization": None, "survey_enabled": False, "allow_simultaneous": False,
            "inventory": None, "limit": None, "scm_branch": None, "webhook_service": "", "webhook_credential": None, "skip_tags": None,
            "job_tags": None, **_ASK_WORKFLOW,
        },
        references={**_ORGANIZATION, "inventory": "inventories"},
        unique=("name", "organization"),
        associations={**_notified("notification_templates_approvals"), "labels": "labels"},
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        {**_PROMPTS, "workflow_job_template": None, "unified_job_template": None, "all_parents_must_converge": False, "identifier": ""},
        ("workflow_job_template",),
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": _TEMPLATES, "inventory": "inventories"},
        {"job_type": (None, "", "run", "check")},
        ("identifier", "workflow_job_template"),
        {
            "success_nodes": "workflow_job_template_nodes",
            "failure_nodes": "workflow_job_template_nodes",
            "always_nodes": "workflow_job_template_nodes",
        },
    ),
    "workflow_approval_templates": Kind(
        "workflow_approval_template", {"name": "", "description": "", "timeout": 0}, unique=()
    ),
    "schedules": Kind(
        "schedule",
        {**_PROMPTS, "name": "", "description": "", "rrule": "", "unified_job_template": None, "enabled": True},
        ("name", "rrule", "unified_job_template"),
        {"unified_job_template": _TEMPLATES, "inventory": "inventories", "execution_environment": "execution_environments"},
        {"job_type": (None, "", "run", "check")},
        ("unified_job_template", "name"),
        {"credentials": "credentials", "labels": "labels", "instance_groups": "instance_groups"},
    ),
    "labels": Kind("label", {"name": "", "organization": None}, ("name", "organization"), _ORGANIZATION, unique=("name", "organization")),
}  # fmt: skip
# What can be run; AWX numbers and lists them together.
UNIFIED = ("job_templates", "workflow_job_templates", "projects", "inventory_sources")

# Credential types that AWX brings, with the fields of their inputs; True for those it keeps to itself.
MANAGED_TYPES: dict[str, tuple[str, dict[str, bool]]] = {
    "Machine": ("ssh", {
        "username": False, "password": True, "ssh_key_data": True, "ssh_public_key_data": False, "ssh_key_unlock": True, "become_method": False,
        "become_username": False, "become_password": True,
    }),
    "Source Control": ("scm", {"username": False, "password": True, "ssh_key_data": True, "ssh_key_unlock": True}),
    "Vault": ("vault", {"vault_password": True, "vault_id": False}),
    "Container Registry": ("registry", {"host": False, "username": False, "password": True, "verify_ssl": False}),
}  # fmt: skip

# Options of notifications: default, or None where AWX wants a value; and those that are secret.
NOTIFICATIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "webhook": (
        {"url": None, "http_method": "POST", "disable_ssl_verification": False, "username": "", "password": "", "headers": None},
        ("password",),
    ),
    "slack": ({"token": None, "channels": None, "hex_color": ""}, ("token",)),
    "email": (
        {
            "host": None, "port": None, "username": "", "password": "", "use_tls": None, "use_ssl": None, "sender": None, "recipients": None,
            "timeout": 30,
        },
        ("password",),
    ),
}  # fmt: skip
