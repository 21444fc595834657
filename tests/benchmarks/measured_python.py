# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand in for a host's Python: run what Ansible sends and note how much memory it took at most.

A line of /var/tmp/peaks.jsonl: the name in BENCH_NAME, the peak of the process itself in KiB (VmHWM), and the largest of
it and the programs it started (ru_maxrss).
"""

import json
import os
import resource
import subprocess
import sys
import time

child = subprocess.Popen(["/usr/bin/python3", *sys.argv[1:]])
peak = 0
while child.poll() is None:
    try:
        with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
            peak = next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), peak)
    except FileNotFoundError:
        pass
    time.sleep(0.005)
if name := os.environ.get("BENCH_NAME"):
    programs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with open("/var/tmp/peaks.jsonl", "a", encoding="utf-8") as notes:
        notes.write(json.dumps({"name": name, "module_kib": peak, "programs_kib": programs}) + "\n")
sys.exit(child.returncode)
