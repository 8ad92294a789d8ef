"""How much of a request is stored: the strictest level that applies to it.

| level | request record | event record | counters |
|---|---|---|---|
| `off` | none | none | none but the collector's own |
| `metrics` | none | none | rise |
| `no_code` | without text, a session of its own | whole: it has lengths and times, no text | rise |
| `all` | whole | whole | rise |

Our choice: a request without text stands in a session of its own, so `mine` gives it one row with the drop
`unobserved` ("an empty commit is absence of evidence"). In its own session it would be worse than nothing:
an empty prefix and suffix after real ones looks like an edit that empties the file, and among its like it
becomes a void sample, a lesson to be silent. Its kind, arm, model and latency still count.
"""

import fnmatch
import re
from enum import StrEnum

from echo_ray.privacy.config import PrivacyConfig


class Level(StrEnum):
    """What is kept, the strictest first."""

    OFF = "off"
    """Nothing at all."""
    METRICS = "metrics"
    """No record; the service's counters rise."""
    NO_CODE = "no_code"
    """Records without text."""
    ALL = "all"
    """Everything."""


_ORDER = {level: place for place, level in enumerate(Level)}
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://(?:[^/@]*@)?")
_SCP = re.compile(r"^(?:[^/@:]+@)?([^/:]+):(?!\d+/)(?=[^/])")


def level(
    config: PrivacyConfig,
    tenant: str | None,
    user: str | None,
    repository: str | None,
    pseudonym: str | None = None,
) -> Level:
    """Strictest level of the settings that match; `pseudonym` is the other name of `user`."""
    names = [config.collect]
    if tenant is not None and tenant in config.tenants:
        names.append(config.tenants[tenant])
    names += [config.users[name] for name in (user, pseudonym) if name is not None and name in config.users]
    if repository is not None and config.repositories:
        address = plain_repository(repository)
        names += [
            name
            for pattern, name in config.repositories.items()
            if fnmatch.fnmatchcase(address, plain_repository(pattern))
        ]
    return min(map(Level, names), key=_ORDER.__getitem__)


def plain_repository(address: str) -> str:
    """`host/path` in lower case of any of git's forms of address; no user, password, port or `.git`."""
    text = address.strip().lower().replace("\\", "/")
    text, schemes = _SCHEME.subn("", text)
    if not schemes:
        text = _SCP.sub(r"\1/", text)
    text = re.sub(r"^([^/]*?):\d+(?=/)", r"\1", text)
    return text.rstrip("/").removesuffix(".git")
