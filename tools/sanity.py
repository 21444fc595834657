# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run `ansible-test sanity` over the checkout with the ansible-core of the Python that runs this file.

ansible-test wants a git checkout below `ansible_collections/sre/runbooks` and fetches pip from a host of its own. So
the files that git tracks, or would track, are copied to `.work/sanity/`, and a script in the place where ansible-test
caches its pip takes pip from the package index that the user has configured. HOME is a folder below `.work/`: nothing
of the user's is touched.

Arguments are handed to ansible-test: `python tools/sanity.py --test pylint`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work" / "sanity"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

PIP_SHIM = """\
import runpy
import sys

sys.path.insert(0, {wheel!r})
sys.argv[1:] = ["install", "--upgrade", *[a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def copy_checkout(target: Path) -> None:
    """Make `target` a git checkout of the files that are tracked or would be: new ones too, ignored ones not."""
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source = ROOT / name
        if source.exists():  # a tracked file may have been deleted
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    subprocess.run(["git", "add", "-A"], cwd=target, check=True)


def bundled_pip_version() -> str:
    """Return the version of pip that this ansible-test puts into its virtual environments."""
    source = Path(sysconfig.get_path("purelib")) / "ansible_test" / "_internal" / "python_requirements.py"
    found = re.search(r"pip='([0-9.]+)'", source.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(f"{source}: the version of pip is not where it used to be")
    return found.group(1)


def provide_pip(home: Path) -> None:
    """Put a script where ansible-test looks for its downloaded pip, one that runs a wheel from the package index."""
    version = bundled_pip_version()
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    wheel = WORK / "wheels" / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(wheel.parent),
            f"pip=={version}",
        ]
        subprocess.run(download, check=True)
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(PIP_SHIM.format(wheel=str(wheel)), encoding="utf-8")


def link_pythons(folder: Path) -> None:
    """Fill `folder` with links to the Pythons that work: ansible-test takes whatever is called so on PATH."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for minor in range(9, 15):
        found = subprocess.run(
            ["tools/find-python", f"3.{minor}"], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if found.returncode == 0:
            (folder / f"python3.{minor}").symlink_to(found.stdout.strip())


def environment(home: Path, pythons: Path) -> dict[str, str]:
    """Return the environment of ansible-test: another HOME and known Pythons, but the user's own settings of pip."""
    env = dict(os.environ, HOME=str(home))
    env.pop("PYTHONPATH", None)
    settings = Path.home() / ".config" / "pip" / "pip.conf"
    if settings.exists():
        env.setdefault("PIP_CONFIG_FILE", str(settings))
    env.setdefault("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), str(pythons), env["PATH"]])
    return env


def main() -> int:
    """Run ansible-test; return its exit status."""
    home = WORK / f"home-{VERSION}"
    target = WORK / f"collections-{VERSION}" / "ansible_collections" / "sre" / "runbooks"
    copy_checkout(target)
    provide_pip(home)
    link_pythons(WORK / "pythons")
    command = [str(Path(sys.executable).parent / "ansible-test"), "sanity", "--color", "no", *sys.argv[1:]]
    return subprocess.run(command, cwd=target, env=environment(home, WORK / "pythons"), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
