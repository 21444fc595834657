# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers: all of them with their state, and the newest lines of those given."""

from __future__ import annotations

import functools
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "containers, and the logs of those given"
LINE_BYTES = 100
_MERGED = 'exec "$@" 2>&1'


def would(settings: Settings) -> list[str]:
    """Whose logs are read."""
    return ["list of containers", *settings.containers]


def collect(work: Work) -> None:
    """By podman or docker; inspect is left out, for it shows environments."""
    runtime = "podman" if shutil.which("podman") else "docker"
    require(runtime)
    work.program("containers/list.txt", [runtime, "ps", "--all", "--no-trunc", "--size=false"])
    actions: list[t.Callable[[], None]] = [functools.partial(_stats, work, runtime)]
    work.attempt([*actions, *[functools.partial(_logs, work, runtime, name) for name in work.settings.containers]])


def _stats(work: Work, runtime: str) -> None:
    work.program("containers/use.txt", [runtime, "stats", "--no-stream", "--all"])


def _logs(work: Work, runtime: str, name: str) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - work.settings.since))
    lines = max(100, work.settings.limits.part // LINE_BYTES)
    argv = [runtime, "logs", "--timestamps", f"--since={since}", f"--tail={lines}", name]
    work.program(f"containers/{name}.txt", ["bash", "-c", _MERGED, "logs", *argv])
