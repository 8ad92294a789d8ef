"""One pass over a text for everything that harmful code contains: needles, and GuardDog's rules.

GuardDog's YARA rules (Datadog, from malicious packages) are asked as they are; only the rule files of that
library are read, it is never imported, so none of its dependencies is needed. The needles of our own
commands and flows ride along in the same automaton: what has no needle needs no pattern.

Invariant: needles are found whatever the case of ASCII letters; no needle has others.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import yara

from echo_ray.checks.malice_commands import COMMANDS
from echo_ray.checks.malice_flows import FLOWS
from echo_ray.checks.secret_rules import yara_text
from echo_ray.schema import Drop

NEEDLES = tuple(
    sorted({needle for row in COMMANDS for needle in row.needles} | {n for f in FLOWS for n in f.needles})
)

GUARDDOG_FAIL = {
    "threat_network_reverse_shell": Drop.MALICIOUS_COMMAND,
    "threat_process_powershell_encoded": Drop.MALICIOUS_COMMAND,
    "threat_process_cryptomining": Drop.MALICIOUS_COMMAND,
    "threat_process_injection_dll": Drop.MALICIOUS_CODE,
    "threat_runtime_obfuscation_dynamic_eval": Drop.MALICIOUS_CODE,
    "threat_runtime_obfuscation_import_exec": Drop.MALICIOUS_CODE,
    "threat_runtime_obfuscation_chr": Drop.MALICIOUS_CODE,
}
"""GuardDog rules that are precise enough on a few lines to decide alone. Its rule for code behind a run of
blanks is left out: alone it takes as long as all others."""

GUARDDOG_UNSURE = {
    "threat_filesystem_autostart": Drop.MALICIOUS_COMMAND,
    "threat_filesystem_destruction": Drop.MALICIOUS_COMMAND,
    "threat_process_download_exec": Drop.MALICIOUS_COMMAND,
    "threat_runtime_obfuscation_base64exec": Drop.MALICIOUS_CODE,
    "threat_runtime_obfuscation_general": Drop.MALICIOUS_CODE,
    "threat_runtime_keylogging": Drop.MALICIOUS_LEAK,
    "threat_network_exfil_sysinfo": Drop.MALICIOUS_LEAK,
    "threat_network_exfil_messenger": Drop.MALICIOUS_LEAK,
}
"""GuardDog rules that name a tool as often as its abuse."""

_NEEDLES_RULE = "echo_ray_needles"


class Hits(NamedTuple):
    """What one pass over a text found: needles, and strings of GuardDog's rules as (rule, start, stop)."""

    needles: frozenset[str]
    packages: tuple[tuple[str, int, int], ...]


def search(text: str) -> Hits:
    """One pass for needles and GuardDog's rules; offsets count characters."""
    # A lone surrogate cannot be encoded; "?" takes its place, so characters still correspond.
    data = text.encode("utf-8", "replace")
    needles: list[str] = []
    packages: list[tuple[str, int, int]] = []
    for match in _automaton().match(data=data):
        if match.rule == _NEEDLES_RULE:
            needles = [NEEDLES[int(string.identifier[2:])] for string in match.strings]
            continue
        for string in match.strings:
            for hit in string.instances:
                start = len(data[: hit.offset].decode("utf-8", "replace"))
                packages.append((match.rule, start, start + len(hit.matched_data.decode("utf-8", "replace"))))
    return Hits(frozenset(needles), tuple(packages))


@functools.cache
def _automaton() -> Any:
    spec = importlib.util.find_spec("guarddog")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "analyzer" / "sourcecode"
    names = (*GUARDDOG_FAIL, *GUARDDOG_UNSURE)
    sources = {name: (folder / f"{name.replace('_', '-')}.yar").read_text(encoding="utf-8") for name in names}
    strings = "\n".join(f"$n{place} = {yara_text(needle)} nocase" for place, needle in enumerate(NEEDLES))
    sources[_NEEDLES_RULE] = f"rule {_NEEDLES_RULE} {{ strings: {strings} condition: any of them }}"
    return yara.compile(sources=sources)
