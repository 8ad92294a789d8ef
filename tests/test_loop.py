"""The whole loop on the real engines, killed in the middle and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SMALL = [
    "simulate.users=2",
    "simulate.active_minutes=15",
    "simulate.sources=[json, email, logging]",
    "train.epochs=1",
    "train.checkpoint_every=2",
    "experiment.users=2",
    "experiment.resamples=200",
    "cluster.min_memory_gb=3",
]
STAGES = ("log", "mine", "distil", "verify", "balance", "pack", "train", "experiment")


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "jobs", "demo", f"run.output={run}", *SMALL]


def wait_for(path: Path, process: "subprocess.Popen[bytes]", seconds: float = 420) -> None:
    for _ in range(int(seconds / 0.2)):
        if path.exists():
            return
        assert process.poll() is None, f"the loop ended before {path.name} was there"
        time.sleep(0.2)
    raise AssertionError(f"{path} did not appear in {seconds:.0f} s")


@pytest.mark.ray
def test_the_loop_survives_a_kill_and_ends_with_a_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (tmp_path / "first.log").open("wb") as log:
        first = subprocess.Popen(command(run), stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(run / "train" / "checkpoints" / "newest.json", first)
        finally:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    finished = ("log", "mine", "distil", "verify", "balance", "pack")
    before = {name: (run / name / "manifest.json").stat().st_mtime_ns for name in finished}
    assert not (run / "train" / "manifest.json").exists()

    second = subprocess.run(command(run), capture_output=True, text=True, timeout=600, check=False)
    assert 0 == second.returncode, second.stderr[-3000:]
    assert before == {name: (run / name / "manifest.json").stat().st_mtime_ns for name in finished}
    assert not list((run / "log").glob(".*.part"))
    for name in STAGES:
        assert (run / name / "manifest.json").is_file(), name

    report = json.loads((run / "report.json").read_text())
    for arm in ("base", "echo"):
        keys = {"shown", "accepted", "acceptance_rate", "generation_rate", "users"}
        assert keys <= set(report["arms"][arm])
        assert 2 == report["arms"][arm]["users"]
    for rate in ("acceptance_rate", "generation_rate"):
        assert {"estimate", "ci95", "p_value"} <= set(report["difference"][rate])
    assert report["funnel"]
    assert {"simulate", "mine", "train", "experiment"} <= set(report["seconds"])
    assert (run / "report.html").stat().st_size > 10_000

    manifests = {name: json.loads((run / name / "manifest.json").read_text()) for name in STAGES}
    assert "ray.data" in manifests["mine"]["engine"]
    assert "deepspeed" in manifests["train"]["engine"]
    assert "ray.train" in manifests["train"]["engine"]
    assert "vllm" in manifests["experiment"]["engine"]
    assert "Ray Serve" in manifests["experiment"]["engine"]
    curve = [json.loads(line) for line in (run / "train" / "metrics.jsonl").read_text().splitlines()]
    assert list(range(1, curve[-1]["steps"] + 1)) == [point["step"] for point in curve]

    rows = sum(pq.read_metadata(path).num_rows for path in (run / "log").glob("*.parquet"))
    assert rows == manifests["mine"]["rows_in"] == manifests["mine"]["rows_out"]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(run / "train" / "model")
    AutoTokenizer.from_pretrained(run / "train" / "model")
