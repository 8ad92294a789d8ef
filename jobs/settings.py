"""All settings of a run, one section per stage; the only place that composes them."""

from pathlib import Path

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
