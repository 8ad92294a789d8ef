"""One vLLM engine per model version, run by `ray.serve.llm` inside a Ray Serve deployment of ours.

`Engine` wraps `ray.serve.llm`'s `LLMServer` so that a proposal is one plain call with plain values:
token ids in, an `Answer` out, cancelled when the caller is. It asks vLLM's client itself: the OpenAI layers
between cost milliseconds and are the gateway's work here. It is built in the replica, not on the
driver, because importing vLLM takes ten seconds there and would be paid twice. Importing this module
needs neither Ray nor vLLM.

On CPU: no compilation, no thread binding (several engines then share the cores as the kernel sees fit;
bound engines would all sit on the same cores), threads that sleep instead of spinning, and cache blocks
of 32 tokens, because vLLM's default of 128 on CPU wastes half a block per keystroke of the prefix cache.
"""

import functools
import itertools
from pathlib import Path
from typing import Any

import echo_ray
from echo_ray.config import Config
from echo_ray.serve.proposals import Answer, Choice, Prompt
from echo_ray.serve.wire import Listener, Where

BLOCK_TOKENS = 32
"""Tokens per key-value block on CPU; the backend wants multiples of 32."""
NGRAM_TOKENS = (2, 4)
"""Shortest and longest run of tokens whose earlier occurrence says what may follow (count)."""
ENGINE_SLOTS = 2
"""CPU slots of a replica: its own, and that of the process that computes (count)."""
METRICS_S = 2.0
"""How often a replica tells how much it has to do (seconds)."""
UPSCALE_S, DOWNSCALE_S = 10.0, 300.0
"""How long there must be too much or too little to do before a replica is added or taken away (seconds)."""
RUNNING = "running_prompts"
"""Name of the figure that autoscaling goes by."""
DRAIN_S = 10.0
"""How long a replica that is taken away may take for what it has begun (seconds)."""


class EngineSettings(Config):
    """What one engine needs to know, resolved by `launch`; not read from files."""

    model: Path
    """Model folder, readable by the node that runs the engine."""
    version: str
    """Immutable model version."""
    max_model_len: int
    """Prompt and completion together (tokens)."""
    max_concurrent: int
    """Sequences decoded together (count)."""
    threads: int
    """Compute threads on CPU (count)."""
    kv_cache_bytes: int
    """Key-value cache on CPU (bytes)."""
    gpu: float
    """Part of a GPU to reserve; 0 runs on CPU."""
    gpu_memory_share: float
    """Share of that GPU's memory that the engine may use."""
    speculative_tokens: int = 0
    """Tokens guessed ahead (count)."""
    replicas: int = 1
    """Engines of the version, at least (count)."""
    max_replicas: int = 1
    """The same under load (count)."""
    prompts_per_replica: float = 16
    """Running prompts that an engine should have when there may be more or fewer engines (count)."""


class Engine:
    """Ray Serve deployment that holds one `ray.serve.llm` server. Built by `deployment`."""

    async def __init__(self, settings: EngineSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        import ray
        from ray import serve
        from ray.serve.llm import LLMConfig
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind, SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        self._settings = settings
        self._numbers = itertools.count()
        self._refusals, self._dead = (ValueError, VLLMClientError), EngineDeadError
        self._params: Any = functools.partial(SamplingParams, output_kind=RequestOutputKind.FINAL_ONLY)
        self._server: Any = _server_class(in_process=not settings.gpu).sync_init(
            LLMConfig(**llm_config(settings))
        )
        await self._server.start()
        self._client: Any = self._server.engine._engine_client  # vLLM's own client, an `AsyncLLM`
        self._listener = Listener(self.propose)
        replica = serve.get_replica_context().replica_id.unique_id
        self._where = await self._listener.open(replica, ray.util.get_node_ip_address())

    async def propose(self, asked: Prompt) -> Answer:
        """Complete a rendered prompt. One that vLLM refuses, or that is for another version than this engine
        holds, is an `Answer` with an error; a dead engine raises.

        Only what `asked` says decides how it is sampled: a model's `generation_config.json` does not.
        """
        if asked.version != self._settings.version:
            return Answer(
                error=f"this engine holds {self._settings.version}, not {asked.version}", status=409
            )
        try:
            params = self._params(
                max_tokens=asked.max_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                n=asked.n,
                stop=list(asked.stop),
                stop_token_ids=list(asked.stop_ids),
                seed=asked.seed,
                logprobs=0 if asked.log_probs else None,
            )
            prompt = {"prompt_token_ids": asked.tokens}
            # One result only, the last: `output_kind`.
            (found,) = [one async for one in self._client.generate(prompt, params, f"{next(self._numbers)}")]
        except self._refusals as error:
            return Answer(error=str(error), status=400)
        except self._dead as error:
            raise ConnectionError(f"the engine of {asked.version} has died") from error
        outputs = sorted(found.outputs, key=lambda output: output.index)
        return Answer(
            tuple(Choice(one.text, one.finish_reason or "stop", _log_probs(one)) for one in outputs),
            len(asked.tokens),
            sum(len(one.token_ids) for one in outputs),
            found.num_cached_tokens or 0,
        )

    async def where(self) -> Where:
        """Where this replica listens (`wire`)."""
        return self._where

    async def check_health(self) -> None:
        """Ray Serve's probe: raises when vLLM's processes are gone, so that Serve replaces the replica."""
        await self._server.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `replicas_wanted` decides by; Ray counts only what comes through its handles."""
        return {RUNNING: float(self._listener.running)}

    async def __del__(self) -> None:
        """Ray Serve calls this when it takes the replica away: what it has begun is answered."""
        listener = getattr(self, "_listener", None)
        if listener is not None:
            await listener.close(DRAIN_S)


def _log_probs(output: Any) -> tuple[tuple[int, float], ...]:
    """Offset and log-probability of each token of a vLLM `CompletionOutput`, as far as vLLM tells them."""
    found, offset = [], 0
    for token, likely in zip(output.token_ids, output.logprobs or (), strict=False):
        told = likely[token]
        found.append((offset, told.logprob))
        offset += len(told.decoded_token or "")
    return tuple(found)


def replicas_wanted(context: Any) -> tuple[float, dict[str, Any]]:
    """Ray Serve's autoscaling policy: so many replicas that each has its target of running prompts."""
    running = context.aggregated_metrics.get(RUNNING, {})
    return sum(running.values()) / context.config.target_ongoing_requests, {}


def llm_config(settings: EngineSettings) -> dict[str, Any]:
    """Arguments of `ray.serve.llm.LLMConfig` for one version."""
    engine: dict[str, Any] = {
        "dtype": "bfloat16",
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_concurrent,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "enable_prompt_tokens_details": True,
    }
    if settings.speculative_tokens:
        engine["speculative_config"] = {
            "method": "ngram",
            "num_speculative_tokens": settings.speculative_tokens,
            "prompt_lookup_min": NGRAM_TOKENS[0],
            "prompt_lookup_max": NGRAM_TOKENS[1],
        }
    if settings.gpu:
        engine["gpu_memory_utilization"] = settings.gpu_memory_share
    else:
        engine["enforce_eager"] = True
        engine["kv_cache_memory_bytes"] = settings.kv_cache_bytes
        engine["block_size"] = BLOCK_TOKENS
    return {
        "model_loading_config": {"model_id": settings.version, "model_source": str(settings.model)},
        "placement_group_config": {"bundles": [worker_bundle(settings)]},
        "engine_kwargs": engine,
        "log_engine_metrics": False,
    }


def _server_class(in_process: bool) -> Any:
    """`LLMServer` without the detours that cost a local engine half of its start time.

    Left out: the task that downloads models (it imports vLLM in one more process to find nothing to do),
    the usage report (an actor that does the same), and on CPU the worker process: vLLM's engine process
    then computes itself, which also saves a hop between processes per token. These hooks are not public
    in Ray 2.60; `tests/test_serve_ray.py` fails when they move.
    """
    from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
    from ray.serve.llm.deployment import LLMServer

    class LocalEngine(VLLMEngine):  # type: ignore[misc]
        def _start_async_llm_engine(self, arguments: Any, config: Any, group: Any) -> Any:
            if in_process:
                # With thread binding off, vLLM's reason to insist on a worker process is gone.
                config.parallel_config.distributed_executor_backend = "uni"
            return super()._start_async_llm_engine(arguments, config, group)

    class LocalServer(LLMServer):  # type: ignore[misc]
        _default_engine_cls = LocalEngine

        async def _start_engine(self) -> None:
            self._llm_config.get_or_create_callback().ctx.run_init_node = False
            await self.engine.start()

    return LocalServer


def worker_bundle(settings: EngineSettings) -> dict[str, float]:
    """Ray resources of the process that computes."""
    return {"CPU": 1, "GPU": settings.gpu} if settings.gpu else {"CPU": 1}


def environment(settings: EngineSettings) -> dict[str, str]:
    """Environment of an engine's processes; OpenMP reads it once, when a process starts."""
    common = {"PYTHONPATH": str(Path(echo_ray.__file__).parents[1]), "VLLM_LOGGING_LEVEL": "WARNING"}
    if settings.gpu:
        return common
    return common | {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(settings.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def application_name(version: str) -> str:
    """Name of the Ray Serve application that holds a version's engine."""
    return f"echo-engine-{version}"


def deployment(settings: EngineSettings) -> Any:
    """Bound Ray Serve deployment of one version; needs Ray."""
    from ray import serve

    # The replica sits in the first bundle beside vLLM's worker, as ray.serve.llm itself arranges it.
    bundle = worker_bundle(settings)
    return serve.deployment(
        Engine,
        name="engine",
        **_scale(settings),
        max_ongoing_requests=10 * settings.max_concurrent,
        ray_actor_options={"num_cpus": 1, "runtime_env": {"env_vars": environment(settings)}},
        placement_group_bundles=[bundle | {"CPU": ENGINE_SLOTS}],
        placement_group_strategy="PACK",
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=DRAIN_S + 2,
    ).bind(settings)


def _scale(settings: EngineSettings) -> dict[str, Any]:
    """How many replicas there are."""
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    if settings.max_replicas <= settings.replicas:
        return {"num_replicas": settings.replicas}
    scaling = AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        target_ongoing_requests=settings.prompts_per_replica,
        metrics_interval_s=METRICS_S,
        look_back_period_s=3 * METRICS_S,
        upscale_delay_s=UPSCALE_S,
        downscale_delay_s=DOWNSCALE_S,
        policy=AutoscalingPolicy(policy_function=f"{__name__}:{replicas_wanted.__name__}"),
    )
    return {"autoscaling_config": scaling}
