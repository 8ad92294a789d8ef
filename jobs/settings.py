"""All settings of a run, one section per stage; the only place that composes them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from echo_ray.cluster import ClusterConfig
from echo_ray.config import Config
from echo_ray.log.partition import ImportConfig
from echo_ray.serve.config import ServeConfig
from echo_ray.stages.balance import BalanceConfig
from echo_ray.stages.distil import DistilConfig
from echo_ray.stages.mine import MineConfig
from echo_ray.stages.pack import PackConfig
from echo_ray.stages.verify import VerifyConfig
from echo_ray.train.config import PretrainConfig, TrainConfig
from simulator.config import SimulateConfig


class RunSection(Config):
    """Where a run's folders are."""

    output: Path = Path("runs/run")
    """Folder of the run: `log/`, `mine/`, ..., `experiment/`, `report.json`, `report.html`."""


class SimulateSection(SimulateConfig):
    """Settings of `simulate`: the developers, and where they work."""

    output: Path | None = None
    """Folder for the log (`log/`) and the sealed truth (`truth.jsonl`)."""
    url: str | None = None
    """A running completion service, `http://host:port`; absent starts one with the `serve` settings. Its
    `serve.trust_client` must be on."""


class ExperimentConfig(Config):
    """Settings of `experiment`: the same developers with two models (twins)."""

    output: Path | None = None
    """Folder for tallies, truth, logs and the report."""
    base: Path | None = None
    """Model folder of the arm `base`; the bundled base when absent."""
    echo: Path | None = None
    """Model folder of the arm `echo`."""
    users: int = Field(48, ge=2)
    """Developers; each works once with either model, on files that no model has learned from (count)."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples and sign flips (count)."""


class CompareConfig(Config):
    """Settings of `compare`; the policies take their times from `mine.idle_s`, `quiescence_s`, `ttl_s`."""

    input: Path | None = None
    """Folder of an experience log, or of recorded edits (VS Code recordings, editing traces)."""
    truth: Path | None = None
    """The sealed `truth.jsonl` of the simulation that left the log; absent for other logs, of which only
    yield, delay and reported acceptances are known. Recorded edits are their own truth."""
    output: Path | None = None
    """Folder for `compare.json`, `compare.md` and `manifest.json`."""
    every: list[Annotated[int, Field(ge=1)]] = Field([1, 5, 20], min_length=1)
    """Densities: every n-th request of each session (counts). 1 is the whole log; without it acceptances are
    not compared."""
    uncancelled_ms: float | None = Field(500.0, ge=0)
    """A further density, the requests that were not cancelled: delivered ones of a log; of recorded edits
    those without another change for this long (milliseconds). Null leaves it out."""
    window_lines: int | None = Field(20, ge=1)
    """Every request again, with windows of this many lines on either side of the cursor (count). Null
    leaves it out."""


class RunConfig(Config):
    """Everything, one section per verb."""

    run: RunSection = RunSection()
    cluster: ClusterConfig = ClusterConfig()
    simulate: SimulateSection = SimulateSection()
    serve: ServeConfig = ServeConfig()
    import_: ImportConfig = Field(ImportConfig(), alias="import")
    mine: MineConfig = MineConfig()
    distil: DistilConfig = DistilConfig()
    verify: VerifyConfig = VerifyConfig()
    balance: BalanceConfig = BalanceConfig()
    pack: PackConfig = PackConfig()
    train: TrainConfig = TrainConfig()
    experiment: ExperimentConfig = ExperimentConfig()
    pretrain: PretrainConfig = PretrainConfig()
    compare: CompareConfig = CompareConfig()
