"""Fine-tuning against an unpacked Hugging Face `Trainer`: same samples, model, batch, steps, threads.

Every contender trains once per round, in turn, each in processes of its own, ours through the command line. A
step's time is the whole time until the next step ends (data, logging), the first step is left out for warmth,
and starting and ending are counted apart. Each figure is the median of the rounds; ratios are taken within a
round. `python -m tests.benchmarks training FOLDER` measures on packed samples of your own.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import models, schema
from echo_ray.stages.pack import PACKED, PackConfig, pack
from echo_ray.train.config import TrainConfig
from tests.benchmarks import passes
from tests.benchmarks.figure import Figure, seconds

ROUNDS = 3
STEPS = 6
"""Optimizer steps of one run; the first is not timed."""
BATCH, MICRO_BATCH = 32, 8
"""Samples of a step, and of one forward pass of the opponent."""
THREADS = 2
MEASURED = 48
"""Samples, trained on by nobody, on which the finished models are compared."""
WINDOW_BEFORE, WINDOW_AFTER = 4500, 1500
_LR = 1.5e-4


@dataclass(frozen=True, slots=True)
class Run:
    """What one training run took, its first step left out."""

    tokens: int
    targets: int
    padded: int
    steps_s: float
    """From the end of the first step to the end of the last (s)."""
    whole_s: float
    """The whole command (s)."""
    loss: float
    """Mean loss on samples that nobody trained on (nats per target token)."""
    parts: dict[str, float]
    """Seconds of all timed steps by what they were spent on; empty for the opponent."""

    @property
    def speed(self) -> float:
        """Tokens that are not padding, per second."""
        return self.tokens / self.steps_s

    @property
    def padding(self) -> float:
        """Share of what went through the model that was padding."""
        return 1 - self.tokens / self.padded


def figures(source: str | None = None) -> Iterator[Figure]:
    """All contenders on samples from the standard library's code, or on packed samples under `source`."""
    base = models.BASE
    with tempfile.TemporaryDirectory(prefix="echo-") as name:
        root = Path(name)
        rows = own(Path(source)) if source else samples(base, STEPS * BATCH + MEASURED)
        trained, measured = rows[: STEPS * BATCH], rows[STEPS * BATCH :][:MEASURED]
        (root / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(trained, PACKED), root / "data" / "part-0000.parquet")
        yield from _lengths(trained)
        yield from passes.figures(base, trained[:BATCH])
        yield Figure("loss before training, nats per target token", loss(base, measured))
        contenders: dict[str, dict[str, Any]] = {
            "Trainer": {"sampling": "random"},
            "Trainer, batches by length": {"sampling": "group_by_length"},
            "ours, one worker": {"workers": 1, "threads": THREADS},
            "ours, two workers": {"workers": 2, "threads": max(1, THREADS // 2)},
        }
        runs: dict[str, list[Run]] = {contender: [] for contender in contenders}
        for turn in range(ROUNDS):
            for contender, told in contenders.items():
                folder = root / f"{turn}-{contender.replace(' ', '-').replace(',', '')}"
                train = _opponent if "sampling" in told else _ours
                runs[contender].append(train(root / "data", folder, base, measured, **told))
        yield from _compared(runs)


def _compared(runs: dict[str, list[Run]]) -> Iterator[Figure]:
    def ratio(one: str, other: str) -> float:
        pairs = zip(runs[one], runs[other], strict=True)
        return statistics.median(a.speed / b.speed for a, b in pairs)

    ours = runs["ours, one worker"]
    yield Figure("useful tokens/s over an unpacked Trainer", ratio("ours, one worker", "Trainer"), least=1.3)
    slowest = min(a.speed / b.speed for a, b in zip(ours, runs["Trainer"], strict=True))
    yield Figure("  slowest round", slowest)
    yield Figure(
        "  over a Trainer that batches by length", ratio("ours, one worker", "Trainer, batches by length")
    )
    yield Figure("padding, percent of what our model reads", 100 * ours[0].padding, most=2)
    yield Figure(
        "two workers over one, same cores, useful tokens/s", ratio("ours, two workers", "ours, one worker")
    )
    plain = statistics.mean(run.loss for run in runs["Trainer"])
    apart = max(abs(run.loss - plain) for run in ours + runs["ours, two workers"])
    yield Figure("loss after training, ours apart from the Trainer's, nats", apart, most=0.05)
    for contender, found in runs.items():
        yield Figure(f"  {contender}: useful tokens/s", statistics.median(run.speed for run in found))
        targets = statistics.median(run.targets / run.steps_s for run in found)
        yield Figure("    target tokens/s", targets)
        yield Figure("    padding, percent", 100 * found[0].padding)
        yield Figure("    loss after training", found[0].loss)
        outside = statistics.median(run.whole_s - run.steps_s for run in found)
        yield Figure("    start, first step and end, s", outside)
        for part in found[0].parts:
            share = statistics.median(run.parts[part] / run.steps_s for run in found)
            yield Figure(f"    {part}, percent of a step", 100 * share)


def _lengths(rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    lengths = [len(row["input_ids"]) for row in rows]
    targets = [len(row["input_ids"]) - row["prompt_tokens"] for row in rows]
    cuts = statistics.quantiles(lengths, n=20)
    yield Figure("samples trained on", len(rows))
    yield Figure("  tokens of one, mean", statistics.mean(lengths))
    yield Figure("  5th percentile", cuts[0])
    yield Figure("  95th percentile", cuts[-1])
    yield Figure("  target tokens of one, mean", statistics.mean(targets))


def samples(model: Path, count: int, pack_config: PackConfig | None = None) -> list[dict[str, Any]]:
    """`PACKED` rows from the standard library: lines of a file, begun or whole, in a window around them."""
    draw = random.Random("training benchmark")
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [text for text in (path.read_text(encoding="utf-8") for path in paths) if len(text) > 400]
    defaults = {field.name: None for field in schema.BALANCED}
    rows = []
    for number in range(count):
        text = draw.choice(texts)
        begin = draw.randrange(len(text) - 200)
        stop = begin
        for _ in range(draw.choice((1, 1, 1, 2, 3, 5))):
            stop = text.find("\n", stop + 1) if text.find("\n", stop + 1) > 0 else len(text)
        row = {"sample_id": f"s-{number:05d}", "user": f"u-{number % 20}", "language": "python", "copies": 1}
        row |= {"prefix": text[max(0, begin - WINDOW_BEFORE) : begin], "target": text[begin:stop]}
        rows.append(defaults | row | {"suffix": text[stop : stop + WINDOW_AFTER]})
    config = (pack_config or PackConfig()).updated(model=model)
    packed = pack(pa.Table.from_pylist(rows, schema.BALANCED), config).to_pylist()
    return [row for row in packed if row["drop"] is None]


def own(folder: Path) -> list[dict[str, Any]]:
    """Packed rows under `folder`, as many as are needed, drawn over all of them."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist() if row["drop"] is None]
    wanted = STEPS * BATCH + MEASURED
    if len(rows) < wanted:
        raise SystemExit(f"{folder} holds {len(rows)} packed samples, {wanted} are needed")
    return random.Random("own").sample(rows, wanted)


def _opponent(
    data: Path, folder: Path, model: Path, measured: Sequence[dict[str, Any]], sampling: str
) -> Run:
    folder.mkdir()
    job: dict[str, Any] = {
        "input": str(data),
        "model": str(model),
        "folder": str(folder / "model"),
        "sampling": sampling,
    }
    job |= {"output": str(folder / "marks.json"), "threads": THREADS, "dtype": "float32", "lr": _LR}
    job |= {"batch": BATCH, "micro_batch": MICRO_BATCH}
    job |= {name: getattr(TrainConfig(), name) for name in ("weight_decay", "max_grad_norm")}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    whole_s = seconds(lambda: command("tests.benchmarks.opponent", str(folder / "job.json")))
    marks = json.loads((folder / "marks.json").read_text(encoding="utf-8"))
    assert STEPS == len(marks)
    first, last = marks[0], marks[-1]
    return Run(
        tokens=last["tokens"] - first["tokens"],
        targets=last["targets"] - first["targets"],
        padded=last["padded"] - first["padded"],
        steps_s=last["at"] - first["at"],
        whole_s=whole_s,
        loss=loss(folder / "model", measured),
        parts={},
    )


def _ours(
    data: Path, folder: Path, model: Path, measured: Sequence[dict[str, Any]], workers: int, threads: int
) -> Run:
    settings = {
        "input": data,
        "output": folder,
        "model": model,
        "workers": workers,
        "batch": BATCH,
        "lr": _LR,
    }
    settings |= {"threads_per_worker": threads, "epochs": 1, "warmup_share": 0, "heldout_share": 0}
    settings |= {"checkpoint_every": 0}
    told = [f"train.{name}={value}" for name, value in settings.items()]
    whole_s = seconds(lambda: command("jobs", "train", *told))
    lines = steps_of(folder)
    assert STEPS == len(lines)
    assert sum(line["tokens"] for line in lines) == sum(
        len(row["input_ids"]) for row in pq.read_table(data).to_pylist()
    )
    steps_s = lines[-1]["seconds"] - lines[0]["seconds"]
    parts = {part: sum(line[f"{part}_s"] for line in lines[1:]) for part in PARTS}
    return Run(
        tokens=sum(line["tokens"] for line in lines[1:]),
        targets=sum(line["target_tokens"] for line in lines[1:]),
        padded=sum(line["padded_tokens"] for line in lines[1:]),
        steps_s=steps_s,
        whole_s=whole_s,
        loss=loss(folder / "model", measured),
        parts=parts | {"rest": steps_s - sum(parts.values())},
    )


PARTS = ("data", "forward", "backward", "optimizer")
"""What `metrics.jsonl` times in a step, each as `NAME_s`."""


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` of a finished run, one for each step."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def command(module: str, *arguments: str) -> None:
    """Run `python -m module arguments` with as many threads as every contender has. Raises SystemExit."""
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")


def loss(model: Path, rows: Sequence[dict[str, Any]]) -> float:
    """Mean nats per target token of plain transformers, one sample at a time, in fp32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    nats = targets = 0.0
    # Short passes: threads would wait for each other, and for ever where neighbours take the cores.
    torch.set_num_threads(1)
    with torch.no_grad():
        for row in rows:
            ids, prompt = torch.tensor([row["input_ids"]]), row["prompt_tokens"]
            logits = loaded(input_ids=ids, use_cache=False).logits[0, prompt - 1 : -1]
            nats += torch.nn.functional.cross_entropy(logits, ids[0, prompt:], reduction="sum").item()
            targets += ids.shape[1] - prompt
    return nats / targets
