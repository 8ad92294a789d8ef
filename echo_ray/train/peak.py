"""How many bf16 operations a device can do at most: the denominator of MFU.

NVIDIA devices have a published figure: dense bf16 with fp32 accumulation, from the data sheets, whose large
print is the figure with sparsity, twice as high. A CPU has none that a program can rely on (cores, AMX, clock
and neighbours decide), so it is measured with matrix products as large as a training step's. Not covered:
other vendors' devices, and slices of a device (MIG): None, and MFU is not shown.
"""

import re
import time
from functools import lru_cache

_MEASURED_S = 0.25
_SIDE = 1024
"""Rows and columns of the measured product: as large as the bundled model's, and in cache with AMX."""

_TERA = 1e12
_PEAKS: tuple[tuple[str, float], ...] = (
    (r"GB200|GB300", 2500 * _TERA),
    (r"B200|B300", 2250 * _TERA),
    (r"H200 NVL", 835 * _TERA),
    (r"GH200|H200", 989 * _TERA),
    (r"H100 NVL", 835 * _TERA),
    (r"H100 PCIe", 756 * _TERA),
    (r"H100|H800", 989 * _TERA),
    (r"H20", 148 * _TERA),
    (r"A100|A800", 312 * _TERA),
    (r"A30", 165 * _TERA),
    (r"A40", 149.7 * _TERA),
    (r"A10G", 70 * _TERA),
    (r"A10", 125 * _TERA),
    (r"L40S", 362 * _TERA),
    (r"L40", 181 * _TERA),
    (r"L4", 121 * _TERA),
    (r"RTX 4090", 165.2 * _TERA),
    (r"RTX 3090", 71 * _TERA),
)
"""First match wins; each stands as a word of its own in what the driver calls the device."""


def peak_flops_per_s(device: str, name: str, threads: int) -> float | None:
    """Dense bf16 operations per second of one worker's device, or None when nobody knows.

    `device` is `cuda` or `cpu`, `name` what the driver calls it (`torch.cuda.get_device_name()`; of no use on
    a CPU), `threads` how many threads a worker computes with. On a CPU this takes a quarter second, once for
    each process, and says what the machine gave at that moment.
    """
    if device == "cpu":
        return _measured(threads)
    return published(name) if device == "cuda" else None


def published(name: str) -> float | None:
    """Data sheet's dense bf16 operations per second of the NVIDIA device `name`; None for one not listed."""
    if re.search(r"\bMIG\b", name):
        return None
    return next((peak for pattern, peak in _PEAKS if re.search(rf"\b(?:{pattern})\b", name)), None)


@lru_cache(maxsize=8)
def _measured(threads: int) -> float:
    """Best of several products within the time: what disturbs only ever makes one slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Not random: drawing would move the generator that training seeds.
        left = torch.full((_SIDE, _SIDE), 0.5, dtype=torch.bfloat16)
        right = torch.full((_SIDE, _SIDE), 0.25, dtype=torch.bfloat16)
        best, until = float("inf"), time.perf_counter() + _MEASURED_S
        torch.matmul(left, right)
        while time.perf_counter() < until or best == float("inf"):
            began = time.perf_counter()
            torch.matmul(left, right)
            best = min(best, time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return 2.0 * _SIDE**3 / best
