# ruff: noqa: E501 - tables of statements
"""The unsafe part of the corruption suite: secrets, personal data and harmful code to plant in real code.

Written from the vendors' descriptions of their formats and from public attack techniques, not from the
rules of the checks. Everything random is drawn with keys (`echo_ray.rng`), and tokens are put together at
run time, so that neither a scanner nor a reader finds a live-looking secret in this file.

A payload's `text` is one statement, line of markup or comment of its language, without indentation and
without a final newline. `lookalikes` are harmless lines that resemble payloads; a check that refuses them
loses clean samples.
"""

import base64
import json
import random
import string
from collections.abc import Callable
from typing import NamedTuple

from echo_ray import rng
from tests.corruption_safety_code import HARMLESS, MALICIOUS

CATEGORIES = ("secret", "pii", "malicious")
LANGUAGES = ("python", "javascript", "typescript", "java", "go", "c", "cpp", "vue")

DIGITS, UPPER, LOWER = string.digits, string.ascii_uppercase, string.ascii_lowercase
ALNUM = string.ascii_letters + DIGITS
HEX = DIGITS + "abcdef"
BASE64 = ALNUM + "+/"
URLSAFE = ALNUM + "-_"


class Payload(NamedTuple):
    """One text to plant; `kind` is what it is an example of."""

    category: str
    kind: str
    language: str
    text: str


class Draw:
    """Random strings from one keyed stream."""

    def __init__(self, *keys: str | int) -> None:
        self.random: random.Random = rng.generator(0, "corruption", *keys)

    def text(self, alphabet: str, size: int) -> str:
        return "".join(self.random.choice(alphabet) for _ in range(size))

    def one(self, *items: str) -> str:
        return self.random.choice(items)

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


def _password(draw: Draw) -> str:
    word = draw.one("Tiger", "winter", "Monterey", "blue-kettle", "Xylophone", "maple", "correcthorse")
    return word + draw.one("!", "#", "@", "$", "_") + draw.text(DIGITS, draw.number(2, 4))


def _jwt(draw: Draw) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    header = part({"alg": "HS256", "typ": "JWT"})
    body = part({"sub": draw.text(DIGITS, 10), "name": "Kim", "iat": draw.number(10**9, 2 * 10**9)})
    return f"{header}.{body}.{draw.text(URLSAFE, 43)}"


def _uuid(draw: Draw) -> str:
    return "-".join(draw.text(HEX, size) for size in (8, 4, 4, 4, 12))


def _begin(kind: str) -> str:
    return "-----BEGIN " + kind + "PRIVATE" + " KEY-----"


def _pem(kind: str) -> Callable[[Draw], str]:
    def value(draw: Draw) -> str:
        return _begin(kind) + "\\nMII" + draw.text(BASE64, 61) + "\\n" + draw.text(BASE64, 64) + "\\n"

    return value


TOKENS: dict[str, Callable[[Draw], str]] = {
    "aws key id": lambda d: d.one("AK", "AS") + "IA" + d.text(UPPER + "234567", 16),
    "github classic": lambda d: d.one("gh" + "p_", "gh" + "s_", "gh" + "o_") + d.text(ALNUM, 36),
    "github fine-grained": lambda d: "github" + "_pat_" + d.text(ALNUM, 22) + "_" + d.text(ALNUM, 59),
    "gitlab": lambda d: "glp" + "at-" + d.text(URLSAFE, 20),
    "slack token": lambda d: "xo" + f"xb-{d.text(DIGITS, 12)}-{d.text(DIGITS, 12)}-{d.text(ALNUM, 24)}",
    "slack webhook": lambda d: (
        "https://hooks.slack" + f".com/services/T{d.text(UPPER + DIGITS, 8)}/B{d.text(UPPER + DIGITS, 8)}/"
        f"{d.text(ALNUM, 24)}"
    ),
    "stripe": lambda d: d.one("sk", "rk") + "_li" + "ve_" + d.text(ALNUM, 24),
    "twilio": lambda d: "S" + "K" + d.text(HEX, 32),
    "sendgrid": lambda d: "SG" + "." + d.text(URLSAFE, 22) + "." + d.text(URLSAFE, 43),
    "mailchimp": lambda d: d.text(HEX, 32) + "-u" + f"s{d.number(1, 21)}",
    "npm": lambda d: "np" + "m_" + d.text(ALNUM, 36),
    "pypi": lambda d: "pyp" + "i-AgEIcHlwaS5vcmcCJ" + d.text(URLSAFE, 150),
    "azure storage": lambda d: (
        "DefaultEndpointsProtocol=https;AccountName=prod;Account" + "Key=" + d.text(BASE64, 86) + "=="
    ),
    "jwt": _jwt,
    "rsa private key": _pem("RSA "),
    "ec private key": _pem("EC "),
    "openssh private key": _pem("OPENSSH "),
    "pkcs8 private key": _pem(""),
    "basic auth url": lambda d: (
        f"https://deploy:{_password(d).replace('@', '_').replace('#', '_')}@ci.acme-corp.io/job"
    ),
    "database url": lambda d: (
        d.one("postgres", "postgresql", "mysql", "mongodb+srv", "amqp", "redis")
        + f"://svc_app:{d.text(ALNUM, 14)}@db-1.acme-corp.io/main"
    ),
    "discord bot": lambda d: (
        d.one("M", "N") + d.text(ALNUM, 23) + "." + d.text(URLSAFE, 6) + "." + d.text(URLSAFE, 27)
    ),
    "telegram bot": lambda d: d.text("123456789", 10) + ":AA" + d.text(URLSAFE, 33),
    "openai": lambda d: "sk" + "-" + d.text(ALNUM, 20) + "T3Blbk" + "FJ" + d.text(ALNUM, 20),
    "openai project": lambda d: "sk" + "-proj-" + d.text(URLSAFE, 74) + "T3Blbk" + "FJ" + d.text(URLSAFE, 74),
    "anthropic": lambda d: "sk" + "-ant-api03-" + d.text(URLSAFE, 93) + "AA",
    "google api": lambda d: "AI" + "za" + "Sy" + d.text(URLSAFE, 33),
    "google oauth": lambda d: "GOC" + "SPX-" + d.text(URLSAFE, 28),
    "hugging face": lambda d: "h" + "f_" + d.text(string.ascii_letters, 34),
    "digitalocean": lambda d: "do" + "p_v1_" + d.text(HEX, 64),
    "databricks": lambda d: "da" + "pi" + d.text(HEX, 32),
    "square": lambda d: "sq0" + "csp-" + d.text(URLSAFE, 43),
    "shopify": lambda d: d.one("shp" + "at_", "shp" + "ss_") + d.text(HEX, 32),
    "mailgun": lambda d: "ke" + "y-" + d.text(HEX, 32),
    "artifactory": lambda d: "AK" + "Cp8" + d.text(ALNUM, 68),
    "new relic": lambda d: "NR" + "AK-" + d.text(UPPER + DIGITS, 27),
    "grafana": lambda d: "gls" + "a_" + d.text(ALNUM, 32) + "_" + d.text(HEX, 8),
    "vault": lambda d: "hv" + "s." + d.text(ALNUM, 92),
    "linear": lambda d: "lin" + "_api_" + d.text(ALNUM, 40),
    "postman": lambda d: "PM" + "AK-" + d.text(HEX, 24) + "-" + d.text(HEX, 34),
}
"""Credentials that their own form gives away, wherever they stand."""

NAMED: dict[str, tuple[str, Callable[[Draw], str]]] = {
    "aws secret key": ("aws_secret_access_key", lambda d: d.text(BASE64, 40)),
    "twilio auth token": ("twilio_auth_token", lambda d: d.text(HEX, 32)),
    "ibm cloud key": ("ibm_cloud_api_key", lambda d: d.text(URLSAFE, 44)),
    "cloudant": ("cloudant_password", lambda d: d.text(HEX, 64)),
    "heroku": ("heroku_api_key", _uuid),
    "datadog": ("datadog_api_key", lambda d: d.text(HEX, 32)),
    "password": ("db_password", _password),
    "admin password": ("ADMIN_PASSWD", _password),
    "client secret": ("client_secret", lambda d: d.text(ALNUM, 32)),
    "api key": ("api_key", lambda d: d.text(ALNUM, 24)),
    "hex key": ("signing_key", lambda d: d.text(HEX, 64)),
    "base64 key": ("session_key", lambda d: d.text(BASE64, 43) + "="),
}
"""Credentials that only the name beside them, or their randomness, gives away."""


def _luhn(digits: str) -> str:
    total = sum(
        value if place % 2 else value // 5 + 2 * value % 10
        for place, value in enumerate(map(int, digits[::-1]))
    )
    return digits + str(-total % 10)


def _card(draw: Draw) -> str:
    number = _luhn(draw.one("4539", "5312", "4716", "2221") + draw.text(DIGITS, 11))
    return draw.one(" ", "-", "").join(number[at : at + 4] for at in range(0, 16, 4))


def _iban(draw: Draw) -> str:
    country, size = draw.random.choice([("DE", 18), ("FR", 23), ("ES", 20), ("PL", 24), ("AT", 16)])
    body = draw.text(DIGITS, size)
    number = int(body + "".join(str(int(letter, 36)) for letter in country) + "00")
    full = f"{country}{98 - number % 97:02d}{body}"
    return draw.one("", " ").join(full[at : at + 4] for at in range(0, len(full), 4))


def _ssn(draw: Draw) -> str:
    return f"{draw.number(1, 665):03d}-{draw.number(1, 99):02d}-{draw.number(1, 9999):04d}"


def _cpf(draw: Draw) -> str:
    digits = draw.text(DIGITS, 9)
    for size in (10, 11):
        rest = sum(int(digit) * (size - place) for place, digit in enumerate(digits)) * 10 % 11
        digits += str(rest % 10)
    return f"{digits[:3]}.{digits[3:6]}.{digits[6:9]}-{digits[9:]}"


def _resident(draw: Draw) -> str:
    digits = (
        draw.one("110105", "310115", "440306", "510104")
        + f"{draw.number(1950, 2005)}{draw.number(1, 12):02d}{draw.number(1, 28):02d}"
        + draw.text(DIGITS, 3)
    )
    rest = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits)) % 11
    return digits + "10X98765432"[rest]


def _dni(draw: Draw) -> str:
    number = draw.number(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _email(draw: Draw) -> str:
    name = draw.one("anna.kowalska", "j.ferreira", "tomasz_nowak", "mei-ling.chen", "d.okafor", "lars")
    return (
        name
        + draw.one("", "1984", "7")
        + "@"
        + draw.one("gmail.com", "outlook.com", "proton.me", "ethz.ch", "web.de")
    )


def _phone(draw: Draw) -> str:
    local = draw.number(2_000_000, 9_999_999)
    return draw.one(
        f"+1 212-{str(local)[:3]}-{str(local)[3:]}",
        f"+1 (415) {str(local)[:3]}-{str(local)[3:]}",
        f"+44 20 7{str(local)[:3]} {str(local)[3:]}",
        f"+49 151 2{local}",
        f"+33 6 {draw.number(10, 69)} {draw.number(10, 99)} {draw.number(10, 99)} {draw.number(10, 99)}",
        f"+4915{draw.one('1', '2', '7')}2{local}",
    )


def _ipv4(draw: Draw) -> str:
    first = draw.one("62", "81", "134", "151", "185", "217")
    return f"{first}.{draw.number(20, 250)}.{draw.number(1, 250)}.{draw.number(11, 250)}"


def _ipv6(draw: Draw) -> str:
    return (
        draw.one("2a01:4f8:", "2a02:8108:", "2001:41d0:")
        + ":".join(draw.text("123456789abcdef", 4) for _ in range(4))
        + "::1"
    )


PERSONAL: dict[str, Callable[[Draw], str]] = {
    "email": _email,
    "email with name": lambda d: f"{d.one('Anna Kowalska', 'Joao Ferreira', 'Lars Berg')} <{_email(d)}>",
    "phone": _phone,
    "payment card": _card,
    "iban": _iban,
    "us ssn": _ssn,
    "brazilian cpf": _cpf,
    "chinese resident id": _resident,
    "spanish dni": _dni,
    "public ipv4": _ipv4,
    "public ipv6": _ipv6,
}
"""Data that lead to a person."""

_PERSONAL_NAMES = {
    "email": "contact_email", "email with name": "author", "phone": "phone_number", "payment card": "card_number",
    "iban": "iban", "us ssn": "ssn", "brazilian cpf": "cpf", "chinese resident id": "id_number",
    "spanish dni": "dni", "public ipv4": "client_ip", "public ipv6": "client_ip",
}  # fmt: skip


def _camel(name: str) -> str:
    head, *rest = name.lower().split("_")
    return head + "".join(part.title() for part in rest)


_PLACES: dict[str, tuple[str, ...]] = {
    "python": ('{snake} = "{v}"', "{upper} = '{v}'", 'settings["{snake}"] = "{v}"', "self.{snake} = '{v}'",
               'client = Client(host, {snake}="{v}", timeout=30)', '"{snake}": "{v}",', "# {snake}: {v}"),
    "javascript": ("const {camel} = '{v}';", 'const {camel} = "{v}"', "{camel}: '{v}',", 'config.{camel} = "{v}";',
                   "const client = new Client({{ {camel}: '{v}', retries: 3 }});", "// {camel}: {v}"),
    "typescript": ("const {camel}: string = '{v}';", "private readonly {camel} = '{v}';", "{camel}: '{v}',",
                   'export const {upper} = "{v}";', "// {camel}: {v}"),
    "java": ('private static final String {upper} = "{v}";', 'String {camel} = "{v}";', 'config.put("{snake}", "{v}");',
             'props.setProperty("{snake}", "{v}");', "// {camel}: {v}"),
    "go": ('{camel} := "{v}"', 'const {camel} = "{v}"', '{title}: "{v}",', 'os.Setenv("{upper}", "{v}")',
           "// {camel}: {v}"),
    "c": ('#define {upper} "{v}"', 'static const char *{snake} = "{v}";', 'char {snake}[] = "{v}";', "/* {snake}: {v} */"),
    "cpp": ('const std::string {snake} = "{v}";', 'static constexpr char k{title}[] = "{v}";', 'auto {snake} = std::string("{v}");',
            'config["{snake}"] = "{v}";', "// {snake}: {v}"),
    "vue": ("const {camel} = '{v}'", '<api-client {kebab}="{v}" />', "{camel}: '{v}',", '<input v-model="{camel}" value="{v}">',
            "<!-- {camel}: {v} -->"),
}  # fmt: skip
"""Where a string stands in each language, beside a name that says what it is."""

_NAMELESS: dict[str, tuple[str, ...]] = {
    "python": ('client = connect("{v}")', 'value = "{v}"', '    "{v}",'[4:], "# see {v}"),
    "javascript": ("connect('{v}');", 'const value = "{v}";', "`{v}`,", "// see {v}"),
    "typescript": ("await connect('{v}');", "let value = '{v}';", "'{v}',"),
    "java": ('client.connect("{v}");', 'String value = "{v}";', "// see {v}"),
    "go": ('client, err := connect("{v}")', "value := `{v}`", '"{v}",'),
    "c": ('connect_to("{v}");', 'const char *value = "{v}";'),
    "cpp": ('client.connect("{v}");', 'std::string value{{"{v}"}};'),
    "vue": ("connect('{v}')", "<!-- see {v} -->", "const value = ref('{v}')"),
}
"""Where a string stands without a name that says what it is."""


def _place(templates: tuple[str, ...], draw: Draw, name: str, value: str) -> str:
    camel = _camel(name)
    forms = {
        "snake": name.lower(), "upper": name.upper(), "camel": camel, "title": camel[:1].upper() + camel[1:],
        "kebab": name.lower().replace("_", "-"),
    }  # fmt: skip
    return draw.one(*templates).format(v=value, **forms)


def _secrets(seed: int) -> list[Payload]:
    made = []
    for language in LANGUAGES:
        for kind, value in TOKENS.items():
            draw = Draw(seed, language, kind)
            vendor = "".join(letter if letter.isalnum() else "_" for letter in kind)
            templates = draw.random.choice([_PLACES[language], _NAMELESS[language]])
            text = _place(templates, draw, f"{vendor}_{draw.one('token', 'key', 'value')}", value(draw))
            made.append(Payload("secret", kind, language, text))
        for kind, (name, value) in NAMED.items():
            draw = Draw(seed, language, kind)
            # A comment gives no quotes: what is random there cannot be told from prose and identifiers.
            places = tuple(
                place for place in _PLACES[language] if not place.startswith(("#  ", "# ", "//", "/*", "<!"))
            )
            made.append(Payload("secret", kind, language, _place(places, draw, name, value(draw))))
    return made


def _personal(seed: int) -> list[Payload]:
    made = []
    for language in LANGUAGES:
        for kind, value in PERSONAL.items():
            draw = Draw(seed, language, kind)
            text = _place(_PLACES[language], draw, _PERSONAL_NAMES[kind], value(draw))
            made.append(Payload("pii", kind, language, text))
    return made


def _malicious(seed: int) -> list[Payload]:
    made = []
    for kind, language, template in MALICIOUS:
        draw = Draw(seed, language, kind)
        fields = {
            "host": f"{_ipv4(draw)}",
            "domain": draw.one(
                "cdn-telemetry.xyz", "update-srv.top", "collect.badsite.io", "paste.evilhub.ru"
            ),
            "port": str(draw.number(1025, 65_000)),
            "b64": draw.text(BASE64, draw.number(40, 80)),
            "hex": "".join("\\x" + draw.text(HEX, 2) for _ in range(24)),
        }
        text = template
        for name, value in fields.items():
            text = text.replace(f"@{name}@", value)
        made.append(Payload("malicious", kind, language, text))
    return made


def payloads(category: str, seed: int = 0) -> list[Payload]:
    """Every payload of one of `CATEGORIES`; another seed draws other values and other places."""
    return {"secret": _secrets, "pii": _personal, "malicious": _malicious}[category](seed)


def lookalikes(seed: int = 0) -> list[Payload]:
    """Harmless lines that resemble payloads (category `clean`)."""
    made = []
    for kind, language, template in HARMLESS:
        draw = Draw(seed, language, kind, template)
        fields = {"@sha@": draw.text(HEX, 40), "@uuid@": _uuid(draw), "@md5@": draw.text(HEX, 8)}
        text = template
        for name, value in fields.items():
            text = text.replace(name, value)
        made.append(Payload("clean", kind, language, text))
    return made
