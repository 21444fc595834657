# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compression of copies, and how their bytes get to the disk and back."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

# Names of the algorithms, the extension of their files, and the lowest and highest level that their program takes.
ALGORITHMS: dict[str, tuple[str, int, int]] = {"zstd": (".zst", 1, 19), "gzip": (".gz", 1, 9), "none": ("", 0, 0)}
DEFAULT_LEVEL = {"zstd": 3, "gzip": 6, "none": 0}


class Packing(t.NamedTuple):
    """An algorithm with its level."""

    algorithm: str
    level: int

    @property
    def extension(self) -> str:
        """What it adds to a file's name."""
        return ALGORITHMS[self.algorithm][0]

    def pack(self) -> list[list[str]]:
        """Pipeline stages from standard input to standard output."""
        if self.algorithm == "none":
            return []
        threads = ["-T0"] if self.algorithm == "zstd" else []
        return [[self.algorithm, f"-{self.level}", *threads, "-q", "-c"]]

    def store(self, partial: str) -> list[list[str]]:
        """Pipeline stages that pack, write to the file `partial`, and print the SHA-256 of what was written.

        The sum is taken from the stream, so that reading the file back compares two different things.
        """
        return [*self.pack(), ["tee", "--output-error=exit", partial], ["sha256sum", "--binary"]]


def choose(algorithm: str, level: int | None) -> Packing:
    """The packing that the options `compression.algorithm` and `compression.level` ask for."""
    _extension, lowest, highest = ALGORITHMS[algorithm]
    if level is None:
        level = DEFAULT_LEVEL[algorithm]
    elif not lowest <= level <= highest:
        raise InputError(
            "compression.level", level, f"is no level of {algorithm}", f"Give one from {lowest} to {highest}, or none."
        )
    return Packing(algorithm, level)


def unpack(path: str) -> list[str]:
    """The program that writes the content of the copy `path`, by its extension, to standard output."""
    if path.endswith(".zst"):
        return ["zstd", "-d", "-q", "-c", "--", path]
    if path.endswith(".gz"):
        return ["gzip", "-d", "-q", "-c", "--", path]
    return ["cat", "--", path]


def unpack_to(path: str, destination: str) -> list[list[str]]:
    """Pipeline stages that write the content of the copy `path` to the file `destination`."""
    return [unpack(path), ["dd", f"of={destination}", "bs=1M", "iflag=fullblock", "status=none"]]


def checksum_of(output: str) -> str:
    """The sum in the output of `sha256sum`."""
    return output.split(maxsplit=1)[0].lstrip("\\")
