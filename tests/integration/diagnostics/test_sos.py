# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution's own report in a bundle, by the real program (I4)."""

from __future__ import annotations

# Of /etc/sos/sos.conf, which sos takes into every report; here it stands for a secret.
STANDS_IN_IT = "Set global options here"


def test_the_report_of_sos_is_unpacked_without_secrets_and_leaves_nothing(bundle, tmp_path):
    made = bundle(collect=["sos"], sos={"plugins": ["host"]}, secrets=[STANDS_IN_IT])
    found = [name for name in made.parts if name.startswith("sos/")]
    assert any("sos_commands/host" in name for name in found), found
    assert made.manifest["collectors"]["sos"]["status"] == "ok", made.manifest["collectors"]
    assert STANDS_IN_IT.encode() not in b"".join((made.folder / name).read_bytes() for name in found)
    assert b"<secret-1>" in made.plain
    assert not [path for path in (tmp_path / "bundles").iterdir() if path.name.startswith(".")]
