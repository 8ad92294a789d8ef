"""The page of a comparison: tables that a newcomer can read, with what every column means below them."""

from collections.abc import Callable
from typing import Any

from echo_ray.stages.mine import Termination

Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]

_MATCH = ("precision", "recall", "exact", "short", "F1")
"""Columns that need to know what was really left."""

_LEGEND = """\
A gap opens at every request: it is the text between the two sides of its cursor. The true text is what
stood there just before an edit outside the gap ended it{truth}.

- *requests seen*: what of the log the miner was given: all, the uncancelled ones, every n-th of a session,
  or all with contexts cut to a few lines. n is their number.
- *policy*: when a gap closes at the latest. `contextual_break`: an edit touches either side or another
  file, or nothing happens for {idle_s:g} s. `quiescence`: also {quiescence_s:g} s without a request in the
  file. `ttl`: also {ttl_s:g} s after the request. `oracle`: the truth itself, which saw every edit.
- *yield*: requests whose commit has text and no reason to drop it.
- *precision*: of the yield, how many commits are exactly the true text. *recall*: of the requests where
  text was left ({texts:,} of all), how many have exactly it; *short*: how many got only its beginning, or
  nothing. What is typed after the last request of a gap is in no log of requests. *exact*: of all
  requests, those where nothing was left included, how many have exactly what was left.
- *F1*: characters shared in order, 2 x shared / both lengths, mean where text was left. Shared are the
  common start and end, or all of the shorter text when the longer one contains it.
- *last look*: from the request to the last request that saw both sides intact; the oracle's is the last
  edit. *known*: until a live miner could be sure, the policy's own waiting included."""


def page(summary: dict[str, Any]) -> str:
    """Markdown of `compare.json`: policies by density, intents, acceptances."""
    rows: list[Row] = [row for row in summary["rows"] if row["source"] == "all"]
    first = [row for row in rows if row["density"] == rows[0]["density"]]
    known = any(row["truth_known"] for row in rows)
    count, name = len(summary["sources"]), summary["sources"][0] if summary["sources"] else ""
    what = f"{count} recordings" if count > 1 else "one log" if name == "log" else f"the recording {name}"
    lines = [f"# Mining policies compared on {summary['requests']:,} requests of {what}", ""]
    if summary["truth"] is not None and summary["requests_without_truth"]:
        lines += [f"The truth does not know {summary['requests_without_truth']:,} of them.", ""]
    if not known:
        lines += ["What was really left is not known (no `compare.truth`), so nothing can be matched.", ""]
    columns = {name: cell for name, cell in _columns().items() if known or name not in _MATCH}
    lines += ["Shares in %; times in seconds, median / 90th percentile.", "", *_table(rows, columns), ""]
    if count > 1:
        lines += ["The same figures for each recording are in compare.json.", ""]
    texts = max((row["truth_with_text"] for row in first), default=0)
    truth = " (as the simulator knows)" if summary["truth"] is not None else ""
    lines.append(_LEGEND.format(truth=truth, texts=texts, **summary["settings"]))
    if known and summary["clients"]:
        lines += ["", *_clients(summary["clients"])]
    if any(row.get("intents") for row in first):
        lines += ["", *_intents(first)]
    return "\n".join([*lines, "", *_acceptance(summary["acceptance"]), ""])


def _columns() -> Columns:
    return {
        "n": lambda row: f"{row['requests']:,}",
        "yield": lambda row: percent(row["yield"]),
        "precision": lambda row: percent(row["precision"]),
        "recall": lambda row: percent(row["recall"]),
        "exact": lambda row: percent(row["exact"]),
        "short": lambda row: percent(row["cut_short"]),
        "F1": lambda row: percent(row["character_f1"]),
        "last look": lambda row: f"{number(row['last_look_p50_s'])} / {number(row['last_look_p90_s'])}",
        "known": lambda row: f"{number(row['known_p50_s'])} / {number(row['known_p90_s'])}",
    }


def _clients(rows: list[Row]) -> list[str]:
    shown = [row for row in rows if row["policy"] == Termination.CONTEXTUAL_BREAK and row["truth_known"]]
    grid = [["client", "requests seen", "n", "with text", "yield", *_MATCH]]
    client = None
    for row in shown:
        match = [_columns()[name](row) for name in _MATCH]
        counts = [f"{row['requests']:,}", f"{row['truth_with_text']:,}", percent(row["yield"])]
        grid.append(["" if row["client"] == client else row["client"], row["density"], *counts, *match])
        client = row["client"]
    return [
        "## By client",
        "",
        "The same under `contextual_break`, by the products that the user agent names; *with text*: requests",
        "where text was left. The other policies are in compare.json.",
        "",
        *_grid(grid, words=2),
    ]


def _intents(rows: list[Row]) -> list[str]:
    columns: Columns = {
        "n": lambda row: f"{row['intents']:,}",
        "equals it": lambda row: percent(row["intent_equal"]),
        "starts with it": lambda row: percent(row["intent_reached"]),
        "is a beginning of it": lambda row: percent(row["intent_part"]),
    }
    return [
        "## Commits and what the developer meant to write",
        "",
        "How often the commit equals the intent, starts with all of it, or is a beginning of it, in % of the",
        "requests sent on the way to it (no slip or repair stood) with something left to write. The intent",
        "is all that was still to be written there, often many lines; a commit stops where its gap closed.",
        "",
        *_table([row for row in rows if row.get("intents")], columns),
    ]


def _acceptance(found: dict[str, Row]) -> list[str]:
    lines = ["## Acceptances inferred from the requests alone, against reported ones", ""]
    if not found:
        return [*lines, "Nobody reported what became of a delivered proposal, so nothing can be compared."]
    for reporter, row in found.items():
        grid = [
            ["proposals", "reported", "not reported"],
            ["inferred", f"{row['true_positives']:,}", f"{row['false_positives']:,}"],
            ["not inferred", f"{row['false_negatives']:,}", f"{row['true_negatives']:,}"],
        ]
        lines += [
            f"Reporter: {reporter}; {row['proposals']:,} delivered proposals with text.",
            "",
            *_grid(grid, words=1),
            "",
            f"Precision {percent(row['precision'])}%, recall {percent(row['recall'])}%, Cohen's kappa "
            f"{number(row['kappa'], 2)} (1: full agreement, 0: no better than chance).",
        ]
        if row["true_positives"] + row["false_negatives"] == row["proposals"]:
            lines.append("Every one was reported as accepted, so nothing shows wrongly inferred acceptances.")
        lines.append("")
    return lines[:-1]


def _table(rows: list[Row], columns: Columns) -> list[str]:
    grid = [["requests seen", "policy", *columns]]
    density = None
    for row in rows:
        shown = "" if row["density"] == density else row["density"]
        density = row["density"]
        grid.append([shown, row["policy"], *(cell(row) for cell in columns.values())])
    return _grid(grid, words=2)


def _grid(grid: list[list[str]], words: int) -> list[str]:
    """A table with aligned columns; the first `words` of them are text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = []
    for row in grid:
        padded = [
            cell.ljust(width) if index < words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
    rules = ["-" * width + ("-" if index < words else ":") for index, width in enumerate(widths)]
    return [lines[0], f"|-{'|-'.join(rules)}|", *lines[1:]]


def percent(share: float | None) -> str:
    """A share from 0 to 1 in per cent; "-" of nothing."""
    return "-" if share is None else f"{100 * share:.1f}"


def number(value: float | None, digits: int = 1) -> str:
    """A number; "-" of nothing."""
    return "-" if value is None else f"{value:,.{digits}f}"
