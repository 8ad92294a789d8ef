"""Grounded verification of targets (paper 4.4): boundary, correctness, safety.

The checks of `echo_ray.checks` all run, in the order of `Check`; none needs a model. Every finding is stored
in `checks` (except "nothing to check here"), the first that fails names the `drop`, and `evidence` says in
one line what decided. Rows that have a `drop` pass untouched, with null `evidence` and `checks`.

Where nothing fails but a check is unsure, a judge is asked if there is one (`chooser.Chooser`), in one
batch at the end so that an engine can work on all questions at once; what it says is the last finding.
Without a judge such rows stay. A judge that gives no usable answer costs that row (`teacher_...`).

Input is any table with `sample_id`, `prefix`, `suffix` and `target`; absent columns are null, a null commit
is its target. A null target on a row without a `drop` is a row that nobody distilled: `teacher_no_cut`.

Invariant: a row's verdict depends on that row alone (the judge's answer on its question alone).
Our choice: the paper asks a language model about every sample; thin rules decide what they are sure of.
Not covered: faults that show only when the code runs, or in another file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from echo_ray import schema
from echo_ray.checks import indentation, malice, names, personal, repeats, secrets, splice, voids
from echo_ray.checks.case import Case, Check, Finding, Verdict
from echo_ray.chooser import Chooser, Question
from echo_ray.config import Config
from echo_ray.schema import Drop, LastEdit
from echo_ray.stages import conform, extend, judging, rows


class VerifyConfig(Config):
    """Settings of `verify`."""

    input: Path | None = None
    """Folder of distilled samples."""
    output: Path | None = None
    """Folder for the verified samples."""
    void: bool = True
    """Check that empty and non-empty targets fit their context."""
    void_deletion: bool = True
    """Code after a deletion is a void conflict."""
    void_navigation: bool = True
    """Code after the cursor only moved is a void conflict."""
    void_comment: bool = True
    """Going on with the prose of a comment is a void conflict."""
    void_finished: bool = True
    """Going on to the next line behind a finished statement is a void conflict."""
    sentinel: bool = True
    """Check that the target holds no special token of a model."""
    repeat: bool = True
    """Check that the target does not say again what the suffix says."""
    syntax: bool = True
    """Check that the target adds no syntax errors."""
    indentation: bool = True
    """Check that the target's lines stand at indentations that fit."""
    names: bool = True
    """Check that the target uses names that exist, spelled as they are elsewhere."""
    secrets: bool = True
    """Check that the target holds no credential."""
    personal: bool = True
    """Check that the target holds no personal data."""
    malice: bool = True
    """Check that the target does no harm."""
    judge: Literal["none", "vllm", "openai"] = "none"
    """Who decides where the rules are unsure: nobody (such samples stay), or a language model (section
    `judge`)."""
    tolerance: int = Field(0, ge=0)
    """Syntax errors that a target may add (count)."""
    window_chars: int = Field(8_000, ge=200)
    """Characters on each side of the cursor that the checks see."""


NEEDED = ("sample_id", "prefix", "suffix", "target")
"""Columns without which there is nothing to verify; a null target is allowed."""

_COLUMNS = (
    "sample_id",
    "drop",
    "prefix",
    "target",
    "suffix",
    "commit",
    "language",
    "prefix_complete",
    "suffix_complete",
    "last_edit",
)
_EDITS = {edit.value: edit for edit in LastEdit}
_CHECK_TYPE: pa.ListType = schema.VERIFIED.field("checks").type

Found = tuple[Check, Finding]
"""A check and what it says."""
Rule = tuple[Check, Callable[[Case], Finding]]


def verify(table: pa.Table, config: VerifyConfig, judge: Chooser | None = None) -> pa.Table:
    """DISTILLED rows to VERIFIED rows, `judge` asked where the rules are unsure.

    Raises SchemaError when a needed column is absent, or one is of another type.
    """
    table = conform(table, schema.DISTILLED, NEEDED, "verify")
    wanted = rules(config)
    drops: list[str | None] = []
    found: list[list[Found] | None] = []
    asked: list[tuple[int, Question]] = []
    for row, (sample_id, drop, prefix, target, suffix, commit, *more) in enumerate(rows(table, _COLUMNS)):
        drops.append(drop)
        found.append(None)
        if drop is not None:
            continue
        if target is None:
            drops[row] = Drop.TEACHER_NO_CUT.value
            continue
        language, prefix_complete, suffix_complete, edit = more
        commit = target if commit is None else commit
        case = Case(prefix or "", target, suffix or "", commit, language, prefix_complete, suffix_complete)
        case.last_edit, case.window_chars = _EDITS.get(edit), config.window_chars
        findings = [(check, rule(case)) for check, rule in wanted]
        found[row] = [pair for pair in findings if pair[1].verdict is not Verdict.NOT_APPLICABLE]
        failed = first(findings, Verdict.FAIL)
        if failed is not None:
            drops[row] = _value(failed.drop)
        elif judge is not None and first(findings, Verdict.UNSURE) is not None:
            asked.append((row, judging.question(sample_id, case, [finding for _, finding in findings])))
    if judge is not None and asked:
        replies = judge.ask([question for _, question in asked])
        for (row, question), reply in zip(asked, replies, strict=True):
            finding = judging.finding(reply, question)
            (found[row] or []).append((Check.JUDGE, finding))
            if finding.verdict is Verdict.FAIL:
                drops[row] = _value(finding.drop)
    columns: Mapping[str, Sequence[str | None]] = {
        "drop": drops,
        "evidence": [None if findings is None else evidence(findings) for findings in found],
    }
    result = extend(table.append_column("checks", _stored(found)), schema.VERIFIED, columns)
    assert result.num_rows == table.num_rows
    return result


def rules(config: VerifyConfig) -> list[Rule]:
    """The checks that `config` asks for, in the order of `Check`."""

    def void(case: Case) -> Finding:
        return voids.check(
            case,
            deletion=config.void_deletion,
            navigation=config.void_navigation,
            comment=config.void_comment,
            finished=config.void_finished,
        )

    def spliced(case: Case) -> Finding:
        return splice.check(case, config.tolerance)

    every: tuple[tuple[bool, Check, Callable[[Case], Finding]], ...] = (
        (config.secrets, Check.SECRET, secrets.check),
        (config.personal, Check.PII, personal.check),
        (config.malice, Check.MALICE, malice.check),
        (config.void, Check.VOID, void),
        (config.sentinel, Check.SENTINEL, repeats.sentinel),
        (config.repeat, Check.REPEAT, repeats.check),
        (config.syntax, Check.SYNTAX, spliced),
        (config.indentation, Check.SYNTAX, indentation.check),
        (config.names, Check.NAME, names.check),
    )
    return [(check, rule) for wanted, check, rule in every if wanted]


def first(findings: Iterable[Found], verdict: Verdict) -> Finding | None:
    """The first finding with that verdict."""
    return next((finding for _, finding in findings if finding.verdict is verdict), None)


def evidence(findings: Sequence[Found]) -> str:
    """One line about what decided: the first failure, else the judge, else what was unsure, else the last
    words of a pass.
    """
    judged = next((finding for check, finding in findings if check is Check.JUDGE), None)
    decided = first(findings, Verdict.FAIL) or judged or first(findings, Verdict.UNSURE)
    if decided is not None:
        unsure = "unsure, " if decided.verdict is Verdict.UNSURE else ""
        return " ".join(f"{unsure}{decided.rule}: {decided.note}".strip(": ").split())
    noted = [finding.note for _, finding in findings if finding.note]
    return " ".join(noted[0].split()) if noted else "nothing found" if findings else "unchecked"


def _value(drop: Drop | None) -> str:
    assert drop is not None, "a check that fails names its reason"
    return drop.value


def _stored(found: Sequence[Sequence[Found] | None]) -> pa.Array:
    """The column `checks`, built by columns: a quarter of the time of a list of dictionaries."""
    offsets: list[int | None] = []
    flat: list[Found] = []
    for findings in found:
        offsets.append(None if findings is None else len(flat))
        flat += findings or ()
    item = _CHECK_TYPE.value_type
    columns = (
        [check.value for check, _ in flat],
        [finding.verdict.value for _, finding in flat],
        [finding.rule for _, finding in flat],
        [finding.start for _, finding in flat],
        [finding.stop for _, finding in flat],
        [finding.note for _, finding in flat],
    )
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, item, strict=True)]
    structs = pa.StructArray.from_arrays(arrays, fields=list(item))
    return pa.ListArray.from_arrays(
        pa.array([*offsets, len(flat)], type=pa.int32()), structs, type=_CHECK_TYPE
    )
