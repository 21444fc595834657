# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Textfile metrics of every module that makes outcomes (R6): written by real calls, taken by promtool and given out by node_exporter."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ..conftest import free_port
from .module_calls import calls, prepare

ROOT = Path(__file__).resolve().parents[3]
MODULES = {path.stem for path in (ROOT / "plugins/modules").glob("*.py") if "runbook.run(" in path.read_text()}


@pytest.fixture
def application(tmp_path):
    with Process(tmp_path / "app") as running:
        yield running


def called(name, arguments, capsys):
    """Run the module `name` in this process; return its result."""
    module = importlib.import_module(f"ansible_collections.sre.runbooks.plugins.modules.{name}")
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_takes_the_folder(name):
    text = (ROOT / f"plugins/modules/{name}.py").read_text()
    assert "runbook.build(" in text
    assert "- sre.runbooks.common" in text


def test_r6_real_calls_of_all_modules_are_taken_by_promtool_and_node_exporter(tmp_path, application, capsys):
    folder, textfile = tmp_path / "work", tmp_path / "textfile"
    folder.mkdir()
    textfile.mkdir()
    prepare(folder)
    made = set()
    told = {}
    for name, arguments in calls(folder, application.url, application.token_file.read_text().strip()):
        before = {path: path.stat().st_mtime_ns for path in textfile.iterdir()}
        result = called(name, {**arguments, "state_dir": f"{folder}/state", "textfile_dir": str(textfile)}, capsys)
        assert "outcomes" in result, (name, result)
        assert result["outcomes"], name
        new = [path for path in textfile.iterdir() if path.stat().st_mtime_ns != before.get(path)]
        assert len(new) == 1, (name, new)
        text = new[0].read_text()
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert (name, checked.returncode, checked.stdout + checked.stderr) == (name, 0, "")
        assert text.count("sre_runbooks_status{") == len(
            {(each["stage"], each["subject"]) for each in result["outcomes"]}
        )
        made.add(name)
        told[name] = {family.name for family in text_string_to_metric_families(text)}
    assert made == MODULES
    given = exported(textfile, tmp_path)
    assert given["node_textfile_scrape_error"] == {(): 0.0}
    files = sum(
        len(path.read_text().splitlines()) - 2 * path.read_text().count("# HELP") for path in textfile.iterdir()
    )
    assert files == sum(len(series) for name, series in given.items() if name.startswith("sre_runbooks_"))
    documented(told)


def exported(textfile, folder):
    """What a node_exporter makes of the files: {metric: {labels: value}}."""
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus-node-exporter", f"--web.listen-address={address}", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={textfile}"]  # fmt: skip
    with (folder / "exporter.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as exporter:
        try:
            for _attempt in range(200):
                try:
                    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                        text = answer.read().decode()
                    break
                except OSError:
                    assert exporter.poll() is None
                    time.sleep(0.05)
        finally:
            exporter.kill()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def documented(told):
    page = (ROOT / "docs/metrics.md").read_text()
    missing = {
        name: sorted(each for each in names if f"`{each.removeprefix('sre_runbooks_')}`" not in page)
        for name, names in told.items()
    }
    assert not {name: each for name, each in missing.items() if each}
