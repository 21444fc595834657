# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What podman and docker print of containers, read by pure functions (H10)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health import containers

# `docker ps --all --no-trunc --format '{{json .}}'` of Docker 28, shortened; podman 4.3 answers with a list.
DOCKER = """{"ID":"aaa","Image":"redis","Labels":"com.docker.compose.project=shop,x=y=z","Names":"shop-redis-1","State":"running"}
{"ID":"bbb","Image":"x","Labels":"","Names":"lone,alias","State":"exited"}
"""
PODMAN = '[{"Id": "aaa", "Labels": {"io.podman.compose.project": "shop"}, "Names": ["shop-redis-1"]}, {"Id": "bbb", "Names": ["lone", "alias"]}]'


@pytest.mark.parametrize("text", [DOCKER, PODMAN])
@pytest.mark.parametrize(
    ("project", "names", "ids"),
    [
        ("shop", None, ["aaa"]),
        ("sho", None, []),
        (None, ["alias"], ["bbb"]),
        (None, ["x"], []),
        (None, None, ["aaa", "bbb"]),
    ],
)
def test_selected(text, project, names, ids):
    entries = [containers.entry(each) for each in containers.listing(text)]
    assert [each["id"] for each in containers.select(entries, project, names)] == ids


@pytest.mark.parametrize("text", ["", "\n", "[]"])
def test_no_containers(text):
    assert containers.listing(text.strip()) == []


STARTED = "2026-11-21T05:52:16.308045347Z"
NOW = containers.seconds(STARTED) + 1000


def inspected(status="running", again=0, policy="no", started=STARTED, **told):
    return {
        "Name": "/c",
        "State": {"Status": status, "StartedAt": started, **told},
        "RestartCount": again,
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }


@pytest.mark.parametrize(
    ("container", "running", "restarting", "unhealthy", "status", "text"),
    [
        (inspected(), 1, 0, 0, "ok", ""),
        (inspected(again=3), 1, 0, 0, "ok", ""),  # long ago
        (inspected("restarting", 3, ExitCode=1), 0, 1, 0, "ok", "was restarted 3 times, just now and is restarting"),
        (inspected(again=3, started="2026-11-21T06:08:00Z"), 1, 1, 0, "ok", "was restarted 3 times, just now"),
        (inspected(Health={"Status": "unhealthy"}), 1, 0, 1, "ok", "is unhealthy"),
        (inspected(Healthcheck={"Status": "unhealthy"}), 1, 0, 1, "ok", "is unhealthy"),
        (inspected(Health={"Status": "healthy"}), 1, 0, 0, "ok", ""),
        (inspected(Health={"Status": "starting"}), 1, 0, 0, "ok", ""),
        (inspected("exited", ExitCode=0), 0, 0, 0, "ok", ""),
        (inspected("exited", ExitCode=0, policy="on-failure"), 0, 0, 0, "ok", ""),
        (inspected("exited", ExitCode=0, policy="always"), 0, 0, 0, "critical", "is exited with status 0"),
        (inspected("exited", ExitCode=137), 0, 0, 0, "critical", "is exited with status 137"),
        (inspected("exited", ExitCode=1, Health={"Status": "unhealthy"}), 0, 0, 0, "critical", "is exited with status 1"),
        (inspected("paused"), 0, 0, 0, "critical", "is paused"),
        (inspected("created", started="0001-01-01T00:00:00Z"), 0, 0, 0, "critical", "is created"),
        (inspected("dead"), 0, 0, 0, "critical", "is dead"),
    ],
)  # fmt: skip
def test_judged(container, running, restarting, unhealthy, status, text):
    seen = containers.summed([container], [], True, NOW)
    assert seen.metrics == {"running": running, "restarting": restarting, "unhealthy": unhealthy}
    assert seen.status == status
    assert seen.summary == f"{running} of 1 containers run" + (f"; c {text}" if text else "")
    assert containers.summed([container], [], False, NOW).status == "ok"
