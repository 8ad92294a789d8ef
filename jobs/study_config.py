"""Settings of `study`: the arms of one figure of the paper, what is measured of them, and what is compared.

An arm is a way from the log to a model, written as what it leaves out or breaks; everything else is as in
`loop`, with the settings of the sections beside `study`. Defaults are the whole pipeline, so `{name: M5}` is
the complete arm. Nothing here says in which order things are done or what is shared: `study_plan`.

Not covered: arms that differ in how they are served; for these see `simulate.engine` and `experiment`.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from echo_ray.config import Config

BASE = "base"
"""The model that training starts from, as an arm that is not trained."""
Figure = Literal["fig4", "table1", "fig5", "void", "length", "ppl", "placebo", "loop"]
Measure = Literal["simulated", "bench"]
Part = Literal["void", "length", "perplexity"]
PARTS: tuple[Part, ...] = ("void", "length", "perplexity")
_NAME = re.compile(r"[A-Za-z][\w.'+-]*\Z")
_OWN = ("static", "same_files")


class Arm(Config):
    """One way from the log to a model."""

    name: str
    """How the arm is called, in the paper's terms where it has one (`M0`, `M5`)."""
    about: str = ""
    """What it is, in a few words, for the page."""
    samples: Literal["gaps", "raw_log", "static", "same_files"] = "gaps"
    """`gaps`: mined from the log. `raw_log`: the next request as the answer. `static`: cuts of
    `study.static_sources`. `same_files`: cuts of the documents that the log shows, in their last state."""
    target: Literal["intent", "whole", "accepted"] = "intent"
    """`intent`: what `distil` cuts. `whole`: the commit as it is. `accepted`: what the user took of the
    proposal."""
    verified: bool = True
    """Run the checks of `verify`; false lets everything pass."""
    selected: bool = True
    """Keep the limits of `select` on repetition, duplicates and loud users; false lets everything pass."""
    proportions: tuple[Part, ...] = PARTS
    """What `balance` adjusts; an empty list leaves the mixture as it came."""
    placebo: Literal["none", "shuffled_targets", "random_voids", "random_cuts"] = "none"
    """Break one signal of the balanced data, and nothing else."""
    paste_share: float = Field(0.0, ge=0, le=1)
    """Share of the mined samples that become pasted blocks of foreign code."""
    size: int | None = Field(None, ge=1)
    """Samples that are trained on (count); a smaller arm's are among a larger one's. Absent: all."""
    tokens_of: str | None = None
    """Train on as many target tokens as this arm does."""
    log_of: str = BASE
    """Arm whose model answered the developers who left the log; an earlier one, or `base`."""
    start_from: str = BASE
    """Arm whose model training starts from; an earlier one, or `base`."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of other sections that differ for this arm, e.g. `{balance: {void_ratio: 0.2}}`."""
    measures: tuple[Measure, ...] | None = None
    """What is measured of it; `study.measures` when absent."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not _NAME.match(self.name) or self.name == BASE:
            raise ValueError(f"name={self.name} must begin with a letter, hold no spaces, and not be {BASE}")
        if self.samples in _OWN and (
            self.placebo != "none" or self.paste_share or self.size or self.target != "intent"
        ):
            raise ValueError(
                f"arm {self.name} has samples={self.samples}, which nobody mined: leave out placebo, "
                "paste_share, size and target"
            )
        if self.samples == "raw_log" and self.target == "accepted":
            raise ValueError(f"arm {self.name} cannot have samples=raw_log and target=accepted")
        return self


class Contrast(Config):
    """One question: does an arm differ from another?"""

    treatment: str
    """Arm that is asked about."""
    control: str
    """Arm that it is compared with."""
    primary: bool = False
    """Answered first and on its own; all others share one correction for many questions."""


class Population(Config):
    """Developers who are measured; nobody among them gave experience."""

    name: str
    """How they are called on the page; in `table1` the language of a row."""
    users: int = Field(24, ge=2)
    """Developers (count), the same for every arm."""
    simulate: dict[str, Any] = Field(default_factory=dict)
    """Settings of `simulate` that differ: `sources`, `languages`, `seed`, ..."""


class StudyConfig(Config):
    """Settings of `study`."""

    figure: Figure = "fig4"
    """Which figure or table of the paper, or which question beside it."""
    title: str = ""
    """Headline of the page."""
    output: Path = Path("runs/study")
    """Folder of all steps; studies that share it share the steps that they have in common."""
    report: Path | None = None
    """Folder for `study.json`, `study.html` and `plan.json`. Absent: one named by the figure, in `output`."""
    arms: tuple[Arm, ...] = ()
    """What is trained."""
    contrasts: tuple[Contrast, ...] = ()
    """What is compared, each population and each seed."""
    populations: tuple[Population, ...] = (Population(name="held out"),)
    """Who is measured."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    """Training seeds; each arm is trained once with each."""
    measures: tuple[Measure, ...] = Field(("simulated",), min_length=1)
    """`simulated`: developers work with the model (AR, GR). `bench`: BLEU and exact match on gaps of
    held-out developers."""
    correction: Literal["holm", "bh"] = "holm"
    """Of the contrasts that are not primary: `holm` where each must hold, `bh` for languages."""
    static_sources: list[str] = Field(default_factory=list)
    """Where static samples and pasted blocks come from: as `simulate.sources`, other projects."""
    static_cuts: int = Field(20_000, ge=1)
    """Cuts of source files to choose from, for `static` and `same_files` (count)."""
    bench_users: int = Field(24, ge=1)
    """Developers whose gaps make the benchmark; they work with `base`, on held-out files (count)."""
    draw_seed: int = 0
    """Seed of subsets, static cuts, placebos and noise; the same for all training seeds."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = [arm.name for arm in self.arms]
        for kind, names in (("arms", known), ("populations", [one.name for one in self.populations])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: two are called {twice[0]}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} holds one twice")
        by_name = {arm.name: arm for arm in self.arms}
        for number, arm in enumerate(self.arms):
            earlier = (BASE, *known[:number])
            for key in ("log_of", "start_from"):
                wanted = getattr(arm, key)
                if wanted not in earlier:
                    raise ValueError(
                        f"arm {arm.name}: {key}={wanted} is none of the arms before it: {', '.join(earlier)}"
                    )
            if arm.tokens_of is not None:
                other = by_name.get(arm.tokens_of)
                if other is None or other is arm or other.tokens_of is not None:
                    raise ValueError(
                        f"arm {arm.name}: tokens_of={arm.tokens_of} must be another arm without tokens_of"
                    )
            if (arm.samples == "static" or arm.paste_share) and not self.static_sources:
                raise ValueError(f"arm {arm.name} needs study.static_sources: name other projects")
        for contrast in self.contrasts:
            for name in (contrast.treatment, contrast.control):
                if name != BASE and name not in by_name:
                    raise ValueError(f"contrasts: {name} is none of the arms {', '.join([BASE, *known])}")
                if name != BASE and "simulated" not in self.measured(by_name[name]):
                    raise ValueError(f"contrasts: {name} is compared, so its measures must hold simulated")
            if contrast.treatment == contrast.control:
                raise ValueError(f"contrasts: {contrast.control} is compared with itself")
        return self

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises KeyError for `base` and unknown names."""
        return {arm.name: arm for arm in self.arms}[name]

    def measured(self, arm: Arm) -> tuple[Measure, ...]:
        """What is measured of `arm`."""
        return self.measures if arm.measures is None else arm.measures
