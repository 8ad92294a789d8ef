"""vLLM's own server with the engine that ours has: `python -m tests.benchmarks.bare_server --model ...`.

On CPU vLLM insists on a worker process beside its engine. That process spins while it waits for the next
step and takes a core from whatever is measured beside it; ours computes in the engine's process. The bare
server does the same here, so that the two differ in what lies in front of the engine alone.
"""

import runpy
from typing import Any

from vllm.platforms.cpu import CpuPlatform

_checked = CpuPlatform.check_and_update_config


def _in_process(config: Any) -> None:
    _checked(config)
    config.parallel_config.distributed_executor_backend = "uni"


if __name__ == "__main__":
    CpuPlatform.check_and_update_config = staticmethod(_in_process)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
