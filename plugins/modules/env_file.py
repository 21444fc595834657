#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: env_file
short_description: Change one variable of an environment file, YAML, JSON or INI file and nothing else
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Writes the value in its place. Comments, order, blank lines, quotes, line ends and bytes of all else stay, and so do the file's owner, mode, access
    lists and labels.
  - A reader sees the old file or the new one, whenever the run is killed. What would be written is read back first.
  - The value that was there before is kept in C(PATH.previous), which its owner alone may read, until it is restored or forgotten.
  - Values stand in no result, difference, log or error message.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Files are read and the new text is made and read back, but not written.
  diff_mode:
    support: full
    details: Names which variables change; values are stars.
options:
  path:
    description:
      - The file, from the root on. Symbolic links are not followed, and files with several names (hard links) are refused.
    type: path
  variable:
    description:
      - The variable. For O(format=env) a name of letters, digits and underscores.
      - For O(format=yaml) and O(format=json) names joined by dots, as in V(server.api.key), a number being a place in a list. For O(format=ini)
        the section, a dot and the key. A dot that belongs to a name is written V(\\.).
      - One that is not there is added, if what it belongs to is there. Of several with the same name the last one is changed, with a V(warning).
    type: str
  value:
    description:
      - The text that the variable gets. It is refused if it cannot be written so that all readers of the format see the same, see the notes.
    type: str
  format:
    description: How the file is written.
    type: str
    choices: [env, yaml, json, ini]
    default: env
  variables:
    description: Several variables in one call, instead of O(path), O(variable), O(value) and O(format). One that fails does not keep the others.
    type: list
    elements: dict
    suboptions:
      path:
        description: As O(path).
        type: path
        required: true
      variable:
        description: As O(variable).
        type: str
        required: true
      value:
        description: As O(value).
        type: str
      format:
        description: As O(format).
        type: str
        choices: [env, yaml, json, ini]
        default: env
  state:
    description:
      - V(present) gives the variable its value.
      - V(restored) gives it the value back that is kept in C(PATH.previous). Other changes since then stay.
      - V(forgotten) takes the kept value away, and the file C(PATH.previous) when it holds nothing else.
    type: str
    choices: [present, restored, forgotten]
    default: present
  create:
    description: Make the file, with mode 0600, if it is not there. Otherwise that is an error, for nobody may read a file of a mistyped name.
    type: bool
    default: false
  backup:
    description: Keep the value that was there before in C(PATH.previous).
    type: bool
    default: true
requirements:
  - PyYAML (package C(python3-yaml)) on the host for O(format=yaml)
notes:
  - B(env) is read by systemd (C(EnvironmentFile)), shells and python-dotenv, which differ in quotes and dollar signs. Values
    that they would read differently are refused, as those with C(${), or with a dollar sign together with a single quote or a backslash.
    C(docker run --env-file) takes quotes for a part of the value, so give it values of letters, digits and C(_./:@%+,=-) only.
  - B(yaml) and B(json) replace texts and null only; numbers, lists, blocks after C(|), aliases and values with an anchor are refused.
  - B(ini) knows no quotes. Values with C(%), with C(#) or C(;) after space, or with space at an end are refused.
  - Restart or reload what reads the file in a handler. M(sre.runbooks.rotating_key) does it all for keys.
  - Control characters besides tabulator and line feed are refused in all formats.
"""

EXAMPLES = r"""
- name: Give the service its new token
  sre.runbooks.env_file:
    path: /etc/feature11/feature11.env
    variable: MONDAY_API_KEY
    value: "{{ monday_api_key }}"
  notify: Restart feature11

- name: Change what two programs read
  sre.runbooks.env_file:
    variables:
      - {path: /srv/mcp/.env, variable: API_KEY, value: "{{ mcp_api_key }}"}
      - {path: /srv/mcp/config.yml, variable: server.api.key, value: "{{ mcp_api_key }}", format: yaml}
  no_log: true

- name: Take the change back
  sre.runbooks.env_file:
    path: /etc/feature11/feature11.env
    variable: MONDAY_API_KEY
    state: restored
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each variable. They are there on failure, too.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: File and variable.
      type: str
      sample: "env_file:/etc/feature11/feature11.env#MONDAY_API_KEY"
    stage:
      description: Always V(env_file).
      type: str
      sample: env_file
    status:
      description:
        - V(ok); V(warning) when the file has something that readers take differently; V(critical) when it could not be done, which fails the task
          after all others were tried.
      type: str
      sample: ok
    summary:
      description: One line for a person, without values.
      type: str
      sample: changed
    metrics:
      description: Nothing.
      type: dict
      sample: {}
    details:
      description: Whether it is C(changed).
      type: dict
      sample: {changed: true}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._env import _settings, _variables

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC, mutually_exclusive=[("variables", each) for each in _settings.SINGLE])
    runbook.run(module, _variables.STAGE, lambda: env_file(module), conceal=_settings.SECRET)


def env_file(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, change the variables, return the envelope; fail with it when one could not be changed."""
    settings = _settings.read(module.params)
    result, errors = _variables.run(settings, module.check_mode)
    for warning in [each["summary"] for each in result["outcomes"] if each["status"] == "warning"]:
        module.warn(warning)
    if errors:
        shown = {name: value for name, value in module.params.items() if name not in _settings.SECRET}
        module.fail_json(msg=" ".join(errors), invocation={"module_args": shown}, **result)
    return result


if __name__ == "__main__":
    main()
