# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""B9: the peak memory of every module over large input."""

from __future__ import annotations

import json

import lab

BOUND_MIB = 64


def show() -> bool:
    """Run the modules, print the largest peak and what each had; the programs that they start are told apart."""
    lab.playbook("tests/benchmarks/memory.yml")
    notes = [json.loads(line) for line in (lab.FOLDER / "peaks.jsonl").read_text(encoding="utf-8").splitlines()]
    peaks = {note["name"]: round(note["module_kib"] / 1024, 1) for note in notes}
    figure = max(peaks.values())
    line = {
        "id": "B9",
        "figure": figure,
        "bound": f"<= {BOUND_MIB}",
        "ok": figure <= BOUND_MIB,
        "unit": "MiB",
        "what": "peak memory of any module",
        "peaks_mib": peaks,
        "with_started_programs_mib": {note["name"]: round(note["programs_kib"] / 1024, 1) for note in notes},
    }
    print(json.dumps(line), flush=True)
    return figure <= BOUND_MIB
