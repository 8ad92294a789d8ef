"""Pretraining of the small bundled base model on one machine (CPU or one GPU).

A Llama-shaped decoder learns left-to-right and fill-in-the-middle at once (`loop`). The schedule is
a function of the time spent, so a run takes as long as `pretrain.minutes` says on any machine; a killed run
resumes from its last checkpoint with the same data order, and a finished one given again only repeats its
report. The result is a plain Hugging Face folder with a card that says what it makes of held-out files
(`heldout`). Not covered: several machines (a base worth sharding comes from elsewhere; `train` fine-tunes it
under DeepSpeed).
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.errors import ConfigError
from echo_ray.pretrain import heldout, heldout_table, sources, state
from echo_ray.pretrain.config import PretrainConfig
from echo_ray.pretrain.loop import Progress, Trainer
from echo_ray.pretrain.sources import SourceFile


def run(config: PretrainConfig, command: str, progress: Progress) -> Path:
    """Train to the end of the schedule and measure; returns the model folder.

    Beside it stand `metrics.jsonl`, `heldout.json` and `heldout.md`. With `config.measure` nothing is
    trained. Raises TrainingError on a non-finite loss, a checkpoint of another run and a full disk,
    ConfigError on settings that cannot work and a corpus that is not there.
    """
    import torch

    state.check(config)
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    files = sources.read(config.sources, config.shares, config.exclude)
    training, unseen = sources.split(files, config.heldout_share, config.seed)
    for kind, found in (("training", training), ("held-out", unseen)):
        if not found:
            raise ConfigError(
                f"pretrain.heldout_share={config.heldout_share} leaves no {kind} file of {len(files)}: give "
                "more pretrain.sources or another share"
            )
    config.output.mkdir(parents=True, exist_ok=True)
    if config.measure:
        _report(config, config.measure, unseen, progress)
        return config.measure
    trainer = Trainer(config, training, unseen, progress)
    trainer.train()
    folder = config.output / "model"
    state.whole(folder, lambda part: trainer.export(part, command, None))
    report = _report(config, folder, unseen, progress)
    state.whole(folder, lambda part: trainer.export(part, command, report))
    return folder


def _report(
    config: PretrainConfig, folder: Path, unseen: Sequence[SourceFile], progress: Progress
) -> dict[str, Any]:
    """Held-out report of the model in `folder`, beside that of `config.compare`; written to the output."""
    from echo_ray.pretrain.heldout_score import score

    spans = heldout.spans(unseen, config.heldout_spans, config.seed)
    gaps = heldout.gaps(unseen, config.heldout_gaps, config.seed)
    named = {"this model": folder} | ({"compared": config.compare} if config.compare else {})
    scores = []
    for name, one in named.items():
        progress(config.minutes * 60, f"measuring {one}")
        scores.append(score(one, name, spans, gaps))
    facts = {
        "heldout_files": dict(Counter(file.language for file in unseen)),
        "excluded": list(config.exclude),
        "versions": {name: models.version(one) for name, one in named.items()},
        "seed": config.seed,
    }
    report = heldout.report(spans, gaps, scores, facts)
    state.write(config.output / "heldout.json", json.dumps(report, indent=1) + "\n")
    state.write(config.output / "heldout.md", heldout_table.table(report))
    return report
