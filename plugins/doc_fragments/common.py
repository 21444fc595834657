# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options in `_core.argspec.COMMON`."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that every module of the collection takes."""

    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - Folder in which the host keeps what it must remember between runs (locks, observations, journals).
      - When not given, it is C(/var/lib/sre-runbooks) for root and C(~/.local/state/sre-runbooks) for other users.
    type: path
  textfile_dir:
    description:
      - Folder of node_exporter's textfile collector; the outcomes' metrics are also written there, atomically.
      - When not given, no such file is written.
    type: path
"""
