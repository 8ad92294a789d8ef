r"""Commands that do harm wherever they are run, named after techniques of MITRE ATT&CK.

In the patterns a blank also stands for the `", "` between the parts of an argument list, so that one pattern
reads `"rm -rf /"` and `["rm", "-rf", "/"]`; `\x20` is a blank. Letter case is ignored in ASCII only.

Invariant: every match of a command contains one of its `needles`, whatever the case of the text.
Not covered: commands for other systems than Linux, macOS and Windows; what a command does with variables.
"""

import re
from typing import NamedTuple

from echo_ray.schema import Drop


class Command(NamedTuple):
    """A harmful command; `needles` are lower-case texts of which every match contains one."""

    rule: str
    drop: Drop
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


PRIVATE_FILE = (
    r"(?:/etc/(?:passwd|shadow)|\.ssh\b|id_(?:rsa|dsa|ecdsa|ed25519)|\.aws\b|\.gnupg|\.kube/config|\.netrc|\.npmrc"
    r"|\.pypirc|\.git-credentials|\.docker/config|Login\x20Data|wallet\.dat|[Kk]eychain)"
)
"""Files that hold credentials."""

_GAP = r"(?:[ \t]+|['\"`]\s*,\s*['\"`])"
_END = r"(?=['\"`\s;&|)]|\\n|\Z)"
_SHELL = r"(?:sudo\s+(?:-\w+\s+)*)?(?:/\w+/)*(?:(?:ba|z|da|k|c|tc)?sh|python[23]?|perl|node|ruby|php)\b"
_SYSTEM = r"/(?:etc|usr|home|var|boot|s?bin|lib(?:64)?|root|dev|opt)"
_HOME = (
    r"(?:os\.path\.expanduser\(\s*['\"]~/?['\"]\s*\)|(?:str\()?Path\.home\(\)\)?|os\.homedir\(\)"
    r"|os\.Getenv\(\"HOME\"\)|process\.env\.HOME|os\.environ\[['\"]HOME['\"]\]"
    r"|System\.getProperty\(\"user\.home\"\))"
)
_DELETE_ALL = r"\brm(?= ?[^\n]{0,40}-\w*[rR])(?: --?[\w-]+)+"
_DELETE_NAMES = (
    r"rmtree|RemoveAll|rm(?:dir)?(?:Sync)?|rimraf|removeSync|emptyDirSync|remove_all|deleteDir(?:ectory)?"
)
_DELETE_CALL = rf"\b(?:{_DELETE_NAMES})\x20?\("
_NETCAT = r"\b(?:nc(?=[\x20\t'\"`])|ncat|netcat)\b"
_NETCAT_NEEDLES = "nc |nc\t|nc\"|nc'|nc`|ncat|netcat"
_RM_NEEDLES = "rm |rm\t|rm\"|rm'|rm`"


def _command(rule: str, needles: str, *parts: str, drop: Drop = Drop.MALICIOUS_COMMAND) -> Command:
    pattern = "".join(parts).replace(" ", _GAP).replace("<end>", _END).replace("<shell>", _SHELL)
    return Command(rule, drop, tuple(needles.split("|")), re.compile(pattern, re.IGNORECASE | re.ASCII))


COMMANDS = (
    _command(
        "delete_all", _RM_NEEDLES,
        _DELETE_ALL, r" (?:/\.?\*?|~/?\*?|\$\{?HOME\}?/?\*?|\{?" + _HOME + r"\}?|" + _SYSTEM + r"/?\*?)<end>",
    ),
    _command("delete_all", _RM_NEEDLES, _DELETE_ALL, r"['\"`]\s*,\s*" + _HOME),
    _command(
        "delete_all", "rm(|rm (|rmtree|rmsync|rmdir|removeall|rimraf|removesync|emptyd|remove_all|deletedir",
        _DELETE_CALL, r"\s*(?:new\s+File\(\s*)?"
        r"(?:['\"`](?:/|~/?|" + _SYSTEM + r")/?['\"`]|" + _HOME + r")\s*[,)]",
    ),
    _command(
        "delete_all", "remove|unlink",
        r"\b(?:os\.Remove|remove|unlink|unlinkSync)\s*\(\s*['\"`](?:/etc/|/boot/|/bin/|/usr/bin/)",
    ),
    _command("delete_all", ":\\", r"\b(?:del(?: /[fsqa])+|r(?:d|mdir)(?: /[sq])+) ?[a-z]:\\"),
    _command("wipe_disk", "of=/dev/", r"\bdd [^\n]{0,80}\bof=/dev/(?:sd|hd|nvme|vd|xvd|disk|mmcblk|mem)"),
    _command("wipe_disk", "mkfs", r"\bmkfs(?:\.\w+)?(?: -\S+)* /dev/"),
    _command("wipe_disk", "/dev/", r"[^-=\w]>\s*/dev/(?:sd[a-z]|nvme\d|hd[a-z])\b"),
    _command("wipe_disk", "format", r"\bformat [a-z]:(?: /\w+(?::\w+)?)* /(?:y|q|fs:\w+)\b"),
    _command("fork_bomb", ":()|: ()", r":\x20?\(\)\x20?\{\x20?:\x20?\|\x20?:?\x20?&"),
    _command(
        "fork_bomb", "fork",
        r"\b(?:while\s*\(?\s*(?:1|true)\s*\)?\s*:?|for\s*\(;;\))\s*\{?\s*(?:os\.)?fork\(\)",
    ),
    _command("open_permissions", "chmod", r"\bchmod(?: -\w+)* (?:0?777|a\+rwx) /\*?<end>"),
    _command("setuid_shell", "chmod", r"\bchmod(?: -\w+)* (?:[ug]*\+s|0?[2467][0-7]{3}) \S*(?:/tmp/|sh\b)"),
    _command("download_and_run", "curl|wget", r"\b(?:curl|wget)\b[^\n|]{0,200}\|\s*<shell>"),
    _command(
        "download_and_run", "curl|wget",
        r"\b(?:eval|sh|bash|source)\b[^\n]{0,20}(?:<\(|\$\(|`)\s*(?:curl|wget)\b"
    ),
    _command(
        "download_and_run", "curl|wget",
        r"\b(?:curl|wget)\b(?=[^\n]{0,200}(?:http://|/tmp/|/dev/shm))[^\n]{0,200}(?:&&|;)[^\n]{0,100}"
        r"(?:\bchmod [^\n]{0,20}[x7]|\b(?:ba|z)?sh (?:-\w+ )?/?(?:tmp|dev/shm|\./))",
    ),
    _command("decode_and_run", "base64", r"\bbase64 (?:-d|--decode)\b[^\n|]{0,80}\|\s*<shell>"),
    _command(
        "decode_and_run", "data:text/javascript", r"\bimport\s*\(\s*['\"`]data:text/javascript",
        drop=Drop.MALICIOUS_CODE,
    ),
    _command(
        "encoded_powershell", "powershell",
        r"powershell(?:\.exe)?\b[^\n]{0,120}-e(?:nc?|nc\w+)? ['\"]?[a-z0-9+/=]{16,}"
    ),
    _command(
        "encoded_powershell", "iex|invoke-expression",
        r"\b(?:iex|invoke-expression)\b[^\n]{0,80}(?:DownloadString|Invoke-WebRequest|\biwr\b|\birm\b)",
    ),
    _command("reverse_shell", "/dev/", r"sh -i[^\n]{0,20}/dev/(?:tcp|udp)/|<>\s*/dev/(?:tcp|udp)/"),
    _command(
        "reverse_shell", _NETCAT_NEEDLES,
        _NETCAT, r"[^\n]{0,120}[\s'\"]-\w*[ec] (?:/\w+/)*(?:(?:ba|z|c)?sh|cmd)\b",
    ),
    _command(
        "reverse_shell", "sh |sh\"|sh'|sh`|sh\t",
        r"\|\s*(?:/\w+/)*(?:ba|z)?sh -i[^\n]{0,40}\|\s*(?:nc|ncat|netcat|telnet)\b"
    ),
    _command(
        "miner", "stratum+|xmrig|minerd|cpuminer|ethminer|ccminer",
        r"stratum\+(?:tcp|ssl)://|['\"`/\s](?:xmrig|minerd|cpuminer|ethminer|ccminer)(?:\.exe)?['\"`\s]",
    ),
    _command(
        "persistence", "crontab|/etc/|authorized_keys",
        r"\|\s*crontab\b|\bcrontab -(?=['\"`\s]|\Z)"
        r"|>>?\s*(?:/etc/(?:cron|rc\.local|profile|sudoers|ld\.so)|\S*/authorized_keys)",
    ),
    _command(
        "persistence", "currentversion",
        r"(?:reg add|RegSetValue\w*|SetValueEx|Registry)\b[^\n]{0,120}CurrentVersion\\+Run"
        r"|CurrentVersion\\+Run[^\n]{0,80}SetValue",
    ),
    _command(
        "disable_defence", "setenforce|systemctl|ufw|iptables|netsh|mppreference|vssadmin|wevtutil",
        r"\bsetenforce 0|\bsystemctl (?:stop|disable|mask) (?:auditd|firewalld|ufw|apparmor|clamav|iptables)"
        r"|\bufw disable\b|\biptables -F\b|\bnetsh advfirewall set \S+ state off|Set-MpPreference -Disable"
        r"|\bvssadmin delete shadows|\bwevtutil cl\b",
    ),
    _command(
        "send_private_files", "curl|wget",
        r"\b(?:curl|wget)\b[^\n]{0,200}(?:-d|-F|-T|--data\S{0,12}|--form|--upload-file|--post-file)\b[^\n]{0,60}",
        PRIVATE_FILE, drop=Drop.MALICIOUS_LEAK,
    ),
    _command(
        "send_private_files", _NETCAT_NEEDLES + "|curl|wget",
        PRIVATE_FILE, r"[^\n]{0,80}\|\s*(?:curl\b|wget\b|" + _NETCAT + ")", drop=Drop.MALICIOUS_LEAK,
    ),
)  # fmt: skip
"""Tried in this order."""
