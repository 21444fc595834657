# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that uses a key: consumer.py <env file> <url> <folder>

It reads API_KEY from its file when it starts and at SIGHUP, and calls the URL with it all the time. <folder>/refused gets a line for
each call that was refused, <folder>/calls the number of calls; <folder>/port is where it answers 200 when its last call was accepted.
What stands in <folder>/asked it copies to <folder>/read when it has read its file and makes no call with what it had before.
"""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path


def main(env_file: str, url: str, folder: Path) -> None:
    key, calls, accepted = "", 0, [False]

    def read() -> None:
        nonlocal key
        asked = (folder / "asked").read_text() if (folder / "asked").exists() else ""
        lines = dict(line.split("=", 1) for line in Path(env_file).read_text().splitlines() if "=" in line)
        key = lines["API_KEY"].strip("'\"")
        (folder / "read").write_text(asked)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if accepted[0] else 503)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    # The signal waits until it is asked for below, when no call is under way.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    read()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "port").write_text(str(server.server_port))
    while os.getppid() != 1:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=10):
                accepted[0] = True
        except urllib.error.HTTPError as error:
            error.close()
            accepted[0] = False
            with (folder / "refused").open("a") as log:
                log.write(f"{error.code} with a key that ends in {key[-4:]}\n")
        except OSError:
            # The service is down: nothing was refused.
            accepted[0] = False
        calls += 1
        (folder / "calls").write_text(str(calls))
        if signal.sigtimedwait([signal.SIGHUP], 0.03):
            read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
