"""Runs of the same developers under other circumstances: for calibration and for bounds, not for mining.

A trial leaves no experience log, only the sealed truth and the tallies of its users, in a folder of its own;
a job that was killed goes on with the users who were not done.
"""

from collections.abc import Sequence
from pathlib import Path

from echo_ray import __version__
from echo_ray.config import fingerprint
from jobs.settings import RunConfig
from jobs.simulate import Answering, plain, work
from simulator.fleet import ledger
from simulator.fleet.team import Job, behaviour
from simulator.truth import Tally


def names(count: int) -> list[str]:
    """Pseudonyms of the developers who calibrate: neither those who give experience nor those of experiments
    (section 4, rule 1).
    """
    return [f"c{number:05d}" for number in range(count)]


def trial(
    config: RunConfig, answering: Answering, url: str, users: Sequence[str], folder: Path, label: str
) -> list[Tally]:
    """The tallies of `users`, in their order, with the settings of `config.simulate` and whoever answers at
    `url`.
    """
    chosen = plain(config.simulate)
    identity = {"code": __version__, "behaviour": behaviour(chosen), "engine": answering.identity}
    ledger.prepare(folder, fingerprint({"stage": "trial", **identity}))
    work(config, [Job(chosen, "train", url, None, folder)], answering, [users], label)
    return ledger.tallies(folder, users)
