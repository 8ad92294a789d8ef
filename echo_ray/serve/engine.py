"""One vLLM engine per model version, run by `ray.serve.llm` inside a Ray Serve deployment of ours.

`Engine` wraps `ray.serve.llm`'s `LLMServer` so that a proposal is one plain call with plain values:
token ids in, an `Answer` out, cancelled when the caller is. It is built in the replica, not on the
driver, because importing vLLM takes ten seconds there and would be paid twice. Importing this module
needs neither Ray nor vLLM.

On CPU: no compilation, no thread binding (several engines then share the cores as the kernel sees fit;
bound engines would all sit on the same cores), threads that sleep instead of spinning, and cache blocks
of 32 tokens, because vLLM's default of 128 on CPU wastes half a block per keystroke of the prefix cache.
"""

from pathlib import Path
from typing import Any, NamedTuple

import echo_ray
from echo_ray.config import Config

BLOCK_TOKENS = 32
"""Tokens per key-value block on CPU; the backend wants multiples of 32."""


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


class Prompt(NamedTuple):
    """What an engine is asked: a rendered prompt, and how to go on from it."""

    version: str
    """The only model version that may answer."""
    tokens: list[int]
    max_tokens: int
    temperature: float
    top_p: float
    n: int
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    """Tokens that end the text and are not part of it."""
    seed: int | None


class Choice(NamedTuple):
    """One text of an answer."""

    text: str
    finish_reason: str
    log_probs: tuple[tuple[int, float], ...] = ()
    """Of each token: where it begins in the text (characters), and its log-probability."""


class Answer(NamedTuple):
    """What an engine returned. With an `error` there are no choices and `status` is an HTTP status."""

    choices: tuple[Choice, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    error: str | None = None
    status: int = 200


class Engine:
    """Ray Serve deployment that holds one `ray.serve.llm` server. Built by `deployment`."""

    async def __init__(self, settings: EngineSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        from ray.serve.llm import LLMConfig
        from ray.serve.llm.openai_api_models import CompletionRequest

        self._settings = settings
        self._request: Any = CompletionRequest
        self._server: Any = _server_class(in_process=not settings.gpu).sync_init(
            LLMConfig(**llm_config(settings))
        )
        await self._server.start()

    async def propose(self, asked: Prompt) -> Answer:
        """Complete a rendered prompt. One that vLLM refuses, or that is for another version than this engine
        holds, is an `Answer` with an error; a dead engine raises.
        """
        if asked.version != self._settings.version:
            return Answer(
                error=f"this engine holds {self._settings.version}, not {asked.version}", status=409
            )
        request = self._request(
            model=self._settings.version,
            prompt=asked.tokens,
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            n=asked.n,
            stop=list(asked.stop),
            stop_token_ids=list(asked.stop_ids),
            seed=asked.seed,
            logprobs=0,
            stream=False,
        )
        async for reply in await self._server.completions(request):
            fault = getattr(reply, "error", None)
            if fault is not None:
                return Answer(error=fault.message, status=int(fault.code))
            usage = reply.usage
            details = usage.prompt_tokens_details
            return Answer(
                tuple(
                    Choice(choice.text, choice.finish_reason or "stop", _log_probs(choice.logprobs))
                    for choice in sorted(reply.choices, key=lambda choice: choice.index)
                ),
                usage.prompt_tokens,
                usage.completion_tokens or 0,
                (details.cached_tokens or 0) if details else 0,
            )
        return Answer(error="the engine ended without an answer", status=500)

    async def check_health(self) -> None:
        """Ray Serve's probe: raises when vLLM's processes are gone, so that Serve replaces the replica."""
        await self._server.check_health()


def _log_probs(found: Any) -> tuple[tuple[int, float], ...]:
    """Offset and log-probability of each token, as far as vLLM tells them."""
    if found is None:
        return ()
    start = found.text_offset[0] if found.text_offset else 0
    pairs = zip(found.text_offset, found.token_logprobs, strict=True)
    return tuple((offset - start, value) for offset, value in pairs if value is not None)


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
        num_replicas=1,
        max_ongoing_requests=10 * settings.max_concurrent,
        ray_actor_options={"num_cpus": 1, "runtime_env": {"env_vars": environment(settings)}},
        placement_group_bundles=[bundle | {"CPU": bundle["CPU"] + 1}],
        placement_group_strategy="PACK",
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=2,
    ).bind(settings)
