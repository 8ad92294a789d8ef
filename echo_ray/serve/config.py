"""Settings of the completion service. Pure: importing this needs neither Ray nor a model."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from echo_ray.config import Config
from echo_ray.privacy.config import PrivacyConfig

DEFAULT_ARM = "base"
"""Name of the only arm when `serve.arms` is empty."""
ARM_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an arm may be called: it travels in the header `X-Echo-Arm`, which holds no other characters."""
ArmName = Annotated[str, StringConstraints(pattern=rf"\A{ARM_NAME}\z")]


class Arm(Config):
    """One experiment arm: a model and its share of the users."""

    model: Path | None = None
    """Model folder of this arm; none takes `serve.model`."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the users relative to the other arms' weights."""


class ServeConfig(Config):
    """What is served, to whom, and where requests are logged."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = Field(8000, ge=0, le=65535)
    """TCP port to listen on; 0 takes any free one."""
    model: Path | None = None
    """Model folder (Hugging Face layout, safetensors); none is the small bundled base model."""
    arms: dict[ArmName, Arm] = Field(default_factory=dict)
    """Experiment arms by name, each with `model` and `weight`; empty is one arm `base` of `serve.model`."""
    salt: str = "1"
    """Key of the user-to-arm assignment; a new value draws every user's arm anew."""
    log_dir: Path | None = None
    """Folder of the experience log; none is `runs/serve/log`."""
    flush_ms: int = Field(100, ge=1)
    """A request is on disk within this time; those of half of it share one sync (milliseconds)."""
    upkeep_s: float = Field(600.0, ge=0)
    """How often closed parts of the log become sorted Parquet, and what is too old is removed (seconds); 0
    leaves the log as it is."""
    max_tokens: int = Field(48, ge=1)
    """Longest completion, also when a client asks for more, and the default when it does not say (tokens)."""
    context_tokens: int = Field(448, ge=16)
    """Longest prompt, sentinels included; text far from the cursor is cut (tokens)."""
    suffix_share: float = Field(0.3, ge=0, le=1)
    """Largest share of the prompt that text after the cursor may take; what it leaves is the prefix's."""
    temperature: float = Field(0.0, ge=0)
    """Sampling temperature when the request names none; 0 always takes the likeliest token."""
    silence_below: float = Field(0.0, ge=0, lt=1)
    """Stay silent when the geometric mean of the token probabilities up to the end of the first line is below
    this; 0 shows everything. A higher value shows less and is accepted more often: watch generation rate."""
    cache_s: float = Field(30.0, ge=0)
    """Answer a repeated question, and one along which the user types what was proposed, without the engine
    for this long (seconds); 0 always asks the engine."""
    deadline_s: float = Field(10.0, gt=0)
    """An answer that takes longer is abandoned with HTTP status 504 (seconds)."""
    trust_client: bool = False
    """Honour `X-Echo-Arm` and `X-Echo-Ts-Ms`; for simulation and replay only, never for real users."""
    privacy: PrivacyConfig = PrivacyConfig()
    """What of a request may reach the disk: `serve.privacy.collect=no_code`, for instance."""
    keys_file: Path | None = None
    """API keys (`echo-ray keys add`); none lets everybody in who can reach the address."""
    rate_per_s: float = Field(0.0, ge=0)
    """Requests that one API key, or one address without a key, may send in the long run (per second); 0 sets
    no limit. A key may have a limit of its own."""
    burst: int = Field(60, ge=1)
    """Requests that may come at once beyond `rate_per_s` (count)."""
    max_body_mb: float = Field(4.0, gt=0)
    """Longest body of a request (MiB)."""
    body_timeout_s: float = Field(10.0, gt=0)
    """Longest time that a body may take to arrive (seconds)."""
    hosts: list[str] = Field(default_factory=list)
    """Names by which clients may address the service, beside the usual ones of this machine."""
    aliases: list[str] = Field(default_factory=list)
    """Further model names to list; some clients choose their prompt template by the name."""
    cpus: int = Field(1, ge=1)
    """Compute threads of each engine on a machine without a GPU (count). Engines share the cores: more
    threads than free cores wait for each other at every token; raise it for large models only."""
    kv_cache_gb: float = Field(0.5, gt=0)
    """Key-value cache of each engine on a machine without a GPU (GiB)."""
    speculative_tokens: int = Field(0, ge=0, le=32)
    """Let the engine guess so many tokens ahead from what the prompt repeats, and check them at once (n-gram
    speculation); 0 does not. It pays where reading the model takes longer than computing, on GPUs; on two
    CPU cores it took twice the time (count)."""
    replicas: int = Field(1, ge=1)
    """Engines of each version (count). A session stays with one of them, for its prefix cache."""
    max_replicas: int | None = Field(None, ge=1)
    """Add engines of a version under load, up to this many; none keeps `replicas` (count)."""
    prompts_per_replica: float = Field(16.0, gt=0)
    """An engine is added when each has more prompts to answer than this for ten seconds, and taken away when
    fewer would do for five minutes; without effect unless `max_replicas` is above `replicas` (count)."""
    spare_engines: int = Field(0, ge=0)
    """Room kept on the GPUs for versions that are added while the service runs (count)."""
    fast_ingress: bool = False
    """Put HAProxy, which Ray brings along, in front of the gateway instead of Ray's own proxy: some
    milliseconds less per request, and what clients give up at once is logged too. It opens two more ports on
    every interface, for its own statistics (keep a firewall), and a control socket that every user of the
    machine may write to. Read before Ray starts, so it has no effect on a cluster that runs already."""
    snippets: bool = True
    """Show the model what editors send of other files."""
    gpu_memory_share: float = Field(0.9, gt=0, le=1)
    """Share of one GPU's memory that all arms take together; each arm gets an equal part."""
    max_concurrent: int = Field(64, ge=1)
    """Sequences that one engine decodes together; more wait in its queue (count)."""
    start_timeout_s: float = Field(300.0, gt=0)
    """Give up when the service is not healthy after this time (seconds)."""

    @property
    def most_replicas(self) -> int:
        """Engines that a version may have (count)."""
        return max(self.replicas, self.max_replicas or 0)

    @property
    def resolved_log_dir(self) -> Path:
        """Absolute folder of the experience log."""
        return (self.log_dir or Path("runs/serve/log")).absolute()

    @property
    def resolved_arms(self) -> dict[str, Arm]:
        """Arms by name, at least one, each with the model folder that it was given or inherits."""
        arms = self.arms or {DEFAULT_ARM: Arm()}
        return {
            name: arm if arm.model else Arm(model=self.model, weight=arm.weight) for name, arm in arms.items()
        }
