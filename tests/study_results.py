"""Made-up results of studies, for tests and for looking at the page; every number is invented."""

from typing import Any

from echo_ray import rng

SE = 0.006


def results(
    figure: str,
    arms: dict[str, float],
    pairs: list[tuple[str, str]],
    seeds: tuple[int, ...] = (0, 1, 2),
    populations: tuple[str, ...] = ("held out",),
    sizes: dict[str, int] | None = None,
    noise: float = 0.002,
    primary: int = 1,
) -> dict[str, Any]:
    """Arms whose true AR is given; the first `primary` pairs are primary."""

    def drawn(name: str, population: str, seed: int) -> float:
        return arms[name] + noise * (2 * rng.unit(7, name, population, seed) - 1)

    def interval(value: float, se: float = SE) -> list[float]:
        return [value - 2.04 * se, value + 2.04 * se]

    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    bench: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for name in arms:
        for seed in seeds:
            for population in populations:
                ar = drawn(name, population, seed)
                gr = 0.1 + 0.9 * ar
                measured[name].append(
                    {
                        "seed": seed,
                        "population": population,
                        "users": 32,
                        "shown": 900,
                        "requests": 1500,
                        "acceptance_rate": {"value": ar, "ci95": interval(ar, 3 * SE)},
                        "generation_rate": {"value": gr, "ci95": interval(gr, 3 * SE)},
                        "mean_shown_chars": 21.5,
                        "silent_rate": 0.31,
                    }
                )
            if sizes:
                bleu = 2 * drawn(name, "bench", seed)
                value = {"value": bleu, "ci95": interval(bleu)}
                bench[name].append(
                    {"seed": seed, "users": 24, "samples": 800, "bleu": value, "exact_match": value}
                )
    contrasts = []
    for number, (treatment, control) in enumerate(pairs):
        for population in populations:
            for seed in seeds:
                change = drawn(treatment, population, seed) - drawn(control, population, seed)
                contrasts.append(
                    {
                        "treatment": treatment,
                        "control": control,
                        "primary": number < primary,
                        "population": population,
                        "seed": seed,
                        "users": 32,
                        "difference": {
                            "acceptance_rate": {"estimate": change, "ci95": interval(change)},
                            "generation_rate": {"estimate": 0.9 * change, "ci95": interval(0.9 * change)},
                            "retained_chars_per_minute": {
                                "estimate": 80 * change,
                                "ci95": interval(80 * change, 1),
                            },
                        },
                    }
                )
    return {
        "figure": figure,
        "title": f"A made-up {figure}",
        "example": True,
        "command": f"echo-ray study configs/study_{figure}.yaml",
        "seeds": list(seeds),
        "correction": "bh" if figure == "table1" else "holm",
        "policy": "p1",
        "policy_hash": "0123456789abcdef",
        "machine": "2 cores",
        "seconds": 7260.0,
        "arms": [
            {
                "name": name,
                "about": f"about {name}",
                "size": (sizes or {}).get(name),
                "data": {"samples": 2000, "target_tokens": 31_000},
                "measured": measured[name],
                "bench": bench[name],
            }
            for name in arms
        ],
        "contrasts": contrasts,
    }


FIG4 = {"M0": 0.2, "M0'": 0.225, "M1": 0.19, "M2": 0.21, "M3": 0.235, "M4": 0.237, "M5": 0.23}
FIG4_PAIRS = [
    *(("M5", "M0'"), ("M5", "M0"), ("M0'", "M0"), ("M1", "M0"), ("M2", "M1")),
    *(("M3", "M2"), ("M4", "M3"), ("M5", "M4")),
]
LANGUAGES = ("Python", "Java", "JavaScript/TypeScript", "C/C++", "Go", "Vue", "Other")
SIZES = {f"n{size}": size for size in (300, 500, 800, 1000, 1500, 2000)}


def example(figure: str) -> dict[str, Any]:
    """Results of one figure, as a study of it would leave them."""
    if figure == "table1":
        arms = {"M0": 0.2, "M0'": 0.22, "M5": 0.243}
        return results(figure, arms, [("M5", "M0'"), ("M5", "M0")], populations=LANGUAGES, noise=0.02)
    if figure == "fig5":
        arms = {name: 0.15 + 0.01 * n for n, name in enumerate(SIZES)}
        return results(figure, arms, [("n2000", "n300"), ("n1000", "n300")], sizes=SIZES, noise=0.008)
    return results(figure, FIG4, FIG4_PAIRS)
