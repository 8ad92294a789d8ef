"""All settings of a run, one section per stage; the only place that composes them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from echo_ray.cluster import ClusterConfig
from echo_ray.config import Config
from echo_ray.llm.config import LlmConfig
from echo_ray.log.partition import ImportConfig
from echo_ray.lsp.config import LspConfig
from echo_ray.pretrain.config import PretrainConfig
from echo_ray.serve.config import ServeConfig
from echo_ray.stages.balance import BalanceConfig
from echo_ray.stages.distil import DistilConfig
from echo_ray.stages.mine import MineConfig
from echo_ray.stages.pack import PackConfig
from echo_ray.stages.select import SelectConfig
from echo_ray.stages.surprisal import PerplexityConfig
from echo_ray.stages.verify import VerifyConfig
from echo_ray.train.config import TrainConfig
from jobs.arms_config import ArmsConfig, DoctorConfig
from jobs.evaluate_config import EvaluateConfig
from jobs.experiment_config import ExperimentConfig
from jobs.keys_config import KeysConfig
from jobs.ledger_config import CardConfig, EraseConfig, ExplainConfig, ExportConfig
from jobs.models_config import ModelsConfig
from jobs.replay_config import ReplayConfig
from jobs.rollout_config import RolloutConfig
from jobs.search_config import SearchConfig
from jobs.study_config import StudyConfig
from jobs.validity_config import ValidityConfig
from simulator.config import SimulateConfig

_ENGINES = (
    *("oracle", "oracle_long", "one_token", "ngram"),
    *("always_silent", "random_context", "closing_bracket", "line_above"),
)


class RunSection(Config):
    """Where a run's folders are."""

    output: Path = Path("runs/run")
    """Folder of the run: `log/`, `mine/`, ..., `experiment/`, `report.json`, `report.html`."""


class SimulateSection(SimulateConfig):
    """Settings of `simulate`: the developers, and where they work."""

    output: Path | None = None
    """Folder for the log (`log/`), the sealed truth (`truth/`), `tallies.jsonl` and `manifest.json`."""
    engine: str | None = None
    """Who answers: the address of a running service (`http://host:port`; ours needs `serve.trust_client`), a
    model folder (then our service is started with the `serve` settings), or a stand-in that is no model:
    see `simulator/engines.py`. Absent: `serve.model`, served here. `experiment` heeds addresses only."""
    workers: int | None = Field(None, ge=1)
    """Processes that simulate (count). Absent: one per core that the service leaves, at least one. Results do
    not depend on it."""


class CompareConfig(Config):
    """Settings of `compare`; the policies take their times from `mine.idle_s`, `quiescence_s`, `ttl_s`."""

    input: Path | None = None
    """Folder of an experience log, or of recorded edits (VS Code recordings, editing traces)."""
    truth: Path | None = None
    """The sealed truth (`truth/`) of the simulation that left the log; absent for other logs, of which only
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


class CalibrateConfig(Config):
    """Settings of `calibrate`; developers, work and engine are those of `simulate`."""

    output: Path | None = None
    """Folder for `policy.json`, the frozen policy."""
    users: int = Field(40, ge=2)
    """Developers who calibrate; no experiment and no training meets them again (count)."""
    target: float = Field(0.257, gt=0, lt=1)
    """Acceptance rate that the baseline is to have (share; the paper's 25.7%)."""
    tolerance: float = Field(0.005, gt=0, lt=1)
    """The fit ends within this distance of the target (share). Section 3.7 allows 0.015 to what is simulated
    with other users later."""
    runs: int = Field(6, ge=1)
    """Simulations at most, the unshifted one included (count)."""


class BoundsConfig(Config):
    """Settings of `bounds`; developers, work and baseline are those of `simulate`."""

    output: Path | None = None
    """Folder for `bounds.json`, which `validity.bounds` shows, and the truth of every run."""
    users: int = Field(20, ge=2)
    """Developers, the same with every engine (count)."""
    engines: list[str] = Field(list(_ENGINES), min_length=1)
    """Stand-ins beside the baseline and the engine `empty`."""
    resamples: int = Field(2_000, ge=100)
    """Resamples of the users behind an interval (count)."""


class RunConfig(Config):
    """Everything, one section per verb."""

    run: RunSection = RunSection()
    cluster: ClusterConfig = ClusterConfig()
    simulate: SimulateSection = SimulateSection()
    serve: ServeConfig = ServeConfig()
    lsp: LspConfig = LspConfig()
    import_: ImportConfig = Field(ImportConfig(), alias="import")
    mine: MineConfig = MineConfig()
    distil: DistilConfig = DistilConfig()
    teacher: LlmConfig = LlmConfig()
    verify: VerifyConfig = VerifyConfig()
    judge: LlmConfig = LlmConfig()
    select: SelectConfig = SelectConfig()
    perplexity: PerplexityConfig = PerplexityConfig()
    balance: BalanceConfig = BalanceConfig()
    pack: PackConfig = PackConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    models: ModelsConfig = ModelsConfig()
    keys: KeysConfig = KeysConfig()
    arms: ArmsConfig = ArmsConfig()
    rollout: RolloutConfig = RolloutConfig()
    doctor: DoctorConfig = DoctorConfig()
    experiment: ExperimentConfig = ExperimentConfig()
    replay: ReplayConfig = ReplayConfig()
    study: StudyConfig = StudyConfig()
    pretrain: PretrainConfig = PretrainConfig()
    compare: CompareConfig = CompareConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    bounds: BoundsConfig = BoundsConfig()
    validity: ValidityConfig = ValidityConfig()
    search: SearchConfig = SearchConfig()
    card: CardConfig = CardConfig()
    explain: ExplainConfig = ExplainConfig()
    erase: EraseConfig = EraseConfig()
    export: ExportConfig = ExportConfig()
