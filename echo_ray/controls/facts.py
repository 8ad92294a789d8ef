"""What is counted of an arm's data for the page of a study: volumes, found noise, signs of collapse. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.controls.noise import NoiseConfig, is_pasted
from echo_ray.controls.sizes import target_tokens
from echo_ray.stages import rows

NGRAM = 4
"""Words of an n-gram by which answers are compared."""


def trained_on(packed: pa.Table) -> dict[str, int]:
    """Samples, voids and target tokens of `pack.PACKED` rows, end tokens included; `drop` rows do not count.

    `repeats` is how often the most repeated sample comes.
    """
    left = packed.filter(pc.is_null(packed["drop"]))
    lengths = zip(left["input_ids"].to_pylist(), left["prompt_tokens"].to_pylist(), strict=True)
    times = Counter(left["sample_id"].to_pylist())
    return {
        "samples": left.num_rows,
        "voids": sum(len(ids) - prompt == 1 for ids, prompt in lengths),
        "target_tokens": target_tokens(left),
        "repeats": max(times.values(), default=0),
    }


def noise_found(noisy: pa.Table, balanced: pa.Table, config: NoiseConfig) -> dict[str, Any]:
    """How much pasted noise was found, and what clean text went with it.

    `noisy` is what `paste_noise` made, `balanced` what the pipeline made of it. A row counts if it has text
    and no `drop` before. `noise_recall` is the share of pasted rows that are not trained on, `clean_loss`
    that of the others; `by_reason` counts pasted rows by what found them. Null where there is no such row.
    """
    before = {
        sample_id
        for sample_id, commit, drop in rows(noisy, ("sample_id", "commit", "drop"))
        if drop is None and (commit or "").strip()
    }
    counts: Counter[tuple[bool, bool]] = Counter()
    reasons: Counter[str] = Counter()
    for sample_id, copies, drop in rows(balanced, ("sample_id", "copies", "drop")):
        if sample_id not in before:
            continue
        noise = is_pasted(sample_id, config)
        counts[noise, not copies] += 1
        if noise and not copies:
            reasons[drop or "unknown"] += 1
    found: dict[str, Any] = {
        name: counts[kind, True] / total if (total := counts[kind, True] + counts[kind, False]) else None
        for name, kind in (("noise_recall", True), ("clean_loss", False))
    }
    return found | {"by_reason": dict(reasons.most_common())}


def diversity(answers: Iterable[str]) -> dict[str, float | int | None]:
    """Signs of a model that narrows: share of distinct answers and n-grams, of silence, and the mean length.

    Of answers of equal number: shares of distinct things fall with the number of answers anyway.
    """
    texts = list(answers)
    spoken = [text for text in texts if text.strip()]
    grams: Counter[tuple[str, ...]] = Counter()
    for text in spoken:
        words = text.split()
        grams.update(tuple(words[n : n + NGRAM]) for n in range(len(words) - NGRAM + 1))
    return {
        "answers": len(texts),
        "silent": (len(texts) - len(spoken)) / len(texts) if texts else None,
        "distinct": len(set(spoken)) / len(spoken) if spoken else None,
        f"distinct_{NGRAM}grams": len(grams) / sum(grams.values()) if grams else None,
        "mean_chars": sum(map(len, spoken)) / len(spoken) if spoken else None,
    }


def from_model(samples: pa.Table) -> float | None:
    """Share of the characters of mined commits (`schema.SAMPLE`) that a model wrote; null without any."""
    model = sum(samples["model_chars"].fill_null(0).to_pylist())
    every = model + sum(
        number
        for name in ("human_chars", "pasted_chars")
        for number in samples[name].fill_null(0).to_pylist()
    )
    return model / every if every else None
