# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apt and dnf print, read by pure functions (K8)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health import packages

# `apt-get --simulate dist-upgrade` of Debian 12 and Ubuntu 24.04, shortened.
APT = """Reading package lists...
The following packages will be upgraded:
  libc6
Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u10 Debian:12.10/stable, Debian-Security:12/stable-security [amd64])
Inst linux-image-6.1.0-32-amd64 (6.1.129-1 Debian:12.10/stable [amd64])
Inst base-files [12.4+deb12u9] (12.4+deb12u10 Debian:12.10/stable [amd64]) []
Inst openssl [3.0.13-0ubuntu3.4] (3.0.13-0ubuntu3.5 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])
Inst vim [2:9.1.0016-1ubuntu7.6] (2:9.1.0016-1ubuntu7.7 Ubuntu:24.04/noble-updates [amd64])
Conf libc6 (2.36-9+deb12u10 Debian:12.10/stable [amd64])
"""
# `dnf --quiet --cacheonly check-update` as its documentation has it.
DNF = """
bind-libs.x86_64              32:9.16.23-24.el9_5.3          appstream
kernel.x86_64                 5.14.0-503.31.1.el9_5          baseos
Obsoleting Packages
old.noarch                    1-1                            baseos
"""


def test_apt():
    found = packages.upgrades(APT)
    assert [each.name for each in found] == ["libc6", "base-files", "openssl", "vim"]
    assert [each.name for each in found if each.security] == ["libc6", "openssl"]
    assert all(each.installed and each.candidate for each in found)
    assert packages.upgrades("") == []


def test_dnf():
    assert [name for name, _version in packages.listed(DNF)] == ["bind-libs.x86_64", "kernel.x86_64"]
    assert packages.listed("") == []


@pytest.mark.parametrize(
    ("running", "kernels", "told", "required"),
    [
        ("6.1.0-31-amd64", [], False, False),
        ("6.1.0-31-amd64", [], True, True),
        ("6.1.0-31-amd64", ["6.1.0-31-amd64"], False, False),
        ("6.1.0-31-amd64", ["6.1.0-31-amd64", "6.1.0-32-amd64"], False, True),
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], False, True),
        ("6.1.0-10-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], False, False),
        # a kernel that is not from here (a container's), or of another flavour
        ("6.18.44-custom", ["6.1.0-31-amd64"], False, False),
        ("6.1.0-31-amd64", ["6.1.0-31-amd64", "6.1.0-32-cloud-amd64", "6.1.0-32-rt-arm64"], False, True),
        ("6.8.0-50-generic", ["6.8.0-50-generic", "6.11.0-1-lowlatency"], False, False),
        ("5.14.0-503.el9.x86_64", ["5.14.0-503.el9.x86_64", "5.14.0-570.el9.x86_64", "0-rescue-abc"], False, True),
    ],
)
def test_reboot(running, kernels, told, required):
    assert packages.reboot_required(running, [f"/boot/vmlinuz-{name}" for name in kernels], told) is required
