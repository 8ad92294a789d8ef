"""The whole loop of the paper, top to bottom: experience, knowledge, optimization, measurement.

Every stage commits by its manifest, so a loop that was killed goes on where it stopped, and a loop whose
settings changed redoes what they touch and what follows.
"""

import time

from echo_ray import refinery
from echo_ray.cluster import running
from jobs import card, gather, report, stages
from jobs.balance import balance_samples
from jobs.experiment import simulated
from jobs.perplexity import perplexity_samples
from jobs.references import from_one_base
from jobs.select import select_samples
from jobs.settings import RunConfig
from jobs.simulate import check, experience


def demo(config: RunConfig, command: str) -> None:
    """Verb `demo`: the loop with the settings of configs/demo.yaml."""
    loop(config, command)


def loop(config: RunConfig, command: str) -> None:
    """Verb `loop`: everything into `run.output`, the report last."""
    began = time.monotonic()
    run = config.run.output
    config = from_one_base(config)
    check(config, ("train", "heldout"))
    refinery.check_distil(config.distil, config.teacher)
    refinery.check_verify(config.verify, config.judge)
    with running(config.cluster) as logs:
        print(f"echo-ray: {command}\n  results in {run}, engine logs in {logs}")
        # 4.1 Experience: developers work with the base model; every request is logged.
        done = {"simulate": experience(config, run / "log", run / "simulate")}
        stages.say(done["simulate"], run / "log")
        # 4.2 to 4.5 Knowledge: what they left, cut to the intent, verified, chosen, balanced.
        for name, stage, source in (
            ("mine", stages.mine_log, "log"),
            ("distil", stages.distil_samples, "mine"),
            ("verify", stages.verify_samples, "distil"),
            ("select", select_samples, "verify"),
            ("perplexity", perplexity_samples, "select"),
            ("balance", balance_samples, "perplexity"),
            ("pack", stages.pack_samples, "balance"),
            # 4.6 Optimization: SFT on what the model should have said.
            ("train", stages.train_model, "pack"),
        ):
            done[name] = stage(config, run / source, run / name)
            stages.say(done[name], run / name)
        # 5 Measurement: held-out developers with either model.
        done["experiment"] = simulated(config, run / "train" / "model", run / "experiment")
        stages.say(done["experiment"], run / "experiment")
    page, _ = card.make(config.card.updated(input=run / "balance", run=run))
    print(f"card       {page}")
    folders = {name: run / name for name in done}
    summary = report.build(gather.inputs(config, folders))
    written, page = report.write(summary, run)
    print(f"\n{summary['verdict']}\n")
    print(f"report: {page} (and {written}), {time.monotonic() - began:.0f} s in all")
