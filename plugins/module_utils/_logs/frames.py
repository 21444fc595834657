# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zstandard frames in a stream (RFC 8878, section 3.1): where one ends and the next begins."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

MAGIC = b"\x28\xb5\x2f\xfd"
_RLE = 1


def copy_frame(stream: t.IO[bytes], write: t.Callable[[bytes], object]) -> int | None:
    """Hand the next frame of `stream` to `write`, piece by piece; `RunbookError` when there is no whole one.

    Returns the number of bytes that it unpacks to, None where the frame does not say it.
    """
    write(_exactly(stream, 4, MAGIC))
    descriptor = _exactly(stream, 1)
    single_segment, content_size = descriptor[0] >> 5 & 1, descriptor[0] >> 6
    before = (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor[0] & 3]  # window, dictionary
    length = (single_segment, 2, 4, 8)[content_size]
    header = _exactly(stream, before + length)
    write(descriptor + header)
    size = int.from_bytes(header[before:], "little") + (256 if length == 2 else 0) if length else None
    last = False
    while not last:
        header = _exactly(stream, 3)
        value = int.from_bytes(header, "little")
        last = bool(value & 1)
        write(header)
        write(_exactly(stream, 1 if value >> 1 & 3 == _RLE else value >> 3))
    if descriptor[0] >> 2 & 1:
        write(_exactly(stream, 4))
    return size


def _exactly(stream: t.IO[bytes], number: int, expected: bytes | None = None) -> bytes:
    piece = stream.read(number) if number else b""
    if len(piece) != number or (expected is not None and piece != expected):
        raise RunbookError("zstd: its output is cut short or no archive")
    return piece
