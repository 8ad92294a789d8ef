"""What a server remembers of its clients for a while, in bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by owner and key, the newest of them: at most `per_owner` of one owner and `total` of all.

    Where there are too many, one owner's oldest value goes, or the oldest value of the owner to whom nothing
    was added for longest. An owner to whom nothing was added for `ttl_s` (seconds) is forgotten. An owner is
    a session or a context; use digests for texts of any length.
    """

    def __init__(
        self,
        per_owner: int,
        total: int,
        ttl_s: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_owner, self._total = per_owner, total
        self._ttl_s, self._now = ttl_s, now
        self._owners: OrderedDict[Hashable, OrderedDict[Hashable, V]] = OrderedDict()
        self._added_s: dict[Hashable, float] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, owner: Hashable, key: Hashable, value: V) -> None:
        """Remember `value`; the same key of the same owner is replaced and counts as new."""
        now = self._now()
        while self._owners and now - self._added_s[next(iter(self._owners))] > self._ttl_s:
            old, values = self._owners.popitem(last=False)
            self._size -= len(values)
            del self._added_s[old]
        held = self._owners.setdefault(owner, OrderedDict())
        self._owners.move_to_end(owner)
        self._added_s[owner] = now
        self._size += key not in held
        held[key] = value
        held.move_to_end(key)
        if len(held) > self._per_owner:
            self._drop(owner)
        while self._size > self._total:
            self._drop(next(iter(self._owners)))

    def get(self, owner: Hashable, key: Hashable) -> V | None:
        """The value, None when it is not known any more."""
        return self._owners.get(owner, OrderedDict()).get(key)

    def of(self, owner: Hashable) -> Iterator[V]:
        """Values of one owner, the oldest first."""
        yield from self._owners.get(owner, OrderedDict()).values()

    def _drop(self, owner: Hashable) -> None:
        held = self._owners[owner]
        held.popitem(last=False)
        self._size -= 1
        if not held:
            del self._owners[owner], self._added_s[owner]
