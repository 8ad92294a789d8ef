"""The seal of a simulation's truth: no stage and no trainer may open what only a simulator knows.

A simulation puts the file `SEALED` beside its truth. Whatever opens an input asks `refuse` first, so the
truth cannot slip into a log, into samples or into training, not even when somebody names a folder too high.
Not covered: a person who removes the seal, or copies the files elsewhere.
"""

from pathlib import Path

from echo_ray.errors import ConfigError

SEALED = "SEALED"
"""Name of the file that marks a folder as sealed truth."""


def refuse(path: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key`, when `path` is sealed truth, lies in it or contains it."""
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        if (folder / SEALED).is_file():
            raise ConfigError(
                f"{key}={path} is the sealed truth of a simulation, which no stage may read: name the folder "
                "of the log"
            )
    inside = next(iter(sorted(whole.rglob(SEALED))), None) if whole.is_dir() else None
    if inside is not None:
        raise ConfigError(
            f"{key}={path} contains the sealed truth of a simulation ({inside.parent}), which no stage may "
            "read: name the folder of the log alone"
        )
