# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that the collection is built and tested with."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.sre.runbooks.tools import generate
from ansible_collections.sre.runbooks.tools import test as parts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with two check types, a role and a playbook."""
    files = {
        "plugins/module_utils/_health/cpu.py": "def observe() -> int:\n    return 1\n",
        "plugins/module_utils/_health/disk.py": "def observe() -> int:\n    return 2\n",
        "plugins/module_utils/_health/_private.py": "",
        "playbooks/daily.yml": (
            "---\n# Does the daily work. And more.\n- hosts: all\n  roles:\n"
            "    - role: sre.runbooks.tidy\n      tags: [tidy]\n"
            "- hosts: all\n  tasks:\n    - tags: [neat, always]\n"
            "      ansible.builtin.import_role: {name: sre.runbooks.tidy}\n"
        ),
        "roles/tidy/tasks/main.yml": "- name: Tidy\n  ansible.builtin.command: tidy\n  become: true\n",
        "roles/tidy/meta/argument_specs.yml": """
argument_specs:
  main:
    short_description: Tidies
    description: [First., Second with C(code).]
    options:
      tidy_rules:
        type: list
        elements: dict
        default: []
        description: What to tidy, a|b.
        options:
          name: {type: str, required: true, description: The name.}
""",
        "docs/reference.md": "",
        "plugins/modules/zap.py": "DOCUMENTATION = 'short_description: Zaps'\n",
        "plugins/modules/add.py": "DOCUMENTATION = 'short_description: Adds'\n",
        "meta/runtime.yml": '---\nrequires_ansible: ">=2.19.0"\naction_groups:\n  all:\n    - gone\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated_registry", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_registry_names_its_siblings_and_knows_no_others(tree: Path) -> None:
    path = tree / "plugins/module_utils/_health/_registry.py"
    path.write_text(generate.generated(tree)[path], encoding="utf-8")
    registry = imported(path)
    assert registry.NAMES == ("cpu", "disk")
    assert registry.load("cpu").__name__.endswith("._health.cpu")  # the collection's own: names are absolute
    with pytest.raises(KeyError):
        registry.load("_private")


def test_a_role_readme_tells_options_tags_and_rights(tree: Path) -> None:
    readme = generate.generated(tree)[tree / "roles/tidy/README.md"]
    assert "Second with `code`." in readme
    assert r"| `tidy_rules` | list of dict | `[]` | What to tidy, a\|b. |" in readme
    assert "| `tidy_rules[].name` (required) | str |  | The name. |" in readme
    assert "`sre.runbooks.daily`; `--tags neat,tidy`" in readme
    assert "Some of its tasks become root." in readme


def test_the_index_lists_playbooks_and_roles(tree: Path) -> None:
    index = generate.generated(tree)[tree / "docs/reference.md"]
    assert "| `daily` | Does the daily work. |" in index
    assert "| `tidy` | Tidies |" in index


def test_the_action_group_is_the_list_of_modules(tree: Path) -> None:
    runtime = generate.generated(tree)[tree / "meta/runtime.yml"]
    assert runtime == '---\nrequires_ansible: ">=2.19.0"\naction_groups:\n  all:\n    - add\n    - zap\n'


def test_what_is_out_of_date_is_found_and_what_is_current_is_not(tree: Path) -> None:
    for path, content in generate.outdated(tree).items():
        path.write_text(content, encoding="utf-8")
    assert generate.outdated(tree) == {}
    (tree / "plugins/module_utils/_health/memory.py").write_text("", encoding="utf-8")
    assert [path.name for path in generate.outdated(tree)] == ["_registry.py"]


def test_closing_lines_of_pytest_are_found_in_a_log() -> None:
    log = (
        "collected 3 items\n\x1b[32m===== \x1b[1m3 passed\x1b[0m in 0.12s =====\x1b[0m\n2 passed items\n"
        "1 failed, 2 passed in 61.00s (0:01:01)\n"
    )
    result = parts.Result("unit", 0, 1.0, log)
    assert result.closing_lines() == ["===== 3 passed in 0.12s =====", "1 failed, 2 passed in 61.00s (0:01:01)"]


def test_the_end_of_a_log_is_what_is_printed() -> None:
    result = parts.Result("unit", 1, 1.0, "".join(f"\x1b[31mline {number}\x1b[0m\n" for number in range(1000)))
    assert result.tail().splitlines() == [f"line {number}" for number in range(1000 - parts.TAIL_LINES, 1000)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def test_it(): pass", 0),
        ("import pytest\n@pytest.mark.skip\ndef test_it(): pass\ndef test_other(): pass", 1),
        ("import pytest\ndef test_it(): pytest.skip('no')\ndef test_other(): pass", 1),
        ("import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass", 1),
        ("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\ndef test_other(): pass", 1),
    ],
)
def test_a_test_that_is_left_out_fails_the_run(tmp_path: Path, body: str, status: int) -> None:
    (tmp_path / "conftest.py").write_text((generate.ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_body.py").write_text(body + "\n", encoding="utf-8")
    (tmp_path / "test_passes.py").write_text("def test_passes(): pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    assert ("LEFT OUT" in done.stdout) == (status == 1)


def test_an_unknown_python_is_not_found() -> None:
    find = str(generate.ROOT / "tools/find-python")
    assert subprocess.run([find, "3.2"], capture_output=True, check=False).returncode == 1
    found = subprocess.run([find], capture_output=True, text=True, check=True).stdout.strip()
    version = subprocess.run(
        [found, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, check=True
    )
    assert version.stdout == b"True\n"
