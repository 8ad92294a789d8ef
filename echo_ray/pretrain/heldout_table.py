"""The held-out report of base models as Markdown, for a model card (`heldout` says what the figures mean)."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(report: Mapping[str, Any]) -> str:
    """The report as Markdown, for a model card."""
    names = list(report["models"])
    parts = [_facts(report), _language_table(report, names), _length_table(report, names)]
    return "\n\n".join(parts) + "\n"


def _facts(report: Mapping[str, Any]) -> str:
    rule = report["rule"]
    files = ", ".join(f"{name} {count:,}" for name, count in sorted(report["heldout_files"].items()))
    excluded = ", ".join(report["excluded"]) or "none"
    return (
        f"Held-out files by language (never trained on, chosen by the hash of their name): {files}. "
        f"Repositories that no file comes from, because simulated developers work there: {excluded}. "
        f"Bits per byte: spans of {rule['span_bytes']} bytes after at most {rule['context_bytes']} bytes of "
        f"context. Exact match: greedy answers to gaps between {rule['prefix_bytes']} and "
        f"{rule['suffix_bytes']} bytes; an empty gap asks for silence and counts apart. Every model gets the "
        "same characters. Intervals are 95%, over files for bits per byte and for differences, Wilson's for "
        "shares. Held-out files are siblings of training files: the figures compare models, unknown projects "
        "are harder."
    )


def _language_table(report: Mapping[str, Any], names: Sequence[str]) -> str:
    head = "| language | files | spans |"
    head += "".join(f" bits/byte, {name} |" for name in names) + (" difference |" if len(names) == 2 else "")
    head += " gaps |" + "".join(f" exact match, {name} |" for name in names)
    head += " difference |" if len(names) == 2 else ""
    rows = [head, "| --- |" + " --: |" * (head.count("|") - 2)]
    for language, first in report["models"][names[0]]["languages"].items():
        every = [report["models"][name]["languages"][language] for name in names]
        change = report.get("difference", {}).get("languages", {}).get(language)
        row = f"| {language} | {first['files']} | {first['spans']} |"
        row += "".join(
            f" {one['bits_per_byte']:.3f}{_between(one['bits_per_byte_ci95'], 1, 3)} |" for one in every
        )
        row += f" {_signed(change['bits_per_byte'], 1, 3)} |" if change else ""
        row += f" {first['exact']['n']} |" + "".join(f" {_percent(one['exact'])} |" for one in every)
        rows.append(row + (f" {_signed(change['exact'], 100, 1)} |" if change else ""))
    return "\n".join(rows)


def _length_table(report: Mapping[str, Any], names: Sequence[str]) -> str:
    rows = ["| gap, characters | n |" + "".join(f" exact match, {name} |" for name in names)]
    rows.append("| --- |" + " --: |" * (len(names) + 1))
    every = [report["models"][name] for name in names]
    kinds = {kind: [one["by_length"][kind] for one in every] for kind in every[0]["by_length"]}
    kinds |= {
        "one line": [one["single_line"] for one in every],
        "several lines": [one["multi_line"] for one in every],
        "all but silence": [one["exact"] for one in every],
    }
    for kind, figures in kinds.items():
        rows.append(f"| {kind} | {figures[0]['n']} |" + "".join(f" {_percent(one)} |" for one in figures))
    return "\n".join(rows)


def _percent(share: Mapping[str, Any]) -> str:
    if share["share"] is None:
        return "-"
    return f"{100 * share['share']:.1f}%{_between(share['ci95'], 100, 0)}"


def _between(pair: Sequence[float] | None, scale: float, digits: int) -> str:
    return f" ({scale * pair[0]:.{digits}f} to {scale * pair[1]:.{digits}f})" if pair else ""


def _signed(change: Mapping[str, Any], scale: float, digits: int) -> str:
    pair = change["ci95"]
    spread = f" ({scale * pair[0]:+.{digits}f} to {scale * pair[1]:+.{digits}f})" if pair else ""
    return f"{scale * change['estimate']:+.{digits}f}{spread}"
