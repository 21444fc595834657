# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small HTTP service that stands for the four systems in lab and demo: a test fixture, no part of the product."""

from __future__ import annotations

__version__ = "1.0.0"
