# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MLflow's real server, checked by its `/health` and by what it stores (H7)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from ..conftest import free_port
from .conftest import CHECKOUT

START_SECONDS = 120


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """The address of a server, and its process; it is installed once, into a folder that git ignores."""
    subprocess.run(["make", "--no-print-directory", "mlflow"], cwd=CHECKOUT, check=True, timeout=900)
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    log = folder / "server.log"
    argv = [str(CHECKOUT / ".work/mlflow/bin/mlflow"), "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    argv += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *argv], stdout=output, stderr=output, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not healthy(url):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield url, process
    finally:
        # Where a test has killed it, its group may be gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def healthy(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_mlflow_is_healthy_then_hangs_then_is_gone(check, mlflow):
    """H7, from the answer of a server that is well to none at all."""
    url, process = mlflow
    options = {"url": f"{url}/health", "expect": {"status": [200], "matches": "^OK$"}, "critical": "> 5s"}
    outcome = check("http", **options, timeout="20s")
    assert outcome["status"] == "ok", outcome
    assert outcome["metrics"]["status_code"] == 200

    version = check("http", url=f"{url}/version", expect={"matches": r"^\d+\.\d+\.\d+"}, timeout="20s")
    assert version["status"] == "ok"
    search = {"url": f"{url}/api/2.0/mlflow/experiments/search", "method": "POST", "body": {"max_results": 10}}
    stored = check("http", **search, expect={"json": {"experiments.0.name": "Default"}}, timeout="20s")
    assert stored["status"] == "ok", stored
    assert check("http", url=f"{url}/api/2.0/mlflow/none", timeout="20s")["status"] == "critical"

    os.killpg(process.pid, signal.SIGSTOP)
    try:
        outcome = check("http", **options, timeout="1s")
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}/health: no whole answer within 1 s")
    assert check("http", **options, timeout="20s")["status"] == "ok"

    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    # Its workers hold the port until the last of them is gone.
    deadline = time.monotonic() + 30
    while True:
        outcome = check("http", **options, timeout="5s")
        assert outcome["status"] == "critical"
        if outcome["summary"].endswith("Connection refused"):
            break
        assert time.monotonic() < deadline, outcome
