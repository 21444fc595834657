# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference application as a real process, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

#: Another Python, to try the application with the packages of a distribution.
PYTHON = os.environ.get("REFERENCE_APP_TEST_PYTHON", sys.executable)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A seeded service that answers, shared by the tests of a module."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        url = server.url(server.create_database("reference_app"))
    process = Process(tmp_path_factory.mktemp("app"), database_url=url, python=PYTHON, rate_limit=50)
    process.run("--seed", "200")
    with process:
        yield process


@pytest.fixture
def healthy(app: Process) -> Iterator[Process]:
    """The service, made well again after the test."""
    yield app
    assert app.admin("DELETE", "/admin/sick").status == 200


@pytest.fixture
def lone_app(tmp_path: Path) -> Iterator[Process]:
    """A service on SQLite of one test, not started, stopped in the end."""
    process = Process(tmp_path / "lone", python=PYTHON)
    yield process
    process.stop()
