# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.health_check called in this process, and servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import health_check

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "tests"))

from reference_app.process import Process  # noqa: E402

MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import health_check
with patch_module_args(json.loads(sys.argv[1])):
    health_check.main()
"""


@pytest.fixture
def run(capsys, tmp_path):
    """Make `checks` and return the module's result; options of the module as keywords."""

    def go(*checks, **options):
        given = {"checks": list(checks), "state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            health_check.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def check(run):
    """Make one check, named `x`, and return its only outcome."""

    def go(kind, **options):
        result = run({"name": "x", "type": kind, **options})
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert result["status"] == outcome["status"]
        assert result["changed"] is False
        return outcome

    return go


@pytest.fixture
def run_in_namespace(tmp_path):
    """Run shell lines, then the module with `checks`, in a mount namespace of its own, which any user may make.

    The module is a process of its own, which has to end within two minutes.
    """

    def go(lines, *checks, **given):
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        options = json.dumps({"checks": list(checks), "state_dir": str(tmp_path / "state"), **given})
        done = subprocess.run(
            [*unshare, "sh", "-ec", f'{lines}\nexec "$@"', "sh", sys.executable, "-c", MODULE, options],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)["outcomes"]

    return go


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[Process]:
    """The reference application on SQLite."""
    process = Process(tmp_path_factory.mktemp("app"))
    process.run("--seed", "50")
    with process:
        yield process


@pytest.fixture
def sick(app):
    """Make the application sick; it is well again after the test."""
    yield lambda **how: app.admin("PUT", "/admin/sick", how)
    assert app.admin("DELETE", "/admin/sick").status == 200


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Start a TCP server that hands each connection to `talk(connection)` in a thread; return its port."""
    with contextlib.ExitStack() as stack:

        def go(talk: Callable[[socket.socket], None]) -> int:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))

            def one(connection: socket.socket) -> None:
                # a client that leaves early is what some of these servers are for
                with connection, contextlib.suppress(OSError):
                    talk(connection)

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            return int(server.getsockname()[1])

        yield go


@pytest.fixture
def hanging(serve) -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    over = threading.Event()
    yield serve(lambda _connection: over.wait() and None)
    over.set()
