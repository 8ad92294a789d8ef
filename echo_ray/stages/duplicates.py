"""Near-duplicate gaps: small signatures made row by row, and one pass that decides who stays (Lee et al.
2022).

Two samples are near duplicates when they teach the same answer in the same place: the lines that the target
touches are alike (the core), and so is the text around these lines (the surroundings). Both are compared as
sets of token pairs by Jaccard similarity, estimated with MinHash of one byte per hash (b-bit minwise hashing,
Li and Koenig 2010). Alike in one only is not enough: the same `return None` stands in many functions, and one
place sees many statements. A void has no target to compare, so its line must be the same to the character,
the cursor's place included. White space never counts otherwise.

A gap (`select`: samples that end in the same document) whose samples include a near duplicate of a sample of
an earlier gap that stays is a near duplicate as a whole; its other samples are the same text with the cursor
elsewhere. Gaps are met by their earliest time, then sample id, so the outcome depends on nothing else, and
what was kept last month is kept again when new months are added. No chains: the one that stays is itself
alike.

Our choice: numpy instead of a library. datasketch 2.0.0 (MIT) was measured on sets of 80 token pairs and 128
hashes: 55 microseconds per set in bulk against 11 here, and its index takes 4.5 KB per row where sorting the
bands takes 8 bytes; `tests/test_duplicates.py` checks the estimates against exact Jaccard instead.

Not covered: the same code after reformatting over other lines or renaming most of its names.
"""

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echo_ray import rng

BANDS = 32
"""Places where two signatures may meet; each holds 3 hashes of the surroundings and 1 of the core."""
LOCAL, CORE = 3 * BANDS, BANDS
SIGNATURE_BYTES = LOCAL + CORE
BEFORE_CHARS, AFTER_CHARS = 400, 150
"""Surroundings looked at, before and after the lines of the target."""
FELLOWS = 12
"""Of a crowded bucket, each member is compared with as many of the first and of those just before it."""
CHUNK = 1 << 16
"""Pairs compared at once."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_CURSOR = "\0"
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Place(NamedTuple):
    """What is compared of one sample."""

    core: str
    """The lines that the target touches, whole; of a void with a mark where the cursor stands."""
    before: str
    after: str


def place(prefix: str, target: str, suffix: str) -> Place:
    """The core and the surroundings of a sample."""
    start = prefix.rfind("\n") + 1
    stop = suffix.find("\n")
    rest, after = (suffix, "") if stop < 0 else (suffix[:stop], suffix[stop : stop + AFTER_CHARS])
    core = prefix[start:] + (target or _CURSOR) + rest
    return Place(core, prefix[max(0, start - BEFORE_CHARS) : start], after)


def exact(found: Place) -> int:
    """64-bit hash that places share which differ in white space only."""
    return rng.digest(*(" ".join(part.split()) for part in found))


def signatures(places: Sequence[Place]) -> npt.NDArray[np.uint8]:
    """(len(places), SIGNATURE_BYTES): LOCAL hashes of the surroundings, then CORE hashes of the core."""
    local = _minhash([_tokens(found.before) + _tokens(found.after) for found in places], LOCAL, 1)
    cores = [[found.core] if _CURSOR in found.core else _tokens(found.core) for found in places]
    return np.hstack([local, _minhash(cores, CORE, 2)])


class Edges(NamedTuple):
    """Pairs of alike rows, numbers in the order that decides who came first: `earlier[i] < later[i]`."""

    later: Ints
    earlier: Ints


def alike(marks: npt.NDArray[np.uint8], void: npt.NDArray[np.bool_], similarity: float) -> Edges:
    """Pairs whose core and surroundings are both estimated at `similarity` or more; voids only with voids.

    Rows stand in the order that decides who came first. Memory: about 60 bytes per row beside `marks`, and
    16 for each pair.
    """
    rows = len(marks)
    found = np.empty(0, np.int64)
    for band in range(BANDS):
        near = [found]
        for later, earlier in _meetings(_band(marks, band) * np.uint64(2) + void):
            for start in range(0, len(later), CHUNK):
                one, two = later[start : start + CHUNK], earlier[start : start + CHUNK]
                same = marks[one] == marks[two]
                good = same[:, LOCAL:].mean(axis=1) >= similarity
                good &= same[:, :LOCAL].mean(axis=1) >= similarity
                near.append(one[good] * rows + two[good])
        found = np.unique(np.concatenate(near))
    return Edges(found // max(1, rows), found % max(1, rows))


def leaders(edges: Edges, gaps: Ints) -> dict[int, tuple[int, int]]:
    """Gaps that are near duplicates of a gap that stays: number -> (later row, the earlier row alike to it).

    `gaps` holds each row's gap; gaps are met in the order of their first rows.
    """
    met: dict[int, list[tuple[int, int]]] = {}
    for later, earlier in zip(edges.later.tolist(), edges.earlier.tolist(), strict=True):
        if gaps[later] != gaps[earlier]:
            met.setdefault(int(gaps[later]), []).append((later, earlier))
    first = {int(gap): row for row, gap in reversed(list(enumerate(gaps.tolist())))}
    twins: dict[int, tuple[int, int]] = {}
    for gap in sorted(met, key=lambda gap: first[gap]):
        for later, earlier in met[gap]:
            other = int(gaps[earlier])
            if first[other] < first[gap] and other not in twins:
                twins[gap] = (later, earlier)
                break
    return twins


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _pairs(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    return itertools.pairwise(["", *tokens, ""])


def _minhash(documents: Iterable[Sequence[str]], size: int, seed: int) -> npt.NDArray[np.uint8]:
    """(documents, size): one byte of the smallest hash of each document's token pairs, `size` times."""
    known: dict[str, int] = {"": 0}
    flat: list[int] = []
    starts: list[int] = []
    for tokens in documents:
        starts.append(len(flat))
        flat.append(0)
        for token in tokens:
            number = known.get(token)
            if number is None:
                number = known[token] = zlib.crc32(token.encode("utf-8", "surrogatepass"))
            flat.append(number)
        flat.append(0)
    result = np.empty((len(starts), size), np.uint8)
    if not starts:
        return result
    hashes = np.array(flat, np.uint64)
    # Pairs across two documents are made too and left out: the pair that begins at a document's last item.
    pairs = hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) + hashes[1:] * np.uint64(0xC2B2AE3D27D4EB4F)
    keep = np.ones(len(pairs), bool)
    keep[np.array(starts[1:], np.int64) - 1] = False
    kept = pairs[keep]
    kept ^= kept >> np.uint64(31)
    at = np.array(starts, np.int64) - np.arange(len(starts))
    draws = np.random.default_rng(seed).integers(0, 2**64, (2, size), dtype=np.uint64)
    for column, (factor, shift) in enumerate(draws.T):
        mixed = (kept * (factor | np.uint64(1)) + shift) >> np.uint64(32)
        result[:, column] = np.minimum.reduceat(mixed, at)
    return result


def _band(marks: npt.NDArray[np.uint8], band: int) -> Hashes:
    key = marks[:, LOCAL + band].astype(np.uint64)
    for column in range(3 * band, 3 * band + 3):
        key = key << np.uint64(8) | marks[:, column]
    return key


def _meetings(key: Hashes) -> Iterator[tuple[Ints, Ints]]:
    """(later, earlier) rows with equal keys: each with the first of its bucket and with those before it."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    begins = np.ones(len(key), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    head = np.maximum.accumulate(np.where(begins, np.arange(len(key)), 0))
    rank = np.arange(len(key)) - head
    for step in range(FELLOWS):
        late = np.flatnonzero(rank > step)
        if not len(late):
            return
        yield order[late], order[head[late] + step]
        far = late[rank[late] - step - 1 >= FELLOWS]  # nearer ones are among the first of the bucket
        yield order[far], order[far - step - 1]
