"""The model registry: versions that never change, aliases that point at them, a history of who did what.

A registry is a folder that any process may share, on a local or a network file system (not fsspec: it needs
hard links or at least renames, and file locks):

```
REGISTRY/registry.json             says what the folder is
REGISTRY/history.jsonl             one line per change, only ever appended to; aliases are what it adds up to
REGISTRY/versions/v0007/model/     an ordinary Hugging Face folder, its files read-only, its card unchanged
REGISTRY/versions/v0007/version.json    content, hash of every file, where it came from
REGISTRY/versions/v0007/manifest.json, users.json    of the training, where there was one
REGISTRY/versions/v0007/evaluations/    figures that were attached later
```

Invariants. A version appears by one rename, an alias moves by one appended line, and both are on the disk
before the call returns: a process that is killed anywhere leaves the state before or the state after. Numbers
count up and are never given twice; of a removed version everything but the model stays. The same content is
one version, however often it is added. Readers take no lock and never wait; changes wait for each other, but
never for the copying of somebody else's weights.

Not covered: who may change what (file permissions do that); disks that lie about `fsync`; root, who can write
to read-only files (`verify` tells).
"""

from echo_ray.registry.reference import register_training, resolve
from echo_ray.registry.store import Registry
from echo_ray.registry.values import Entry, Version

__all__ = ["Entry", "Registry", "Version", "register_training", "resolve"]
