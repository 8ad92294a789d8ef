"""Credentials: found in every language, located, never repeated; harmless lookalikes left alone."""

import random
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import rng
from echo_ray.checks import mask, personal, placeholders, secret_rules, secrets
from echo_ray.checks.case import Case, Finding, Verdict
from echo_ray.schema import Drop
from tests.corruption_safety import CATEGORIES, NAMED, PERSONAL, TOKENS, Draw, Payload, lookalikes, payloads

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
LANGUAGES = ("cpp", "go", "java", "javascript", "python", "typescript", "vue")
CHECKS = {"secret": secrets.check, "pii": personal.check}

MESSY = st.text(
    alphabet=st.one_of(
        st.sampled_from("aA1 é\"'`=:/@.,-_+(){}[]<>$%#;|&\n\tgkſıİ\ud800\u0307"), st.characters()
    ),
    max_size=200,
)


def case(target: str, language: str = "python", prefix: str = "x = 1\n", suffix: str = "\ny = 2\n") -> Case:
    return Case(prefix, target, suffix, target, language)


def found(payload: Payload) -> Finding:
    return CHECKS[payload.category](case(payload.text, payload.language))


@pytest.mark.parametrize("kind", sorted({*TOKENS, *NAMED}))
def test_every_kind_of_credential_is_found_in_every_language(kind: str) -> None:
    planted = [payload for seed in range(4) for payload in payloads("secret", seed) if payload.kind == kind]
    missed = [payload for payload in planted if found(payload).verdict is not Verdict.FAIL]
    assert len({payload.language for payload in planted}) == 8
    # A value beside a name in another attribute (`<input v-model="password" value="...">`) is not seen.
    assert [payload for payload in missed if "v-model" not in payload.text] == []


def test_at_least_95_percent_of_all_planted_credentials_are_found() -> None:
    planted = [payload for seed in range(8) for payload in payloads("secret", seed)]
    assert sum(found(payload).verdict is Verdict.FAIL for payload in planted) >= 0.98 * len(planted)


@pytest.mark.parametrize(
    ("kind", "drop"),
    [
        ("github classic", Drop.SECRET_TOKEN),
        ("github fine-grained", Drop.SECRET_TOKEN),
        ("basic auth url", Drop.SECRET_PASSWORD),
        ("password", Drop.SECRET_PASSWORD),
        ("openssh private key", Drop.SECRET_PRIVATE_KEY),
        ("base64 key", Drop.SECRET_RANDOM),
    ],
)
def test_the_reason_says_what_kind_it_is(kind: str, drop: Drop) -> None:
    planted = [payload for payload in payloads("secret") if payload.kind == kind and payload.language == "go"]
    if kind == "base64 key":
        value = NAMED[kind][1](Draw("reason"))
        assert secrets.check(case(f'sign("{value}")')).drop is drop
        return
    assert [found(payload).drop for payload in planted] == [drop]


@pytest.mark.parametrize("kind", sorted(TOKENS))
def test_a_finding_is_located_and_never_repeats_the_secret(kind: str) -> None:
    for seed in range(3):
        value = TOKENS[kind](Draw("located", seed, kind))
        target = f'connect("{value}")'
        finding = secrets.check(case(target))
        assert finding.start is not None
        assert finding.stop is not None
        assert 0 <= finding.start < finding.stop <= len(target)
        inner = target[finding.start : finding.stop]
        assert inner in value or value in inner or value[:20] in inner
        said = f"{finding!r} {secrets.scan(target)!r}"
        assert not any(value[at : at + 12] in said for at in range(8, len(value) - 12))


def test_a_secret_that_begins_in_the_prefix_is_found_and_one_beside_the_target_is_not() -> None:
    value = TOKENS["github classic"](Draw("halves"))
    line = f'token = "{value}"'
    cut = line.index(value) + 10
    begun = secrets.check(Case("import os\n" + line[:cut], line[cut:], "\n", line[cut:], "python"))
    assert (begun.verdict, begun.start) == (Verdict.FAIL, 0)
    assert secrets.check(Case(f"{line}\n", "x = 1", "\n", "x = 1", "python")).verdict is Verdict.PASS
    assert secrets.check(Case(f"{line}; ", "x = 1", "\n", "x = 1", "python")).verdict is Verdict.PASS
    assert secrets.check(Case("", "x = 1", f"\n{line}", "x = 1", "python")).verdict is Verdict.PASS
    assert secrets.check(Case("", "", "", "", "python")).verdict is Verdict.NOT_APPLICABLE


def test_the_lines_of_a_private_key_are_followed() -> None:
    begin, *body = TOKENS["rsa private key"](Draw("lines")).split("\\n")
    prefix = f'key = """{begin}\n{body[0]}\n'
    finding = secrets.check(Case(prefix, body[1], "\n", body[1], "python"))
    assert (finding.verdict, finding.drop) == (Verdict.FAIL, Drop.SECRET_PRIVATE_KEY)
    assert secrets.check(Case(prefix, "return value", "\n", "return value", "python")).verdict is Verdict.PASS


def test_what_the_log_has_in_place_of_a_secret_is_not_learned() -> None:
    stands = placeholders.placeholder(b"k" * 32, placeholders.SECRET, "sk-123")
    finding = secrets.check(case(f'key = "{stands}"\n'))
    assert (Verdict.FAIL, "placeholder", Drop.SECRET_TOKEN) == (finding.verdict, finding.rule, finding.drop)
    assert Verdict.PASS is secrets.check(case("b = 1\n", prefix=f'key = "{stands}"\n')).verdict


def test_an_allowlist_pragma_is_not_honoured() -> None:
    value = TOKENS["stripe"](Draw("pragma"))
    assert secrets.check(case(f'key = "{value}"  # pragma: allowlist secret')).verdict is Verdict.FAIL


@pytest.mark.parametrize("payload", lookalikes(), ids=lambda payload: payload.text[:60])
def test_lookalikes_are_left_alone(payload: Payload) -> None:
    assert [check(case(payload.text, payload.language)).verdict for check in CHECKS.values()] == [
        Verdict.PASS
    ] * 2


@pytest.mark.parametrize(
    "line",
    [
        'password = getpass("Password: ")',
        'label: { password: "Your password" }',
        'nats.Connect(fmt.Sprintf("nats://%s:%s@%s", user, pass, host))',
        'color = "#deadbeef"',
        "x = secret_key or password",
        'Authorization: "Basic realm"',
        'headers.set("Authorization", "Bearer " + token)',
        'broker_url = "amqp://guest:guest@localhost:5672//"',
        "integrity='sha256-wFNeS+K3n/2TKRMFQ2v4iTFOSj+uwF7P/Lt98xrZ5Ro='",
        'import { SomeVeryLongComponentNameFor2Things } from "@/components/some-very-long-name"',
    ],
)
def test_ordinary_code_is_left_alone(line: str) -> None:
    assert secrets.scan(line) == []


def test_findings_come_in_order_with_their_lines() -> None:
    lines = [TOKENS[kind](Draw("order", kind)) for kind in ("github classic", "stripe", "npm")]
    found = secrets.scan(f'a("{lines[0]}")\nx\nb("{lines[1]}")\nc("{lines[2]}")')
    assert [0, 2, 3] == sorted({finding.line for finding in found})
    assert found == sorted(found, key=lambda finding: finding.start)


def test_the_prefilter_loses_no_planted_credential() -> None:
    texts = [payload.text for seed in range(10) for payload in payloads("secret", seed)]
    assert [text for text in texts if secrets._scan_line(text) and not secret_rules.suspicious(text)] == []


_PIECES = [
    *secret_rules._NEEDLES,
    "key",
    "pass",
    "db_pass",
    "api-key",
    "paſſword",
    "PAſSWORD",
    "apıkey",
    "secRET",
]


@given(
    st.lists(st.one_of(st.sampled_from(_PIECES), st.text("aA1'\"`=:/@. -_({;?&", max_size=12)), max_size=6)
)
@settings(max_examples=400, deadline=None)
def test_what_the_prefilter_stops_holds_nothing(parts: list[str]) -> None:
    line = "".join(parts)
    if not secret_rules.suspicious(line):
        assert secrets._scan_line(line) == set()


@given(MESSY)
@settings(max_examples=200, deadline=None)
def test_no_text_raises_and_spans_lie_inside(text: str) -> None:
    for finding in secrets.scan(text):
        assert 0 <= finding.start < finding.stop <= len(text)
        assert text.count("\n", 0, finding.start) == finding.line
    for check in CHECKS.values():
        verdict = check(case(text))
        assert verdict.start is None or 0 <= verdict.start < (verdict.stop or 0) <= len(text)
    assert mask.mask(text) == text or mask.MASK in mask.mask(text)


@pytest.mark.parametrize("category", ["secret", "pii"])
def test_masked_text_holds_no_secret_and_no_length(category: str) -> None:
    kinds = {"secret": TOKENS, "pii": PERSONAL}[category]
    for kind, make in kinds.items():
        for seed in range(3):
            value = make(Draw("mask", kind, seed))
            masked = mask.mask(f'a = 1\nvalue("{value}") # é\nb = 2')
            assert "***" in masked, kind
            pieces = re.split(r"[:/;=]|\\n", value.partition("@")[0] if category == "secret" else value)
            assert max(pieces, key=len) not in masked, kind
            assert masked.startswith("a = 1\n")
    assert mask.mask("nothing = to_hide()") == "nothing = to_hide()"


def test_a_masked_private_key_keeps_none_of_its_lines() -> None:
    begin, *body = TOKENS["ec private key"](Draw("mask")).split("\\n")
    masked = mask.mask("\n".join(["x = 1", begin, *body, "y = 2"]))
    assert not any(line and line in masked for line in body)


def real_targets(language: str, count: int) -> list[Case]:
    """Pieces of one to eight lines of real files."""
    table = pq.read_table(CORPUS / f"{language}.parquet", columns=["content"])
    draw: random.Random = rng.generator(7, "safety", language)
    cases: list[Case] = []
    while len(cases) < count:
        content = table.column("content")[draw.randrange(table.num_rows)].as_py()
        lines = content.split("\n")
        first = draw.randrange(len(lines))
        target = "\n".join(lines[first : first + draw.choice((1, 1, 2, 4, 8))]).strip()
        if target:
            start = content.index(target)
            stop = start + len(target)
            prefix, suffix = content[max(0, start - 3_000) : start], content[stop : stop + 1_000]
            cases.append(Case(prefix, target, suffix, target, language))
    return cases


@pytest.mark.parametrize("language", LANGUAGES if CORPUS.is_dir() else ())
def test_false_alarms_on_real_code_stay_within_the_budget(language: str) -> None:
    cases = real_targets(language, 800)
    lost = [c.target for c in cases for check in CHECKS.values() if check(c).verdict is not Verdict.PASS]
    assert len(lost) <= 0.01 * len(cases), lost


def test_payloads_are_the_same_every_time() -> None:
    for category in CATEGORIES:
        assert payloads(category, 3) == payloads(category, 3)
        assert payloads(category, 3) != payloads(category, 4)
    assert len({payload.kind for payload in payloads("secret")}) >= 25
    assert len({payload.kind for payload in payloads("pii")}) >= 7
    assert len(payloads("malicious")) >= 25
