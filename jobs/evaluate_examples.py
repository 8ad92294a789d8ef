"""The samples that the page of an evaluation shows: where models differ, drawn by their ids, masked.

Secrets and personal data are hidden as on every page (`shown`), in the context, the target and every answer,
each answer masked in its own place in the document. Kinds take turns: a later model is right and the first is
not, the first is right and a later one is not, all are wrong in different ways, one spoke where silence was
right. Where there are too few of these, and with one model: misses and hits that all share.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from echo_ray import scores
from echo_ray.rng import unit
from jobs import shown

Row = Mapping[str, Any]

_CONTEXT_LINES, _AFTER_LINES, _CODE_LINES = 8, 4, 12
_LINE_CHARS = 160


def examples(
    samples: Sequence[Row], answers: Mapping[str, Mapping[str, str]], count: int, seed: int
) -> list[Row]:
    """At most `count` samples; `answers` by model and sample id."""
    kinds: dict[str, list[Row]] = {}
    for row in sorted(samples, key=lambda row: unit(seed, "example", row["sample_id"])):
        texts = {model: given[row["sample_id"]] for model, given in answers.items()}
        kinds.setdefault(_kind(row["target"], list(texts.values())), []).append(row)
    chosen: list[Row] = []
    for order in (_DIFFERENT, _ALIKE):
        while len(chosen) < count and any(kinds.get(kind) for kind in order):
            for kind in order:
                if kinds.get(kind) and len(chosen) < count:
                    chosen.append({**kinds[kind].pop(0), "kind": kind})
    return [_view(row, answers) for row in chosen]


_DIFFERENT = ("gained", "lost", "different", "spoke")
_ALIKE = ("wrong", "right")


def _kind(target: str, texts: Sequence[str]) -> str:
    right = [scores.exact_match(target, text) for text in texts]
    if all(right):
        return "right"
    if right[0] and not all(right):
        return "lost"
    if any(right):
        return "gained"
    if len({text.rstrip() for text in texts}) == 1:
        return "wrong"
    return "spoke" if scores.is_void(target) else "different"


def _view(row: Row, answers: Mapping[str, Mapping[str, str]]) -> Row:
    before, target, after = shown.around(row["prefix"], [row["target"]], row["suffix"])
    given = []
    for model, texts in answers.items():
        text = texts[row["sample_id"]]
        _, hidden, _ = shown.around(row["prefix"], [text], row["suffix"])
        given.append(
            {
                "model": model,
                "text": _first_lines(hidden.rstrip(), _CODE_LINES),
                "right": scores.exact_match(row["target"], text),
                "silent": scores.is_void(text),
                "similarity": scores.edit_similarity(row["target"], text),
            }
        )
    return {
        "sample_id": row["sample_id"],
        "language": row["language"],
        "kind": row["kind"],
        "before": _last_lines(before),
        "target": _first_lines(target.rstrip(), _CODE_LINES),
        "void": scores.is_void(row["target"]),
        "after": _first_lines(after, _AFTER_LINES),
        "answers": given,
    }


def _last_lines(text: str) -> str:
    lines = text.split("\n")
    kept = [line[-_LINE_CHARS:] for line in lines[-_CONTEXT_LINES:]]
    return "\n".join(["…", *kept] if len(lines) > _CONTEXT_LINES else kept)


def _first_lines(text: str, most: int) -> str:
    lines = text.split("\n")
    kept = [line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}…" for line in lines[:most]]
    return "\n".join([*kept, "…"] if len(lines) > most else kept)
