# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk space that containers take: images, containers, volumes, build cache and logs; what is unused goes when it is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

SPEC: dict[str, t.Any] = {
    "runtime": {"type": "str", "choices": ["podman", "docker"]},
    "prune": {"type": "list", "elements": "str", "choices": ["images", "build_cache"], "default": []},
    "older_than": {"type": "str"},
}
LOOK_SECONDS = 120
PRUNE_SECONDS = 1800
LOGS = 5  # told by name
_KINDS = {"Images": "images", "Containers": "containers", "Local Volumes": "volumes", "Build Cache": "build_cache"}
_LOG_PATH = {"podman": "{{.HostConfig.LogConfig.Path}}", "docker": "{{.LogPath}}"}


class Wish(t.NamedTuple):
    """What a user asks for; `older_than` is in seconds, None for whatever is unused."""

    runtime: str
    prune: tuple[str, ...]
    older_than: float | None


class Use(t.NamedTuple):
    """Bytes that each kind takes, those of it that could be freed, and the logs of containers by name."""

    taken: dict[str, int]
    unused: dict[str, int]
    logs: dict[str, int]


def parse(spec: t.Mapping[str, t.Any] | None) -> Wish | None:
    """Check the module's option `containers`."""
    if spec is None:
        return None
    older = spec.get("older_than")
    return Wish(
        spec["runtime"] or ("podman" if shutil.which("podman") or not shutil.which("docker") else "docker"),
        tuple(dict.fromkeys(spec["prune"])),
        None if older is None else units.duration(older, "containers.older_than"),
    )


class Containers:
    """Looks at a runtime's disk space, and prunes what a user named."""

    def __init__(self, wish: Wish, run_command: t.Callable[..., tuple[int, str, str]]) -> None:
        self._wish = wish
        self._commands = Commands(run_command)
        self._problem = ""
        self._before = Use({}, {}, {})
        try:
            self._before = self._look()
        except RunbookError as error:
            self._problem = str(error)

    @property
    def planned_bytes(self) -> int:
        """What pruning frees at most: images share layers, and `older_than` keeps some."""
        return sum(self._before.unused.get(kind, 0) for kind in self._wish.prune)

    def tell(self, refusal: t.Sequence[str], check_mode: bool) -> tuple[dict[str, t.Any], bool]:
        """Prune unless the run is refused; return the outcome, and whether anything changed (in check mode: would)."""
        after, parts, status = self._before, [], "unknown" if self._problem else "ok"
        if self._problem:
            parts.append(self._problem)
        elif refusal and self.planned_bytes:
            status = "critical"
            parts.append(
                f"refused, nothing was touched: the run would act on {' and '.join(refusal)}; up to "
                f"{units.show_size(self.planned_bytes)} of it unused {self._named()}. Name less or raise the limit"
            )
        elif self.planned_bytes and check_mode:
            parts.append(f"would prune unused {self._named()}, up to {units.show_size(self.planned_bytes)}")
        elif self.planned_bytes:
            try:
                after = self._prune()
            except RunbookError as error:
                status = "critical"
                parts.append(str(error))
        freed = sum(self._before.taken.values()) - sum(after.taken.values())
        changed = after.taken != self._before.taken if not check_mode else bool(self.planned_bytes and not refusal)
        if freed > 0:
            parts.append(f"pruned unused {self._named()}, {units.show_size(freed)} freed")
        parts.extend(self._told(after))
        return (
            outcome.outcome(
                f"containers:{self._wish.runtime}", "log_cleanup", status, "; ".join(parts),
                metrics=_metrics(after, max(freed, 0)), details=self._details(after, bool(refusal)),
            ),
            changed,
        )  # fmt: skip

    def _named(self) -> str:
        return " and ".join(kind.replace("_", " ") for kind in self._wish.prune)

    def _told(self, use: Use) -> list[str]:
        if not use.taken:
            return []
        taken = [f"{kind.replace('_', ' ')} {units.show_size(size)}" for kind, size in use.taken.items()]
        unused = use.unused.get("images", 0)
        return [
            f"{', '.join(taken)}, logs {units.show_size(sum(use.logs.values()))}; unused images {units.show_size(unused)}"
        ]

    def _details(self, use: Use, refused: bool) -> dict[str, t.Any]:
        largest = sorted(use.logs.items(), key=lambda log: -log[1])[:LOGS]
        details: dict[str, t.Any] = {"logs": [{"container": name, "bytes": size} for name, size in largest]}
        if refused and self.planned_bytes:
            details["plan"] = {"bytes": self.planned_bytes, "prune": list(self._wish.prune)}
        return details

    def _look(self) -> Use:
        runtime = self._wish.runtime
        text = self._run(["system", "df", "--format", "{{json .}}"])
        taken, unused = {}, {}
        try:
            for line in text.splitlines():
                row = json.loads(line)
                kind = _KINDS.get(row["Type"], row["Type"].lower().replace(" ", "_"))
                taken[kind] = _bytes(row.get("RawSize", row["Size"]))
                unused[kind] = _bytes(row.get("RawReclaimable", row["Reclaimable"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunbookError(f"{runtime} system df: an answer that is not understood: {text[:200]!r}") from error
        return Use(taken, unused, self._logs(runtime))

    def _logs(self, runtime: str) -> dict[str, int]:
        names = self._run(["ps", "--all", "--quiet", "--no-trunc"]).split()
        sizes: dict[str, int] = {}
        if names:
            # A container that has just gone makes the command fail, yet not its answer about the others.
            text = self._run(
                ["inspect", "--type", "container", "--format", "{{.Name}} " + _LOG_PATH[runtime], *names], check=False
            )
            for line in text.splitlines():
                name, _blank, path = line.partition(" ")
                with contextlib.suppress(OSError):
                    sizes[name.strip("/")] = os.stat(path).st_size
        return sizes

    def _prune(self) -> Use:
        docker = self._wish.runtime == "docker"
        for kind in self._wish.prune:
            # podman keeps what building left as images without a name.
            what = ["builder", "prune"] if docker and kind == "build_cache" else ["image", "prune"]
            every = ["--all"] if kind == "images" else []
            until = [] if self._wish.older_than is None else ["--filter", f"until={int(self._wish.older_than)}s"]
            self._run([*what, *every, "--force", *until], PRUNE_SECONDS)
        return self._look()

    def _run(self, arguments: list[str], timeout: float = LOOK_SECONDS, check: bool = True) -> str:
        return self._commands.run([self._wish.runtime, *arguments], timeout=timeout, check=check).stdout


def _metrics(use: Use, freed: int) -> dict[str, float]:
    metrics: dict[str, float] = {f"{kind}_bytes": size for kind, size in use.taken.items()}
    metrics.update({f"{kind}_unused_bytes": size for kind, size in use.unused.items()})
    return {**metrics, "logs_bytes": sum(use.logs.values()), "freed_bytes": freed} if use.taken else {}


def _bytes(amount: object) -> int:
    """A size as runtimes write it: a number, `1.2GB`, or `1.2GB (50%)`."""
    return amount if isinstance(amount, int) else units.size(str(amount).split("(", 1)[0], "containers")
