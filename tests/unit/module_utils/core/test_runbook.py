# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module runs: one call, one result, domain errors turned into a failure once."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome

SPEC = {"checks": {"type": "list", "elements": "dict"}, "level": {"type": "str"}}

# ansible-core 2.21 leaves the invocation out of a result unless it is asked for; older ones do not know the question.
SHOW_INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}


@pytest.fixture
def run(capsys):
    """Run `work` as a module with `options`; return (exit status, result)."""

    def go(work, **options):
        with patch_module_args(options):
            module = runbook.build(SPEC)
            with pytest.raises(SystemExit) as caught:
                runbook.run(module, "health", lambda: work(module), conceal=["checks"])
        return caught.value.code, json.loads(capsys.readouterr().out)

    return go


def one(_module):
    return envelope([outcome("disk:/", "health", "warning", "x", metrics={"used_percent": 91})])


def test_the_envelope_is_the_result_and_concealed_options_are_not_repeated(run):
    code, result = run(one, checks=[{"password": "geheim"}], level="x", **SHOW_INVOCATION)
    assert code == 0
    assert (result["changed"], result["status"], result["outcomes"][0]["subject"]) == (False, "warning", "disk:/")
    assert result["invocation"]["module_args"]["level"] == "x"
    assert "checks" not in result["invocation"]["module_args"]
    assert "geheim" not in json.dumps(result)


def test_a_domain_error_fails_with_its_message_alone(run):
    def work(_module):
        raise RunbookError("/var/backups: no room. Make room.")

    code, result = run(work, checks=[{"password": "geheim"}])
    assert code == 1
    assert result["msg"] == "/var/backups: no room. Make room."
    assert result["failed"] is True
    assert "geheim" not in json.dumps(result)


def test_a_defect_is_not_dressed_as_a_domain_error():
    def work():
        raise ZeroDivisionError

    with patch_module_args({}), pytest.raises(ZeroDivisionError):
        runbook.run(runbook.build(SPEC), "health", work)


def test_the_textfile_is_written_but_not_in_check_mode(run, tmp_path):
    code, _result = run(one, textfile_dir=str(tmp_path), _ansible_check_mode=True)
    assert (code, list(tmp_path.iterdir())) == (0, [])
    run(one, textfile_dir=str(tmp_path))
    assert "sre_runbooks_used_percent" in (tmp_path / "sre_runbooks_health.prom").read_text()


def test_a_textfile_folder_that_is_missing_fails_by_name(run):
    code, result = run(one, textfile_dir="/nowhere")
    assert code == 1
    assert result["msg"].startswith("textfile_dir: '/nowhere' is no folder.")
