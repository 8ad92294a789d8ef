"""Randomness keyed by what it decides, never by batch, worker or call order.

`unit(seed, *keys)` is a pure function, so a decision about one record is the same for any sharding,
and two experiment arms that ask the same question draw the same number (common random numbers).
Not for cryptography: keys are hashed with an unkeyed BLAKE2b.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Key = str | int

_SCALE = 1.0 / (1 << 53)


def digest(*keys: Key) -> int:
    """64-bit hash of `keys`; `("a", 1)` and `("a1",)` differ: every key carries its type and length."""
    hasher = hashlib.blake2b(digest_size=8)
    for key in keys:
        raw = str(key).encode("utf-8", "surrogatepass")
        hasher.update(f"{type(key).__name__[0]}{len(raw)}:".encode())
        hasher.update(raw)
    return int.from_bytes(hasher.digest(), "little")


def unit(seed: int, *keys: Key) -> float:
    """Uniform number in [0, 1) that depends on `seed` and `keys` alone."""
    return (digest(seed, *keys) >> 11) * _SCALE


def generator(seed: int, *keys: Key) -> random.Random:
    """Independent stream for one named purpose, for draws whose number is not known beforehand."""
    return random.Random(digest(seed, *keys))  # noqa: S311 - simulation, not cryptography


def choice(items: Sequence[T], seed: int, *keys: Key) -> T:
    """One of `items`, uniformly. Raises IndexError when `items` is empty."""
    return items[int(unit(seed, *keys) * len(items))]
