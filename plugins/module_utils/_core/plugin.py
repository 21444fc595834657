# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program says by the Monitoring Plugins Development Guidelines, or at length: read, bounded, without secrets.

Exit status, first line, performance data: https://www.monitoring-plugins.org/doc/guidelines.html. What follows the first
line is as Nagios reads it: https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/pluginapi.html.
"""

from __future__ import annotations

import math
import os
import re
import selectors
import typing as t

STATUSES = {0: "ok", 1: "warning", 2: "critical", 3: "unknown"}
OUTPUT_LIMIT = 65536
METRIC_LIMIT = 200
LONG_TEXT = 1000
WAKE_SECONDS = 0.5
# Plugins count in powers of 1024 where they say KB, as free and df do.
_BYTES = {
    prefix + unit: 1024**power
    for power, prefix in enumerate(("", "K", "M", "G", "T", "P", "E"))
    for unit in ("B", "iB")
}
# Unit of measurement: the suffix of the metric's name, and what one is in its base unit.
_UNITS: dict[str, tuple[str, float]] = {
    "s": ("seconds", 1.0), "ms": ("seconds", 1e-3), "us": ("seconds", 1e-6), "µs": ("seconds", 1e-6), "ns": ("seconds", 1e-9),
    "%": ("percent", 1.0), "c": ("total", 1.0),
    **{unit: ("bytes", float(size)) for unit, size in _BYTES.items()}, "kB": ("bytes", 1024.0), "kiB": ("bytes", 1024.0),
}  # fmt: skip
_NUMBER = r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?"
# A datum begins a word, and its parts are bounded: garbage is read in the time of its length.
_DATUM = re.compile(
    rf"(?<!\S)(?:'(?P<quoted>(?:[^']|''){{0,200}})'|(?P<bare>[^\s'=][^\s=]{{0,200}}))"
    rf"=(?:(?P<value>{_NUMBER})(?P<unit>[^\s;\d]{{0,20}})|U)(?=[\s;]|$)"
)


def hidden(text: str, secrets: t.Iterable[str]) -> str:
    """`text` with each of `secrets` blotted out."""
    for secret in secrets:
        text = text.replace(secret, "********") if secret else text
    return text


class Output:
    """The first part of what a program writes; the rest is read, so that it can go on, and dropped."""

    def __init__(self) -> None:
        self._kept = [bytearray(), bytearray()]

    def read(self, process: t.Any) -> None:
        """Read both outputs of `process`, a Popen object, to their ends, or until it ended and nothing more comes."""
        with selectors.DefaultSelector() as selector:
            for index, pipe in enumerate((process.stdout, process.stderr)):
                selector.register(pipe.fileno(), selectors.EVENT_READ, index)
            while selector.get_map():
                ready = selector.select(WAKE_SECONDS)
                for key, _events in ready:
                    piece = os.read(key.fd, OUTPUT_LIMIT)
                    kept = self._kept[key.data]
                    kept += piece[: OUTPUT_LIMIT - len(kept)]
                    if not piece:
                        selector.unregister(key.fd)
                # What a program leaves behind may keep its pipes open for ever.
                if not ready and process.poll() is not None:
                    return

    def texts(self) -> list[str]:
        """Output and error output."""
        return [kept.decode("utf-8", "replace") for kept in self._kept]


class Said(t.NamedTuple):
    """What a program said: one of the statuses of an outcome, one line, figures in base units, and what else it wrote."""

    status: str
    summary: str
    figures: dict[str, float]
    details: dict[str, t.Any]


def said(name: str, rc: int, stdout: str, stderr: str) -> Said:
    """What a plugin said. Without a word on its output, its error output speaks."""
    summary, text, data = parse(stdout)
    if not summary:
        summary = next((line.strip() for line in stderr.splitlines() if line.strip()), "no output")
    if rc not in STATUSES:
        ended = f"was ended by signal {-rc}" if rc < 0 else f"ended with status {rc}, which is none of a plugin's"
        summary = f"{name} {ended}: {summary}"
    details = {"exit_code": rc, **({"output": text[:LONG_TEXT]} if text else {})}
    return Said(STATUSES.get(rc, "unknown"), summary, figures(data), details)


def parse(output: str) -> tuple[str, str, str]:
    """Split what a plugin printed into its first line, its further text and its performance data.

    The first line may have data after a bar; in what follows, all after the first bar is data.
    """
    first, _newline, rest = output.partition("\n")
    summary, _bar, data = first.partition("|")
    text, _bar, more = rest.partition("|")
    return summary.strip(), text.strip(), f"{data} {more}".strip()


def figures(data: str) -> dict[str, float]:
    """Performance data in base units; the first figure is there as `value` too. One that is unknown (`U`) is left out."""
    found: dict[str, float] = {}
    for match in _DATUM.finditer(data):
        if match["value"] is None or len(found) >= METRIC_LIMIT:
            continue
        label = match["bare"] if match["quoted"] is None else match["quoted"].replace("''", "'")
        suffix, factor = _UNITS.get(match["unit"], ("", 1.0))
        value = float(match["value"].replace(",", ".")) * factor
        if math.isfinite(value):
            value = float(f"{value:.15g}")
            name = _free(_fit(label, suffix), found)
            found.setdefault("value", value)
            found[name] = value
    return found


def _fit(label: str, suffix: str) -> str:
    """A label as a metric's name: letters, digits and underscores, with the suffix of its unit; `/` is `root`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_") or ("root" if "/" in label else "figure")
    if suffix and name.rpartition("_")[2] != suffix:
        name = f"{name}_{suffix}"
    return f"_{name}" if name[0].isdigit() else name


def _free(name: str, taken: t.Collection[str]) -> str:
    """A name of its own for each of several labels that fit alike."""
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
