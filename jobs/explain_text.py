"""The life of a request, and the accounts of a run, for people at a terminal."""

import bisect
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from echo_ray.text import common_prefix
from jobs.charts import duration

Step = Mapping[str, Any]

_MARGIN = 12
_WIDTH = 100
_LINES = 12
"""Most lines of code that are printed of one text."""
_CONFIDENCE = {
    "exact": "exact: every change in between was logged",
    "aligned": "aligned: windows of the document were put together",
    "inferred": "inferred: requests in between are missing from the log",
}
_ENDS = {
    "anchor_edited": "the text before or after the gap was edited",
    "file_switch": "another file was edited",
    "idle": "the session was silent for too long",
    "session_end": "the log of the session ends",
    "lost": "the next window shows nothing that was known",
    "quiescence": "the file was silent",
    "ttl": "the time to watch was over",
}
_LABELS = {
    "log": "logged", "mine": "mined", "distil": "distilled", "verify": "verified", "select": "selected",
    "perplexity": "scored", "balance": "balanced", "pack": "packed", "train": "trained", "export": "exported",
}  # fmt: skip


def life(story: Step) -> str:
    """What `explain` prints of one request."""
    parts = []
    for own in story["lives"]:
        lines = [f"request {story['request_id']} of {own['user']}, session {own['session']}"]
        repeated = [step["stage"] for step in own["steps"]]
        for step in own["steps"]:
            lines += _step(step, show_folder=repeated.count(step["stage"]) > 1)
        if not any(step["stage"] == "train" for step in own["steps"]) and not _left(own):
            lines += _block("", ["no model below this folder was trained on it"])
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _left(own: Step) -> bool:
    return any(step.get("left") for step in own["steps"])


def _step(step: Step, show_folder: bool) -> list[str]:
    lines = _WRITERS[step["stage"]](step)
    if show_folder and step["stage"] not in ("train", "export"):
        lines.append(f"in {step['folder']}, data set {step['data_set']}")
    left = step.get("left")
    if left:
        lines.append(
            f"LEFT HERE: {left['reason']}" + (f" \N{EN DASH} {left['meaning']}" if left["meaning"] else "")
        )
    return _block(_LABELS[step["stage"]], lines)


def _logged(step: Step) -> list[str]:
    when = datetime.fromtimestamp(step["ts_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    asked = f"{step['kind'] or 'automatic'} request of {step['client'] or 'an unnamed client'}"
    model = f"{step['model'] or 'an unnamed model'}" + (f" (arm {step['arm']})" if step["arm"] else "")
    took = "" if step["latency_ms"] is None else f" after {step['latency_ms']:,.0f} ms"
    fate = "which reached the editor" if step["delivered"] else "cancelled before it reached the editor"
    if step["proposal"] is None:
        answer = f"{model} gave no answer" + ("" if step["delivered"] else ", the request was cancelled")
    else:
        answer = f"{model} {'answered' if step['proposal'] else 'stayed silent'}{took}, {fate}"
    lines = [f"{when} in {step['file']} ({step['language']})", f"{asked}; {answer}"]
    lines += _code("cursor", f"{step['before']}\N{LEFT FIVE EIGHTHS BLOCK}{step['after']}")
    if step["proposal"]:
        lines += _code("proposed", step["proposal"])
    events = [_event(event, step["ts_ms"]) for event in step["events"]]
    return [*lines, "events    " + ("; ".join(events) if events else "none were reported")]


def _event(event: Step, asked_ms: int) -> str:
    text = event["type"].replace("_", " ")
    if event["accepted_chars"] is not None:
        text += f" {event['accepted_chars']:,} characters"
    if event["visible_ms"] is not None:
        text += f", visible for {event['visible_ms']:,} ms"
    return f"{text} ({duration((event['ts_ms'] - asked_ms) / 1000)} later)"


def _mined(step: Step) -> list[str]:
    size = step["commit_chars"]
    what = "nothing" if not size else f"{size:,} character{'s' * (size != 1)}"
    sure = _CONFIDENCE.get(step["confidence"] or "", "")
    lines = [f"{what} stood there in the end" + (f" ({sure})" if sure else "")]
    if size:
        lines += _code("left", step["commit"])
    lines += _code("between", f"{step['before']}\N{LEFT FIVE EIGHTHS BLOCK}{step['after']}")
    spent = "" if step["watched_ms"] is None else f" for {duration(step['watched_ms'] / 1000)}"
    seen = "" if step["snapshots"] is None else f" and {step['snapshots']:,} later requests"
    end = step["end_reason"] or "unknown"
    lines.append(f"watched  {spent}{seen}, until {_ENDS.get(end, end)} ({end})")
    if step["human_chars"] is not None:
        lines.append(
            f"written   {step['human_chars']:,} characters typed, {step['model_chars']:,} accepted from a "
            f"model, {step['pasted_chars']:,} pasted"
            + _maybe("; {:,} of this proposal were taken", step["accepted_chars"])
        )
    return lines


def _distilled(step: Step) -> list[str]:
    cuts, target = step["candidates"], step["target"]
    if target == "":
        return ["the target is silence: the user left nothing"]
    by = f"chosen by {step['cut_by']}" if step["cut_by"] else "nobody chose"
    if not cuts:
        return [by, *(_code("target", target) if target else [])]
    lines = [f"{by}, of {len(cuts)} place{'s' * (len(cuts) != 1)} where the target could have ended"]
    for number, cut in enumerate(cuts, start=1):
        mark = "->" if cut["chosen"] else "  "
        lines += _code(f"{mark} {number} {cut['rule']}", cut["text"], width=16)
    return lines if any(cut["chosen"] for cut in cuts) or not target else [*lines, *_code("target", target)]


def _verified(step: Step) -> list[str]:
    if not step["checks"]:
        return [f"evidence  {step['evidence']}"] if step["evidence"] else ["not checked"]
    lines = []
    for check in step["checks"]:
        said = [check["verdict"].replace("_", " "), *filter(None, (check["rule"], check["note"]))]
        lines.append(f"{check['check']:<9} {', '.join(said)}")
        if check["where"] and check["verdict"] != "pass":
            where = check["where"]
            lines += _code("", f"{where['before']}\u27e6{where['span']}\u27e7{where['after']}")
    return lines


def _selected(step: Step) -> list[str]:
    twin = "" if not step["twin"] else f"; nearly the same as sample {step['twin']}"
    return [f"gap {step['gap'] or 'unknown'}{twin}"]


def _scored(step: Step) -> list[str]:
    if step["perplexity"] is None and step["target_tokens"] is None:
        return ["no perplexity"]
    score = "unknown" if step["perplexity"] is None else f"{step['perplexity']:,.2f}"
    return [f"perplexity {score} under the current model" + _maybe(", {:,} tokens", step["target_tokens"])]


def _balanced(step: Step) -> list[str]:
    copies = step["copies"]
    times = "unknown copies" if copies is None else f"{copies} cop{'y' if copies == 1 else 'ies'}"
    return [f"band {step['band'] or 'none'}: {times}; data set {step['data_set']}"]


def _packed(step: Step) -> list[str]:
    if not step["rows"]:
        return ["no row: " + "it does not fit"]
    sizes = ", ".join(
        f"{tokens:,} tokens, {prompt:,} of them prompt"
        for tokens, prompt in zip(step["tokens"], step["prompt_tokens"], strict=False)
    )
    return [f"{step['rows']} row{'s' * (step['rows'] != 1)} of {sizes}"]


def _trained(step: Step) -> list[str]:
    name = f"{step['version']} in {step['model']}" if step["version"] else step["model"]
    data = f"on data set {step['made_from']}, from {step['base']}"
    if step["measured_rows"]:
        return [f"NOT on it: {name}", f"{data}; rows of this person are only measured (held out)"]
    if not step["rows"]:
        return [f"NOT on it: {name}", data]
    most = "at most " if step["cut_short"] else ""
    times = step["rows"] * (step["epochs"] or 0)
    seen = "" if step["epochs"] is None else f", seen {most}{'once' if times == 1 else f'{times} times'}"
    return [name, f"{data}; {step['rows']} row{'s' * (step['rows'] != 1)}{seen}"]


def _exported(step: Step) -> list[str]:
    return [
        f"{step['copies']} cop{'y' if step['copies'] == 1 else 'ies'} as {step['format']} in {step['folder']}"
    ]


_WRITERS: dict[str, Callable[[Step], list[str]]] = {
    "log": _logged, "mine": _mined, "distil": _distilled, "verify": _verified, "select": _selected,
    "perplexity": _scored, "balance": _balanced, "pack": _packed, "train": _trained, "export": _exported,
}  # fmt: skip


def _maybe(form: str, value: Any) -> str:
    return "" if value is None else form.format(value)


def _block(label: str, lines: Sequence[str]) -> list[str]:
    first, *rest = lines or [""]
    return [f"{label:<{_MARGIN}}{first}".rstrip(), *(f"{'':<{_MARGIN}}{line}".rstrip() for line in rest)]


def _code(label: str, text: str, width: int = 10) -> list[str]:
    """Code under a label: one line as it is, several with a bar before them, long texts cut."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[0]:  # begins with a line end: say so
        lines[0] = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
    cut = [
        line if len(line) <= _WIDTH else f"{line[:_WIDTH]}\N{HORIZONTAL ELLIPSIS}" for line in lines[:_LINES]
    ]
    if len(lines) > _LINES:
        cut.append(f"\N{HORIZONTAL ELLIPSIS} {len(lines) - _LINES} more lines")
    shown = [
        json.dumps(line, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("\\\\", "\\") for line in cut
    ]
    return [f"{label if not place else '':<{width}}| {line}" for place, line in enumerate(shown)]


def funnel(value: Step) -> str:
    """The accounts of a run as a table, and whether they agree."""
    rows = [("stage", "rows in", "rows out", "kept", "left here")]
    for item in value["folders"]:
        drops = ", ".join(f"{reason} {count:,}" for reason, count in item["new_drops"].items())
        numbers = (f"{item[key]:,}" for key in ("rows_in", "rows_out", "kept"))
        rows.append((item["stage"], *numbers, drops))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [value["run"]]
    for row, item in zip(rows, [None, *value["folders"]], strict=True):
        cells = [row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in range(1, 4))]
        room = len("  ".join(cells)) + 2
        lines.append("  ".join(cells) + "".join(_wrapped(row[4], room)))
        if item is not None:
            lines += [f"{'':>{room}}! {problem}" for problem in item["problems"]]
    total = sum(item["rows_out"] for item in value["folders"])
    if value["agree"]:
        lines.append(
            f"The ledger and the manifests agree: {len(value['folders'])} folders, {total:,} rows counted "
            "again."
        )
    return "\n".join(lines)


def _wrapped(text: str, indent: int) -> list[str]:
    """Words of the last column, on as many lines as they need."""
    lines, line = [], ""
    for word in text.split(", ") if text else []:
        if line and len(line) + len(word) > max(40, _WIDTH - indent):
            lines.append(line + ",")
            line = word
        else:
            line = f"{line}, {word}" if line else word
    return ["  " + f"\n{'':>{indent}}".join([*lines, line])] if text else []


def neighbours(ids: Sequence[str], wanted: str, most: int = 2) -> list[str]:
    """Of sorted `ids` those that stand beside `wanted` in the alphabet and begin as it does."""
    place = bisect.bisect_left(ids, wanted)
    near = [
        name for name in ids[max(0, place - 1) : place + 1] if common_prefix(name, wanted) * 2 >= len(wanted)
    ]
    return near[:most]
