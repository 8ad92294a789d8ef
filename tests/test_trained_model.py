"""A model trained here is a plain folder: plain vLLM and plain transformers say the same with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray.models import BASE
from echo_ray.pretrain import corpus
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.rng import generator
from echo_ray.stages.pack import PACKED
from echo_ray.train.config import TrainConfig

VLLM = """
import json, sys
from vllm import LLM, SamplingParams

folder, prompts, tokens = sys.argv[1], json.load(sys.stdin), int(sys.argv[2])
engine = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=8)
sampling = SamplingParams(temperature=0.0, max_tokens=tokens)
found = engine.generate([{"prompt_token_ids": ids} for ids in prompts], sampling)
json.dump([list(one.outputs[0].token_ids) for one in found], open(sys.argv[3], "w"))
"""
"""What anybody would write who has never heard of this project."""

TRANSFORMERS = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, prompts, tokens = sys.argv[1], json.load(sys.stdin), int(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
AutoTokenizer.from_pretrained(folder)
found = []
for ids in prompts:
    out = model.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
    found.append(out[0, len(ids):].tolist())
json.dump(found, open(sys.argv[3], "w"))
"""


def gaps(count: int) -> list[tuple[str, str, str]]:
    """(prefix, target, suffix) at natural places of an installed package's files."""
    import deepspeed

    found = []
    for path in sorted(Path(deepspeed.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if len(text) > 2000:
            start, stop = corpus.gap(text, generator(0, path.name))
            found.append((text[:start], text[start:stop], text[stop:]))
    return found[:count]


def answers(script: str, folder: Path, prompts: list[list[int]], output: Path) -> list[list[int]]:
    """Run `script` in a process of its own; the token ids it answers with."""
    subprocess.run(
        [sys.executable, "-c", script, str(folder), "24", str(output)],
        input=json.dumps(prompts).encode(),
        env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: list[list[int]] = json.loads(output.read_text())
    return found


@pytest.mark.ray
def test_plain_vllm_and_plain_transformers_give_the_same_text(tmp_path: Path, cluster: None) -> None:
    from echo_ray.train.launch import train

    tokenizer = FastTokenizer(BASE)
    template = template_for(tokenizer)
    rows, prompts = [], []
    for number, (prefix, target, suffix) in enumerate(gaps(114)):
        prompt = template.render(tokenizer, prefix, suffix, 200)
        if number < 50:
            prompts.append(prompt)
            continue
        ids = [*prompt, *tokenizer.encode(target)[:40], template.end]
        rows.append(
            {"sample_id": f"s{number}", "user": "ann", "copy": 0, "language": "python", "drop": None}
            | {"input_ids": ids, "prompt_tokens": len(prompt)}
        )
    (tmp_path / "pack").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, PACKED), tmp_path / "pack" / "part-0000.parquet")
    config = TrainConfig(workers=1, threads_per_worker=2, epochs=1, batch=16, heldout_share=0.0)
    train(config, tmp_path / "pack", tmp_path / "train", BASE)
    folder = tmp_path / "train" / "model"
    ours = answers(TRANSFORMERS, folder, prompts, tmp_path / "transformers.json")
    assert ours == answers(VLLM, folder, prompts, tmp_path / "vllm.json")
    assert any(ours)
    assert ours != answers(TRANSFORMERS, BASE, prompts, tmp_path / "base.json")
