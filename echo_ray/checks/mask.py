"""Text for people's eyes: every secret and personal datum replaced by `MASK`.

The mask says nothing about length or kind. Private keys are masked as far as they can be followed, URLs up to
their password. Not covered: what `secrets` and `personal` do not cover; a secret that was cut in two before
it came here: mask first, then cut and escape.
"""

from echo_ray.checks import personal, secrets

MASK = "***"


def mask(text: str) -> str:
    """`text` with every credential and personal datum as `MASK`; never raises."""
    spans = [(found.start, found.stop) for found in secrets.scan(text)]
    spans += [(found.start, found.stop) for found in personal.scan(text)]
    parts: list[str] = []
    done = 0
    for start, stop in sorted(spans):
        if start >= done:
            parts += [text[done:start], MASK]
        done = max(done, stop)
    return "".join((*parts, text[done:]))
