"""Intent-aligned truncation: from the raw commit CN to the target (paper 4.3).

A commit holds everything that the user wrote before leaving the gap; the target is its beginning, up to
the end of the immediate logical unit. `cuts` proposes where a unit may end; a teacher only chooses one.
Invariant: the target is a prefix of the commit up to trailing white space, by construction and by check
(`accept`), leading text is kept exactly.

Our choice: the paper's teacher is a large language model. The default here is `syntax`, which needs none. A
language model is asked only where there is more than one candidate, and never sees a credential or personal
data (`questions`): distil runs before verify, so those may still be there. A question without a usable
answer costs its row alone.

Not covered: formatting ("readability" in the paper), which would change what the user wrote.
"""

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from echo_ray import schema
from echo_ray.chooser import DROPS, Chooser, Question
from echo_ray.schema import Drop
from echo_ray.stages import conform, extend, rows, teaching
from echo_ray.stages.cuts import Cut, Limits, candidates, immediate


class DistilConfig(Limits):
    """Settings of `distil`."""

    input: Path | None = None
    """Folder of mined samples."""
    output: Path | None = None
    """Folder for the distilled samples."""
    teacher: Literal["syntax", "vllm", "openai"] = "syntax"
    """Who chooses among the candidate cuts: `syntax` (rules, no model), or a language model with the settings
    of section `teacher`: `vllm` (a model folder, run here) or `openai` (an endpoint)."""


NEEDED = ("sample_id", "prefix", "suffix", "commit")
"""Columns without which there is nothing to distil; others may be missing."""


def accept(answer: str, commit: str) -> str | Drop:
    """The target that `answer` stands for, or TEACHER_REWROTE (paper 4.3).

    The answer must be a prefix of `commit` up to trailing white space and must not end inside a word.
    An empty answer to a commit that is not empty is a rewrite too: silence is not what the user did.
    """
    target = answer.rstrip()
    if not commit.startswith(target) or (not target and commit.strip()):
        return Drop.TEACHER_REWROTE
    if target and _in_word(target[-1]) and _in_word(commit[len(target) : len(target) + 1]):
        return Drop.TEACHER_REWROTE
    return target


def distil(table: pa.Table, config: DistilConfig, teacher: Chooser | None = None) -> pa.Table:
    """SAMPLE rows to DISTILLED rows; rows that already have a `drop` keep a null target. A null commit or
    context is TEACHER_NO_CUT.

    Without a `teacher` the rules of `cuts` choose, and `cut_by` names the rule; else the teacher does.
    """
    table = conform(table, schema.SAMPLE, NEEDED, "distil")
    drops: list[str | None] = table.column("drop").to_pylist()
    targets: list[str | None] = [None] * len(drops)
    cut_by: list[str | None] = [None] * len(drops)
    offered: list[list[Cut] | None] = [None] * len(drops)
    asked: list[tuple[int, str, list[Cut]]] = []
    questions: list[Question] = []
    names = ("prefix", "commit", "suffix", "language", "sample_id")
    for row, (prefix, commit, suffix, language, key) in enumerate(rows(table, names)):
        if drops[row] is not None:
            continue
        if commit is None or prefix is None or suffix is None:
            drops[row] = Drop.TEACHER_NO_CUT.value
            continue
        if not commit.strip():
            targets[row], cut_by[row] = "", "void"
            continue
        cuts = candidates(prefix, commit, suffix, language, config)
        offered[row] = cuts
        if not cuts:
            drops[row] = Drop.TEACHER_NO_CUT.value
        elif teacher is not None and len(cuts) > 1:
            asked.append((row, commit, cuts))
            questions.append(teaching.question(key, prefix, commit, suffix, language, cuts))
        else:
            cut = cuts[immediate(cuts)]
            targets[row], cut_by[row], drops[row] = _taken(commit, cut, cut.rule)
    if teacher is not None and questions:
        for (row, commit, cuts), reply in zip(asked, teacher.ask(questions), strict=True):
            if reply.choice is not None:
                targets[row], cut_by[row], drops[row] = _taken(commit, cuts[reply.choice], teacher.name)
            elif reply.failure is not None:
                drops[row] = DROPS[reply.failure].value
    columns: dict[str, list[Any]] = {
        "drop": drops,
        "target": targets,
        "cut_by": cut_by,
        "cuts": [as_rows(cuts) for cuts in offered],
    }
    return extend(table, schema.DISTILLED, columns)


def _taken(commit: str, cut: Cut, chooser: str) -> tuple[str | None, str | None, str | None]:
    """(target, cut_by, drop) of a row whose commit ends at `cut`."""
    target = accept(commit[: cut.stop], commit)
    return (None, None, target.value) if isinstance(target, Drop) else (target, chooser, None)


def as_rows(cuts: list[Cut] | None) -> list[dict[str, Any]] | None:
    """Cuts as the column `cuts` holds them."""
    return None if cuts is None else [cut._asdict() for cut in cuts]


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
