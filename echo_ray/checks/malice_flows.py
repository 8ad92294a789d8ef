"""Calls that become harmful with what flows into them: run what was downloaded, send away what is private.

`eval` is a tool, `eval` of what was downloaded is not. A flow pairs a sink with sources; both are looked for
in one statement and in the definitions of its names, so nothing here needs whole or valid code.

Invariant: every match of a sink contains one of its `needles`, whatever the case of the text.
Not covered: flows through several functions or files; sources that only their type tells.
"""

import re
from typing import NamedTuple

from echo_ray.checks.malice_commands import PRIVATE_FILE
from echo_ray.schema import Drop


class Flow(NamedTuple):
    """`sink` is harmful in a statement in which all of `with_` occur, definitions of its names included.

    Every match of the first of them contains one of `hints`, whatever the case of the text.
    """

    rule: str
    drop: Drop
    needles: tuple[str, ...]
    sink: re.Pattern[str]
    with_: tuple[re.Pattern[str], ...]
    hints: tuple[str, ...]


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_DECODED = _any(
    r"b(?:16|32|64|85)decode|a85decode|decodebytes|unhexlify|\bfromhex\(|codecs\.decode\(|marshal\.loads",
    r"(?:zlib|lzma|gzip|bz2)['\"]?\)?\.decompress|map\(\s*chr\s*,|\bchr\(\d+\)\s*\+",
    r"(?<!\w)(?:atob|unescape|decodeURIComponent)\s*\(|Buffer\.from\([^)\n]*['\"](?:base64|hex)['\"]",
    r"fromCharCode\((?:\s*(?:0x)?\w+\s*,){4}",
    r"getDecoder\(\)|Base64\.decode|DatatypeConverter\.parse|Encoding\.DecodeString|hex\.DecodeString",
)
_DECODED_HINTS = (
    *("decode", "unhexlify", "fromhex", "marshal", "decompress", "chr", "atob", "unescape", "buffer.from"),
    *("fromcharcode", "datatypeconverter"),
)
_DOWNLOADED = _any(
    r"\b(?:requests['\"]?\)?|httpx|session|aiohttp)\.(?:get|post|request)\(|\burlopen\(|\burlretrieve\(|\.recv\(",
    r"(?<![\w.])fetch\(|\baxios(?:\.get)?\(|\bhttps?\.get\(|\bgot\(|\bhttp\.Get\(",
    r"new\s+URL\(\s*\"http|\.openStream\(\)|\bDownloadString\(|\bURLDownloadToFile",
)
_DOWNLOADED_HINTS = (
    *(".get(", ".post(", ".request(", "urlopen", "urlretrieve", ".recv(", "fetch(", "axios(", "got(", "url("),
    *("openstream", "downloadstring", "urldownloadtofile"),
)
_EXECUTABLE = re.compile(r"(?i)\b0o?7[0-7]{2}\b|chmod|setExecutable|\.exe\b")

_RUN_CODE = _any(
    r"(?<![\w.$/])(?:exec|execfile|execScript)\s*\(|(?<![\w$/])eval\s*\(\s*(?!\))|\(\s*eval\s*\)",
    r"['\"](?:eval|exec)['\"]\s*[\])]\s*\(|builtins['\"]?\)?\.(?:exec|eval)|\bFunctionType\s*\(",
    r"\bnew\s+Function\x20?\(|(?<![\w.])Function\x20?\(\s*['\"`a-z]|\[['\"]constructor['\"]\]\s*\(|\.constructor\s*\(",
    r"\b(?:globalThis|window|self|global)\[[^\]\n]{1,60}\]\s*\(|\bvm\.run\w+\(|\brunIn\w*Context\s*\(",
    r"\bset(?:Timeout|Interval)\s*\(\s*(?=atob|unescape|decode|Buffer|String\.from)",
    r"\bdefineClass\s*\(|\bURLClassLoader\s*\(",
)
_RUN_CODE_NEEDLES = (
    *(
        "eval",
        "exec",
        "functiontype",
        "function(",
        "function (",
        "defineclass",
        "urlclassloader",
        "vm.run",
        "runin",
    ),
    *("settimeout", "setinterval", "constructor", "globalthis[", "window[", "self[", "global["),
)
_RUN_PROGRAM = _any(
    r"\b(?:os|__import__\(\s*['\"]os['\"]\s*\))\.(?:system|popen|exec\w*)\s*\(|\bsubprocess['\"]?\)?\.\w+\s*\(",
    r"\.getRuntime\(\)\.exec\s*\(|\bProcessBuilder\s*\(|\bexec\.Command(?:Context)?\s*\(|\bsyscall\.Exec\s*\(",
    r"\b(?:exec|spawn)Sync\s*\(|\bchild_process['\"]?\)?\.\w+\s*\(|(?<![\w.>])(?:std::)?system\s*\(",
    r"(?<![\w.])popen\s*\(|\bWinExec\s*\(|\bShellExecute\w*\s*\(",
)
_RUN_PROGRAM_NEEDLES = (
    "system",
    "popen",
    "exec",
    "subprocess",
    "processbuilder",
    "spawnsync",
    "child_process",
)
_LOAD = _any(
    r"\b(?:c?[pP]ickle|dill|marshal|joblib|jsonpickle|shelve)\.(?:loads?|decode)\s*\(",
    r"\byaml\.(?:unsafe_load|load)\s*\(|\breadObject\s*\(\)",
)
_LOAD_NEEDLES = ("ickle", "dill", "marshal", "joblib", "shelve", "yaml", "readobject")

_SEND = _any(
    r"(?:\b(?:requests|httpx|session|axios|https?|client|jQuery)|\$)"
    r"\.(?:post|put|patch|request|get|Post|PostForm|send)\s*\(",
    r"(?<![\w.])(?:fetch|axios|urlopen)\s*\(|\.urlopen\s*\(|\bsendBeacon\s*\(|\bnew\s+WebSocket\s*\(",
    r"\.send\s*\(\s*(?!\))",
    r"\bHttpRequest\.newBuilder\(|(?:\bsrc|\blocation(?:\.href)?|\bonerror)\s*=\s*(?=[^\n;]{0,300}[+$])",
)
_SEND_NEEDLES = (
    *(
        "requests",
        "httpx",
        "session",
        "axios",
        "http",
        "client",
        "jquery",
        "$.",
        "fetch",
        "urlopen",
        "sendbeacon",
    ),
    *("websocket", ".send", "src", "location", "onerror"),
)
_FOREIGN = re.compile(
    r"(?:https?:|['\"`(])//"
    r"(?!localhost|127\.|0\.0\.0\.0|\[::1|example\.|[\w.-]*\.(?:test|local|internal|example)\b)[\w\[]"
)
"""An address that names another host."""
_PRIVATE = _any(
    r"document\.cookie|\b(?:local|session)Storage\b|\bos\.environ\b(?!\s*\[|\.get|\.setdefault)",
    r"\bprocess\.env\b(?!\s*\.|\s*\[)|\bos\.Environ\(\)|System\.getenv\(\s*\)",
    PRIVATE_FILE,
)
_PRIVATE_HINTS = (
    *(
        "document.cookie",
        "storage",
        "environ",
        "process.env",
        "getenv",
        "/etc/",
        ".ssh",
        "id_",
        ".aws",
        ".gnupg",
    ),
    *(".kube", ".netrc", ".npmrc", ".pypirc", ".git-", ".docker", "login data", "wallet.dat", "keychain"),
)
_KEYS = re.compile(r"key(?:down|press|up)")
_KEY_VALUE = re.compile(r"\.(?:key|keyCode|which)\b")

_CONNECTED = _any(
    r"\bdup2\s*\(|\bnet\.Dial\s*\(|\.pipe\(\s*\w+\.stdin|\bnew\s+Socket\s*\(|\.fileno\(\)",
    r"socket\.socket\s*\(|\.connect\s*\(\s*\(",
)
_CONNECTED_NEEDLES = ("dup2", "net.dial", ".pipe(", "socket", "fileno", "connect")
_SHELL = re.compile(r"['\"](?:/bin/|/usr/bin/)?(?:(?:ba|z|da)?sh|cmd\.exe|powershell(?:\.exe)?)['\"]")

_SHELL_HINTS = ("sh'", 'sh"', "cmd.exe", "powershell")

_WRITE = _any(
    r"\bopen\s*\([^\n]{0,200},\s*(?:mode\s*=\s*)?['\"][aw]b?\+?['\"]|\.write_(?:text|bytes)\s*\(|\bFiles\.write\w*\(",
    r"\b(?:append|write)File(?:Sync)?\s*\(|\bWriteFile\s*\(|\bnew\s+FileWriter\s*\(",
    r"\bofstream\b|\bcreateWriteStream\s*\(",
)
_WRITE_NEEDLES = ("open", "write", "appendfile", "ofstream")
_START_FILE = _any(
    r"authorized_keys|/etc/cron|/var/spool/cron|\.bashrc|\.bash_profile|\.zshrc|/etc/profile|/\.profile",
    r"/etc/rc\.local",
    r"/etc/ld\.so\.preload|/etc/sudoers|LaunchAgents|LaunchDaemons|\.config/autostart|/etc/systemd/system",
)
_START_HINTS = (
    *("authorized_keys", "/etc/", "/var/spool/cron", ".bashrc", ".bash_profile", ".zshrc", "/.profile"),
    *("launchagents", "launchdaemons", ".config/autostart"),
)
_CALL_DATA = re.compile(r"\w\s*\(\x20?\*\s*\)\s*\([^()\n]{0,60}\)")
_MACHINE_CODE = re.compile(r"(?:\\x[0-9a-fA-F]{2}){8}|PAGE_EXECUTE|PROT_EXEC|\bshellcode\b")

_CODE, _COMMAND, _LEAK = Drop.MALICIOUS_CODE, Drop.MALICIOUS_COMMAND, Drop.MALICIOUS_LEAK
_MACHINE_HINTS = ("\\x", "page_execute", "prot_exec", "shellcode")
_KEYS_HINTS = ("keydown", "keypress", "keyup")

FLOWS = (
    Flow("run_decoded", _CODE, _RUN_CODE_NEEDLES, _RUN_CODE, (_DECODED,), _DECODED_HINTS),
    Flow("run_downloaded", _CODE, _RUN_CODE_NEEDLES, _RUN_CODE, (_DOWNLOADED,), _DOWNLOADED_HINTS),
    Flow("run_decoded", _CODE, _RUN_PROGRAM_NEEDLES, _RUN_PROGRAM, (_DECODED,), _DECODED_HINTS),
    Flow("install", _CODE, _RUN_PROGRAM_NEEDLES, _RUN_PROGRAM, (_DOWNLOADED, _EXECUTABLE), _DOWNLOADED_HINTS),
    Flow("load_downloaded", _CODE, _LOAD_NEEDLES, _LOAD, (_DOWNLOADED,), _DOWNLOADED_HINTS),
    Flow("run_machine_code", _CODE, ("(*", "( *"), _CALL_DATA, (_MACHINE_CODE,), _MACHINE_HINTS),
    Flow("reverse_shell", _COMMAND, _CONNECTED_NEEDLES, _CONNECTED, (_SHELL,), _SHELL_HINTS),
    Flow("persistence", _COMMAND, _WRITE_NEEDLES, _WRITE, (_START_FILE,), _START_HINTS),
    Flow("send_private_data", _LEAK, _SEND_NEEDLES, _SEND, (_PRIVATE, _FOREIGN), _PRIVATE_HINTS),
    Flow("send_keystrokes", _LEAK, _SEND_NEEDLES, _SEND, (_KEYS, _KEY_VALUE, _FOREIGN), _KEYS_HINTS),
)
"""Tried in this order."""
