import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.stages import safety

ALNUM = string.ascii_letters + string.digits


def _random(draw: random.Random, alphabet: str, size: int) -> str:
    return "".join(draw.choice(alphabet) for _ in range(size))


def planted(seed: int) -> dict[str, str]:
    """One line of code with a fresh credential of each kind; parts keep scanners off this file."""
    draw = random.Random(seed)
    hexa, lower = string.digits + "abcdef", string.digits + string.ascii_lowercase

    def token(alphabet: str, size: int) -> str:
        return _random(draw, alphabet, size)

    return {
        "AWS Access Key": f'client("{"AK" + "IA"}{token(string.digits + string.ascii_uppercase, 16)}")',
        "Azure Storage Account access key": f'"AccountName=a;Account{"Key="}{token(ALNUM, 86)}=="',
        "Basic Auth Credentials": f'url = "postgres://admin:{token(ALNUM, 12)}@db.internal/x"',
        "Discord Bot Token": f'run("M{token(ALNUM, 23)}.{token(ALNUM, 6)}.{token(ALNUM, 27)}")',
        "GitHub Token": f'headers["Authorization"] = "token gh{"p_"}{token(ALNUM, 36)}"',
        "GitLab Token": f"GITLAB=gl{'pat-'}{token(ALNUM, 20)}",
        "JSON Web Token": 'jwt = "ey' + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" + '"',
        "Mailchimp Access Key": f"mc({token(hexa, 32)}-us{draw.randint(1, 20)})",
        "NPM tokens": f"//registry.npmjs.org/:_auth{'Token='}npm_{token(ALNUM, 36)}",
        "OpenAI Token": f"openai = sk-{token(ALNUM, 20)}T3Blbk{'FJ'}{token(ALNUM, 20)}",
        "Private Key": f"-----BEGIN {'RSA'} PRIVATE KEY-----",
        "PyPI Token": f"pypi-AgEIcHlwaS5vcmc{token(ALNUM, 80)}",
        "SendGrid API Key": f"SG.{token(ALNUM, 22)}.{token(ALNUM, 43)}",
        "Slack Token": f"slack = xox{'b-'}{token(string.digits, 12)}-{token(lower, 24)}",
        "Square OAuth Secret": f"sq0{'csp-'}{token(ALNUM, 43)}",
        "Stripe Access Key": f"stripe.key = sk_{'live_'}{token(ALNUM, 24)}",
        "Telegram Bot Token": f"bot({token('123456789', 9)}:{token(ALNUM, 35)})",
        "Twilio API Key": f"twilio({'S' + 'K'}{token(hexa, 32)})",
        "Secret Keyword": f'db_password = "{token(string.ascii_lowercase, 7)}{draw.randint(1, 99)}!"',
        "Base64 High Entropy String": f'sign("{token(ALNUM, 64)}")',
        "Hex High Entropy String": f"sign('{token(hexa, 64)}')",
    }


@pytest.mark.parametrize("kind", sorted(planted(0)))
def test_planted_credentials_are_found_and_located(kind: str) -> None:
    for seed in range(20):
        line = planted(seed)[kind]
        code = f"import os\n{line}\nx = 1\n"
        findings = [finding for finding in safety.scan(code) if finding.kind == kind]
        assert findings, seed
        start = len("import os\n")
        assert all(finding.line == 1 for finding in findings)
        assert all(start <= f.start < f.stop <= start + len(line) for f in findings)


def test_the_prefilter_loses_no_planted_credential() -> None:
    lines = [line for seed in range(100) for line in planted(seed).values()]
    assert [line for line in lines if not safety.suspicious(line)] == []


@given(st.text(alphabet="aA1'\"=:/@. -_gkspypi{}$", max_size=80))
@settings(max_examples=500, deadline=None)
def test_what_the_prefilter_stops_holds_nothing(line: str) -> None:
    if not safety.suspicious(line):
        assert safety._scan_line(line) == ()


def test_a_finding_never_carries_the_secret() -> None:
    line = planted(1)["GitHub Token"]
    secret = line.split()[-1].strip('"')
    assert secret not in repr(safety.scan(line))


@pytest.mark.parametrize(
    "line",
    [
        'password = getpass("Password: ")',
        'password = os.environ["DB_PASSWORD"]',
        'PASSWORD_FIELD = "password"',
        'label: { password: "Your password" }',
        'url = "https://example.org:8080/path"',
        'url = f"postgres://{user}:{password}@{host}/db"',
        'nats.Connect(fmt.Sprintf("nats://%s:%s@%s", user, pass, host))',
        'color = "#deadbeef"',
        'id = "123e4567-e89b-12d3-a456-426614174000"',
        'alphabet = "abcdefghijklmnopqrstuvwxyz"',
        'import { SomeVeryLongComponentNameFor2Things } from "@/components/some-very-long-name"',
        "x = secret_key or password",
    ],
)
def test_ordinary_code_is_left_alone(line: str) -> None:
    assert safety.scan(line) == []


def test_findings_come_in_order() -> None:
    lines = planted(2)
    code = "\n".join([lines["GitHub Token"], "x", lines["Stripe Access Key"], lines["Private Key"]])
    assert [finding.line for finding in safety.scan(code)] == [0, 2, 3]
