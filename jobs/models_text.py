"""What `echo-ray models` answers, for people: tables and paragraphs of the plain values in `models`."""

from collections.abc import Callable, Sequence
from typing import Any

Value = dict[str, Any]
_MARGIN = 11


def listed(value: Value) -> str:
    """Versions as a table; for a registry without any, how to add one."""
    if not value["versions"]:
        return (
            f"{value['registry']} holds no model yet: echo-ray models add FOLDER adds one, the output of a "
            "training or a model folder"
        )
    head = (
        "version",
        "aliases",
        "added (UTC)",
        "from",
        "data",
        "loss",
        "held out",
        "exact",
        "size",
        "prompt",
    )
    rows = [
        (
            one["version"],
            ", ".join(one["aliases"]),
            one["created_at"][:16].replace("T", " "),
            one["parent"] or one["trained_from"] or "",
            one["data"] or "",
            _number(one["metrics"].get("last_loss")),
            _number(one["metrics"].get("heldout_loss")),
            _number(one["measured"].get("exact_match")),
            _size(one["bytes"]),
            one["family"],
        )
        for one in value["versions"]
    ]
    gone = [f"removed: {', '.join(value['removed'])}"] if value["removed"] else []
    return "\n".join([table(head, rows, right=(5, 6, 7, 8)), *gone])


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns; those in `right` by their right edge, those without any entry left out."""
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    widths = {place: max(len(row[place]) for row in (head, *rows)) for place in kept}
    lines = [
        "  ".join(
            row[place].rjust(widths[place]) if place in right else row[place].ljust(widths[place])
            for place in kept
        ).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def shown(value: Value) -> str:
    """Everything about one version."""
    names = value["aliases"] or (["removed"] if value["removed"] else [])
    lines = [value["version"] + (f" ({', '.join(names)})" if names else "")]
    lines += _row("model", value["model"])
    lines += _row("content", f"{value['content']}, {_size(value['bytes'])} in {len(value['files'])} files")
    lines += _row("prompt", value["family"])
    note = f": {value['note']}" if value["note"] else ""
    lines += _row(
        "added", f"{_time(value['created_at'])} by {value['by']} with echo_ray {value['echo_ray']}{note}"
    )
    lines += _row("", f"from {value['source']}")
    chain = [one["version"] for one in value["lineage"]]
    if len(chain) == 1 and value["trained_from"]:
        chain.insert(0, f"{value['trained_from']} (not in this registry)")
    lines += _row("lineage", " -> ".join(chain) if len(chain) > 1 else "none known")
    if value["data"]:
        lines += _row("data", f"{value['data']} ({value['rows']:,} rows)")
        lines += _row("training", f"{value['training']}, {value['engine']}")
    lines += _many("metrics", {key: _number(item) for key, item in value["metrics"].items()})
    lines += _many("settings", {key: str(item) for key, item in value["settings"].items()})
    for one in value["figures"]:
        for name, group in one["groups"].items():
            counts = f"{group['samples']:,} samples of {group['users']:,} users of {one['input_fingerprint']}"
            lines += _row("measured" if name == "all" else "", f"{name}: {counts}")
            lines += _many("", {metric: _estimate(told_) for metric, told_ in group["figures"].items()})
    lines += _row("card", value["card"] or "none")
    for place, entry in enumerate(value["history"]):
        lines += _row("history" if not place else "", told(entry))
    return "\n".join(lines)


def told(entry: Value) -> str:
    """One line of the history."""
    number, before = entry.get("version"), entry.get("before")
    what = {
        "promote": f"{entry.get('alias')} from {_name(before)} to {_name(number)}",
        "rollback": f"{entry.get('alias')} back from {_name(before)} to {_name(number)}",
        "unset": f"{entry.get('alias')} from {_name(before)} to nothing",
        "attach": f"figures {entry.get('figures')} attached",
        "note": f"{_name(number)} noted",
    }.get(entry["what"], entry["what"])
    note = f": {entry['note']}" if entry.get("note") else ""
    return f"{_time(entry['at'])} {what}, by {entry['by']}{note}"


def added(value: Value) -> str:
    """What became of an add."""
    if not value["new"]:
        return f"models     {value['version']} has the same content already: {value['model']}"
    size = f"{_size(value['bytes'])}, content {value['content']}"
    return (
        f"models     {value['version']} is {value['model']} ({size})\n"
        f"           echo-ray models promote {value['version']} makes it the champion"
    )


def moved(value: Value) -> str:
    """Where an alias points now."""
    was = f" (it was {value['before']})" if value["before"] else ""
    if value["version"] is None:
        return f"models     {value['alias']} points nowhere now{was}"
    if value["before"] == value["version"]:
        return f"models     {value['alias']} is {value['version']} already: {value['model']}"
    return f"models     {value['alias']} is {value['version']} now{was}: {value['model']}"


def attached(value: Value) -> str:
    """How many figures a version has."""
    count = len(value["figures"])
    return (
        f"models     {value['version']} has {count} set{'s' * (count != 1)} of figures: echo-ray models show"
    )


def verified(value: Value) -> str:
    """Which versions are what they were."""
    names = ", ".join(one["version"] for one in value["verified"])
    size = _size(sum(one["bytes"] for one in value["verified"]))
    return (
        f"models     every byte is as it was added: {names} ({size})"
        if names
        else "models     nothing to verify"
    )


def removed(value: Value) -> str:
    """What is left of a removed version."""
    return (
        f"models     {value['version']} is removed ({_size(value['bytes'])}); its number and its history stay"
    )


def _row(label: str, text: str) -> list[str]:
    return [f"  {label:<{_MARGIN}}{text}".rstrip()]


def _many(label: str, values: dict[str, str]) -> list[str]:
    """Names and values in lines of at most about 100 characters."""
    lines, line = [], ""
    for key, item in values.items():
        part = f"{key} {item}"
        if line and len(line) + len(part) > 90:
            lines.append(line + ",")
            line = part
        else:
            line = f"{line}, {part}" if line else part
    rows = [*lines, line] if line else []
    return [row for place, text in enumerate(rows) for row in _row("" if place else label, text)]


def _estimate(figure: Value) -> str:
    """A figure with its 95% interval, where it has one."""
    if figure["value"] is None:
        return "none"
    interval = "" if figure["ci95"] is None else f" [{', '.join(_number(end) for end in figure['ci95'])}]"
    return _number(figure["value"]) + interval


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _size(count: int) -> str:
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count} B"


def _time(at: str) -> str:
    return at[:19].replace("T", " ")


def _name(number: Any) -> str:
    return "nothing" if number is None else f"v{number}"


WRITERS: dict[str, Callable[[Value], str]] = {
    "list": listed,
    "show": shown,
    "add": added,
    "promote": moved,
    "rollback": moved,
    "unset": moved,
    "attach": attached,
    "verify": verified,
    "remove": removed,
}
