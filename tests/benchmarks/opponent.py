"""The opponent in its own process: Hugging Face's `Trainer` as people use it, one row a sample, padded.

`python -m tests.benchmarks.opponent JOB.json` reads what to do and writes what it took. Random batches of
eight, each padded to its longest row, loss on the target alone, bf16 autocast over fp32 weights, fused AdamW
(its default), as many threads, samples and optimizer steps as ours. Nothing of this project runs in it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

IGNORED = -100


def main(path: Path) -> None:
    """Train as `path` says; the figures go to the job's `output`."""
    import pyarrow.parquet as pq
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    job = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    rows = []
    for file in sorted(Path(job["input"]).glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            ids, prompt = row["input_ids"], row["prompt_tokens"]
            rows.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    counts = {"tokens": 0, "padded": 0, "targets": 0}

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        counts["tokens"] += int(given["attention_mask"].sum())
        counts["padded"] += given["input_ids"].numel()
        counts["targets"] += int((given["labels"] != IGNORED).sum())

    model.register_forward_pre_hook(count, with_kwargs=True)
    marks: list[dict[str, float]] = []

    class Clock(TrainerCallback):
        """Time and tokens when a step ends: data loading is in it, as a user waits for it."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append({"at": time.perf_counter(), **counts})

    arguments = TrainingArguments(
        output_dir=job["folder"],
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        per_device_train_batch_size=job["micro_batch"],
        gradient_accumulation_steps=job["batch"] // job["micro_batch"],
        num_train_epochs=1,
        learning_rate=job["lr"],
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        adam_beta2=0.98,
        weight_decay=job["weight_decay"],
        max_grad_norm=job["max_grad_norm"],
        train_sampling_strategy=job["sampling"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
    collator = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(job["model"]), label_pad_token_id=IGNORED)
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=[Clock()]
    )
    trainer.train()
    trainer.save_model(job["folder"])
    Path(job["output"]).write_text(json.dumps(marks), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
