"""Detectors of credentials, ready to be asked about one line or one text (paper 4.4, "Safety"; 6.4).

Three sources. Kingfisher's native scanner knows the token formats of some 480 services and reads whole
texts in microseconds; only its offline scanner is used, never its validator. detect-secrets adds what
Kingfisher wants more context for, and everything that only a name or randomness gives away: passwords
given to telling names, in addresses, random strings. A small table in detect-secrets' own extension class
(`RegexBasedDetector`) adds documented prefixes that both want quotes or company names around.

Our choice: detect-secrets' plugins are called directly (`analyze_string` and the library's heuristics), not
by `scan_line`, whose ad-hoc mode drops the quotes that keep entropy detectors quiet on ordinary code, and
not through the library's settings, which are global to the process and can verify secrets over the network.

Invariant: `suspicious` loses nothing. It looks for a part that each line detector's pattern needs, and an
entropy limit of h bits needs more than 2^h different characters, hence a longer string.

Not covered: encrypted Artifactory passwords, whose form (`AP` and eleven letters) words have too.
"""

import functools
import re
from typing import Any

import yara
from detect_secrets.plugins import (
    artifactory,
    aws,
    azure_storage_key,
    basic_auth,
    cloudant,
    discord,
    github_token,
    gitlab_token,
    high_entropy_strings,
    ibm_cloud_iam,
    ibm_cos_hmac,
    jwt,
    keyword,
    mailchimp,
    npm,
    openai,
    private_key,
    pypi_token,
    sendgrid,
    slack,
    softlayer,
    square_oauth,
    stripe,
    telegram_token,
    twilio,
)
from detect_secrets.plugins.base import RegexBasedDetector
from kingfisher_sdk import Rules, Scanner

BASE64_BITS = 4.5
"""Entropy limit of quoted base64 strings, bits per character: the library's default."""

HEX_BITS = 3.0
"""Entropy limit of quoted hexadecimal strings, bits per character: the library's default."""

_NAMES = "|".join(keyword.DENYLIST).replace("_?", "[-_]?")
_MORE_NAMES = (
    _NAMES + r"|\bpw\b|\bpass\b|passphrase|passcode|(?:auth|access|refresh|bearer|api)[-_]?token"
    r"|(?:access|encryption|signing|master|session|secret|shared)[-_]?key"
)
_KEY = r"(?:key|pwd|pw|password|pass|token)"


def _vendor(name: str, *patterns: str) -> Any:
    fields = {"secret_type": name, "denylist": [re.compile(pattern) for pattern in patterns]}
    return type("VendorDetector", (RegexBasedDetector,), fields)()


_FORMATS: tuple[tuple[Any, str], ...] = (
    (_vendor("Artifactory Credentials", artifactory.ArtifactoryDetector.denylist[0].pattern), "akc"),
    (aws.AWSKeyDetector(), "akia;asia;abia;acca;a3t;aws"),
    (azure_storage_key.AzureStorageKeyDetector(), "accountkey="),
    (cloudant.CloudantDetector(), ""),
    (discord.DiscordBotTokenDetector(), ""),
    (github_token.GitHubTokenDetector(), "ghp_;gho_;ghu_;ghs_;ghr_"),
    (
        gitlab_token.GitLabTokenDetector(),
        "glpat-;gldt-;glft-;glsoat-;glrt-;glcbt-;glimt-;glptt-;glagent-;gloas-;gr1348941",
    ),
    (ibm_cloud_iam.IbmCloudIamDetector(), ""),
    (ibm_cos_hmac.IbmCosHmacDetector(), "secret"),
    (jwt.JwtTokenDetector(), "eyj"),
    (mailchimp.MailchimpDetector(), "-us"),
    (npm.NpmDetector(), ":_authtoken="),
    (openai.OpenAIDetector(), "t3blbkfj"),
    (private_key.PrivateKeyDetector(), "private key;putty-user-key"),
    (pypi_token.PypiTokenDetector(), "pypi-ag"),
    (sendgrid.SendGridDetector(), "sg."),
    (slack.SlackDetector(), "xox;hooks.slack.com"),
    (softlayer.SoftlayerDetector(), ""),
    (square_oauth.SquareOAuthDetector(), "sq0csp-"),
    (stripe.StripeDetector(), "k_live_"),
    (telegram_token.TelegramBotTokenDetector(), ""),
    (twilio.TwilioKeyDetector(), ""),
    (_vendor("Anthropic Token", r"sk-ant-[a-z]+\d\d-[\w-]{80,}"), "sk-ant-"),
    (_vendor("Databricks Token", r"(?<!\w)dapi[a-f0-9]{32}"), "dapi"),
    (_vendor("DigitalOcean Token", r"do[opr]_v1_[a-f0-9]{64}"), "dop_v1_;doo_v1_;dor_v1_"),
    (_vendor("Discord Webhook", r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,}"), "/api/webhooks/"),
    (_vendor("GitHub Token", r"github_pat_[A-Za-z0-9]{22}_\w{59}"), "github_pat_"),
    (_vendor("Google API Key", r"AIza[\w-]{35}(?![\w-])"), "aiza"),
    (_vendor("Google OAuth Secret", r"GOCSPX-[\w-]{28}", r"ya29\.[\w-]{30,}"), "gocspx-;ya29."),
    (_vendor("Hugging Face Token", r"(?<!\w)(?:hf|api_org)_[A-Za-z]{34}(?!\w)"), "hf_;api_org_"),
    (_vendor("Mailgun Key", r"(?<!\w)key-[a-f0-9]{32}(?!\w)"), "key-"),
    (_vendor("New Relic Key", r"NRAK-[A-Z0-9]{27}(?!\w)"), "nrak-"),
    (_vendor("npm Token", r"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)"), "npm_"),
    (_vendor("OpenAI Token", r"sk-(?:proj|svcacct|admin)-[\w-]{40,}"), "sk-"),
    (_vendor("Shopify Token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"), "shpat_;shpca_;shppa_;shpss_"),
    (_vendor("Square Token", r"sq0atp-[\w-]{22}", r"(?<!\w)EAAA[\w-]{60}(?!\w)"), "sq0atp-;eaaa"),
    (_vendor("Vault Token", r"(?<!\w)hv[sb]\.[\w-]{24,}"), "hvs.;hvb."),
)
"""Line detectors of token formats, each with folded texts of which every match contains one; where none are
named, every match contains a `LONG_RUN`."""

FORMATS = tuple((plugin, tuple(needles.split(";")) if needles else ()) for plugin, needles in _FORMATS)

LONG_RUN = re.compile(r"[\w-]{24}")
"""What tokens have and few names."""

BASIC_AUTH = _vendor(
    basic_auth.BasicAuthDetector.secret_type,
    # The library's own pattern stops at the `$`, `!` and `+` that passwords have.
    r"://[^\s:/?#\[\]@'\"`]*:([^\s/?#\[\]@'\"`]+)@",
    # MySQL's data source names: "user:password@tcp(host)/database"
    r"['\"`][\w.-]+:([^\s:/@'\"`]+)@(?:tcp|unix)\(",
)
KEYWORD = keyword.KeywordDetector()
KEYWORD_CALL = _vendor(
    "Secret Keyword",
    # Calls, macros, markup: put("password", "value"), setPassword("value"), #define DB_PASSWORD "value"
    rf"(?i:(?:{_MORE_NAMES})\w*['\"`]?\]?(?:\s*[(,]\s*|\s+)@?['\"`]([^\s'\"`]{{6,}})['\"`])",
    # Declarations with a type: std::string password{"value"}, password: string = "value"
    rf"(?i:(?:{_MORE_NAMES})\w*['\"`]?\]?(?:\[\d*\])?\s*(?::\s*\w+\s*)?:?[={{]"
    r"\s*[\w:]*[({]?\s*@?['\"`]([^\s'\"`]{6,})['\"`])",
    # Connection strings, where other parts stand before
    r"(?i:[;?&]\s*(?:password|passwd|pwd)=([^\s;&'\"`]{6,})(?=[;&'\"`]))",
    # Calls whose second text is a password: getConnection(url, "user", "value"), smtp.login("user", "value")
    r"(?i:(?:getConnection|login|auth)\((?:[\w.]+,\s*)?['\"`][^\s'\"`]+['\"`],\s*['\"`]([^\s'\"`]{6,})['\"`]\))",
)
BASIC_HEADER = _vendor("Basic Auth Credentials", r"(?i:\bbasic )([A-Za-z0-9+/]{8,}={0,2})")
BASE64 = high_entropy_strings.Base64HighEntropyString(limit=BASE64_BITS)
HEX = high_entropy_strings.HexHighEntropyString(limit=HEX_BITS)

# The entropy detectors see no string in back quotes, which JavaScript and Go have.
for _plugin in (BASE64, HEX):
    _plugin.regex = re.compile(_plugin.regex.pattern.replace("[\\'\"]", "[\\'\"`]"))

_BASE64_MIN = int(2**BASE64_BITS) + 1
QUOTED_RUN = re.compile(rf"['\"`][\w+/\\=-]{{{_BASE64_MIN},}}['\"`]")

_NAME = re.compile(
    _MORE_NAMES.replace("password|passwd", "passw") + r"|[;?&]\s*pwd=|(?:getconnection|login|auth)\("
)
_GUESSED = (
    "pwd",
    "secret",
    "contrase",
    "://",
    "@tcp(",
    "@unix(",
    "basic ",
    "getconnection(",
    "login(",
    "auth(",
)
_NEEDLES = tuple(dict.fromkeys((*_GUESSED, *(needle for _, row in FORMATS for needle in row))))


def fold(text: str) -> str:
    """`text` in lower case, as the patterns that ignore case see it: i without a dot is i, long s is s."""
    return text.lower() if text.isascii() else text.casefold().replace("\u0307", "").replace("\u0131", "i")


@functools.cache
def _needles() -> Any:
    strings = "\n".join(
        f"$n{place} = {yara_text(needle)} nocase" for place, needle in enumerate(_NEEDLES) if needle.isascii()
    )
    return yara.compile(source=f"rule needles {{ strings: {strings} condition: any of them }}")


def yara_text(needle: str) -> str:
    """A literal of the YARA language."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in needle.encode("ascii")) + '"'


def any_name(folded: str) -> bool:
    """Whether `has_name` may be true: a cheap question before the dear one."""
    return "key" in folded or "pass" in folded or "token" in folded or "pw" in folded


def has_name(folded: str) -> bool:
    """Whether a folded text holds a name that says "password"."""
    return _NAME.search(folded) is not None


def suspicious(text: str) -> bool:
    """Whether a line detector may find something in `text`; False is certain, True is not."""
    # One pass of YARA for all needles is twice as fast as a loop, but folds the case of ASCII only.
    if text.isascii():
        if _needles().match(data=text, fast=True):
            return True
        folded = text.lower()
    else:
        folded = fold(text)
        if any(needle in folded for needle in _NEEDLES):
            return True
    if any_name(folded) and has_name(folded):
        return True
    return LONG_RUN.search(text) is not None or QUOTED_RUN.search(text) is not None


_KEY_MARK = r"[A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----"
PRIVATE_KEY_BLOCK = re.compile(
    rf"-----BEGIN {_KEY_MARK}(?:[\s\S]{{0,8000}}?-----END {_KEY_MARK}"
    r"|(?:[\s'\"`+,;\\.()]|\\[nr]|[A-Za-z0-9+/=]{16,}|[A-Za-z-]{3,20}: [^\n]{0,80}\n)*)"
)
"""A private key as far as it can be followed: to its end mark, else over lines of base64."""


@functools.cache
def scanner() -> Scanner:
    """Kingfisher with its bundled rules; the first call loads them (0.2 s, 3 s without their cache)."""
    return Scanner(Rules(confidence="low"), base64=False)
