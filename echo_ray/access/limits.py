"""How often one may ask: a token bucket for each key, and for each address without one. Pure: takes a clock.

Each bucket is one number, the time at which it will be full again (the generic cell rate algorithm, ITU-T
I.371): a bucket that is full is as good as none, so idle ones are forgotten. Keys and addresses have tables
of their own, so that a crowd of addresses pushes nobody's key out. An IPv6 network (/64) is one address: it
is what one customer gets.

Not covered: limits across several gateways; each counts for itself. When more addresses are busy at once than
the table holds, the one that waited longest since its last request starts anew.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable

from echo_ray.access.keys import Key

_ROUNDING_S = 1e-9
_FORGET_AT_ONCE = 4


class Buckets:
    """Token buckets by name, at most `max_buckets` of them."""

    def __init__(self, now: Callable[[], float], max_buckets: int = 10_000) -> None:
        self._now = now
        self._max_buckets = max_buckets
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, name: str, rate_per_s: float, burst: int) -> float:
        """Take one token; 0 when there was one, else how long to wait for it (seconds), nothing taken."""
        now = self._now()
        full_at = max(self._full_at_s.pop(name, now), now) + 1 / rate_per_s
        wait_s = full_at - now - burst / rate_per_s
        if wait_s > _ROUNDING_S * max(1.0, abs(now)):
            self._full_at_s[name] = full_at - 1 / rate_per_s
            return wait_s
        self._full_at_s[name] = full_at
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        for _ in range(_FORGET_AT_ONCE):
            oldest = next(iter(self._full_at_s))
            if self._full_at_s[oldest] > now and len(self._full_at_s) <= self._max_buckets:
                return
            del self._full_at_s[oldest]
            if not self._full_at_s:
                return


class RateLimits:
    """The service's limits: per key, where a key may have its own, and per address without a key."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        rate_per_s: float = 20.0,
        burst: int = 60,
        max_buckets: int = 10_000,
    ) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._keys = Buckets(now, max_buckets)
        self._addresses = Buckets(now, max_buckets)

    def wait_s(self, key: Key | None, address: str) -> float:
        """Count one request; 0 when it may go on, else how long its sender has to wait (seconds)."""
        if key is None:
            return self._addresses.take(network(address), self._rate_per_s, self._burst)
        rate = self._rate_per_s if key.rate_per_s is None else key.rate_per_s
        burst = self._burst if key.burst is None else key.burst
        return self._keys.take(key.hash, rate, burst)


def retry_after(wait_s: float) -> str:
    """Value of the header `Retry-After`: whole seconds, at least one."""
    return str(max(1, math.ceil(wait_s)))


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, an IPv6 network of 64 bits, else the text itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)
