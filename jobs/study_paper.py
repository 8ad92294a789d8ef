"""What the paper says about each figure, as data with its source: nothing here is measured by us.

Numbers are those of the text and of Table 1. Figures 4 and 5 are pictures whose values the text does not
give, except where it names them; nothing was read off a picture. Rates are shares (0.257 is 25.7%) of people;
ours are of simulated developers, so only directions compare, never levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.study_config import Figure


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of the paper: before (static fine-tuning) and after (Echo)."""

    name: str
    acceptance_rate: tuple[float, float]
    generation_rate: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper claims about one figure, shortened."""

    title: str
    source: str
    """Section of the paper."""
    text: str
    """The claim, close to the paper's words, and what the text lacks."""
    rows: tuple[Row, ...] = ()
    """Numbers that the text gives."""


def _row(name: str, before_ar: float, before_gr: float, after_ar: float, after_gr: float) -> Row:
    """A row in the order of Table 1, percentages as printed there."""
    ar, gr = (before_ar, after_ar), (before_gr, after_gr)
    return Row(
        name, (round(ar[0] / 100, 6), round(ar[1] / 100, 6)), (round(gr[0] / 100, 6), round(gr[1] / 100, 6))
    )


OVERALL = _row("internal", 25.7, 35.2, 35.7, 38.3)
TABLE_1 = (
    _row("All", 25.01, 36.05, 37.55, 40.58),
    _row("Top-6 languages", 26.82, 37.14, 39.70, 42.93),
    _row("Vue", 25.22, 37.22, 38.74, 40.15),
    _row("Python", 24.80, 41.30, 41.78, 46.83),
    _row("Java", 28.59, 31.84, 38.26, 38.98),
    _row("JavaScript/TypeScript", 27.29, 41.43, 40.67, 46.46),
    _row("C/C++", 25.30, 47.67, 39.35, 49.03),
    _row("Go", 31.08, 37.35, 42.91, 44.11),
    _row("Other", 20.53, 32.96, 32.00, 34.69),
)
SIZES = (30_000, 200_000)
"""Smallest and largest training set of figure 5 (samples)."""
VOID_RATIO = 0.1
"""Empty to non-empty samples that the paper found best, at VOID_SAMPLES."""
VOID_SAMPLES = 50_000

CLAIMS: Mapping[Figure, Claim] = {
    "fig4": Claim(
        "Figure 4",
        "5.3",
        "Over five months of refining gap extraction, intent-aligned rewriting, verification and "
        "proportioning, AR rose from 25.7% to 35.7% and GR from 35.2% to 38.3%, in a steady, monotonic "
        "increase. The text gives no value between, no interval, and no other arm at the same time.",
        (OVERALL,),
    ),
    "table1": Claim(
        "Table 1",
        "5.4",
        "AR and GR of external users rose overall and in every language. No interval or number of users is "
        "given.",
        TABLE_1,
    ),
    "fig5": Claim(
        "Figure 5",
        "5.5",
        "Python, 30,000 to 200,000 samples: BLEU improves with the volume of experience, without a plateau; "
        "outliers are put down to instabilities of training. The text gives no value.",
    ),
    "void": Claim(
        "Void distribution",
        "4.5",
        "One empty sample for ten others is best at 50,000 samples; more make the model overly conservative, "
        "and as the data grow the share of empty samples should fall. No value is given.",
    ),
    "length": Claim(
        "Length-based distribution",
        "4.5",
        "Extremely short targets are to be sampled down, medium ones up, extremely long ones down. No value "
        "is given.",
    ),
    "ppl": Claim(
        "PPL-based denoising",
        "4.5",
        "Surprising edits, such as pasted blocks, are sampled down so that the model learns general coding "
        "logic. No value is given.",
    ),
    "placebo": Claim("Controls", "5", "The paper has no placebo and no control at the same time."),
    "loop": Claim(
        "Continuous learning",
        "5.5 and 6.2",
        "Gains continue as interaction data accumulate, a self-reinforcing flywheel. The paper shows one "
        "round.",
    ),
}


def depth(acceptance_rate: float, generation_rate: float) -> float:
    """Characters of the model per typed character, for each acceptance per proposal shown.

    It falls when AR rises because proposals are shorter or rarer, and stays when the same proposals are
    merely accepted more often: `GR / (1 - GR) / AR` (GR as a ratio of volumes, our reading).
    """
    return generation_rate / (1 - generation_rate) / acceptance_rate
