"""The glob of the check type file, held against glob.iglob."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health.file import matching

NAMES = [
    "a.log",
    "b.log",
    ".hidden.log",
    "sub/c.log",
    "sub/deep/d.log",
    ".dot/e.log",
    "sub/x[1].log",
    "with space/f.log",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        "a.log", "none.log", "*.log", ".*.log", "*", "?.log", "[ab].log", "sub/*.log", "*/*.log", "**", "**/*.log",
        "sub/**", "sub/**/d.log", "**/deep/*", "none/*", "a.log/*", "sub/x[[]1].log", "with space/*", "*/deep/d.log", ".dot/*",
    ],
)  # fmt: skip
def test_matches_what_the_standard_library_matches(tree: Path, pattern: str) -> None:
    def files(paths: object) -> list[str]:
        return sorted(path for path in paths if Path(path).is_file())  # type: ignore[attr-defined]

    assert files(matching(f"{tree}/{pattern}")) == files(glob.iglob(f"{tree}/{pattern}", recursive=True))


def test_a_relative_pattern(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert sorted(matching("*.log")) == ["a.log", "b.log"]


def test_a_link_to_a_folder_above_is_not_walked_for_ever(tree: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert sum(path.endswith("d.log") for path in matching(f"{tree}/**")) == 1
