"""Files that are completed but never logged, told by their path.

Patterns have the meaning of `.gitignore` lines (the library `pathspec`), apart from case, which never
matters. A path may be relative or absolute, of Windows, or a URI (`file://`, `vscode-remote://`).
Not covered: secrets in files with ordinary names (`redact` looks for those); symbolic links.
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from pathspec import GitIgnoreSpec

_DATA = ("yaml", "yml", "json", "toml", "ini", "properties", "cfg", "conf", "xml", "txt", "csv", "env")

BUILT_IN: tuple[str, ...] = (
    *(".env*", "*.env"),
    *(
        "*.pem",
        "*.key",
        "*.p8",
        "*.p12",
        "*.pfx",
        "*.jks",
        "*.keystore",
        "*.kdbx",
        "*.kdb",
        "*.ppk",
        "*.agekey",
    ),
    *("*.crt", "*.cer", "*.der", "*.csr", "*.asc", "*.gpg", "*.ovpn", "*.keytab", "*.mobileprovision"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys", "known_hosts"),
    *(".ssh/", ".gnupg/", ".aws/", ".azure/", ".git/", ".config/gcloud/", ".kube/", ".docker/config.json"),
    *(".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".htpasswd"),
    *(".git-credentials", ".dockercfg", ".vault-token", ".boto", ".s3cfg", "*_history", "wallet.dat"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json", "kubeconfig", "*.kubeconfig"),
    *("service-account*.json", "service_account*.json", "client_secret*.json", "google-services.json"),
    *(f"*{word}*.{ending}" for word in ("secret", "credential") for ending in _DATA),
    *("credentials", ".credentials", "secrets", "!secrets/", "!credentials/"),
)
"""Lines of a `.gitignore`: environment files, keys and certificates, credentials of tools, state files.
Certificates are public but stand beside keys, often in one file. The last two lines give folders back that
have the name of a file above: source code stands in them."""

_CACHED = 4_096


class Exclusions:
    """The built-in patterns and `extra` ones, in this order; the last one that matches decides."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._spec = GitIgnoreSpec.from_lines([*BUILT_IN, *(pattern.lower() for pattern in extra)])
        self._excluded = lru_cache(_CACHED)(self._spec.match_file)

    def excluded(self, path: str | None) -> bool:
        """Whether the file at `path` must not be logged; a request without a path is not excluded."""
        return path is not None and bool(path) and self._excluded(normalised(path))


@lru_cache(_CACHED)
def normalised(path: str) -> str:
    """`path` with forward slashes, in lower case, relative, without scheme, drive, `.`, `..` and what Windows
    ignores at the end of a name.
    """
    text = path.strip()
    scheme, separator, rest = text.partition("://")
    if separator and scheme.replace("+", "").replace("-", "").replace(".", "").isalnum():
        rest = rest.partition("#")[0].partition("?")[0]
        text = "/" + unquote(rest)
    text = text.replace("\\", "/")
    parts: list[str] = []
    for part in text.lower().split("/"):
        name = part.partition("::")[0].rstrip(". ") if part.strip(".") else part
        if name == "..":
            del parts[-1:]
        elif name not in ("", ".") and not (len(name) == 2 and name[1] == ":" and not "".join(parts)):
            parts.append(name)
    return "/".join(parts)


def pattern_fault(pattern: str) -> str | None:
    """Why `pattern` is no `.gitignore` line that selects anything; None when it is one."""
    if not pattern.strip() or pattern.lstrip().startswith("#"):
        return "it is empty or a comment"
    try:
        spec = GitIgnoreSpec.from_lines([pattern.lower()])
    except ValueError as error:
        return " ".join(str(error).split())
    return None if any(part.include is not None for part in spec.patterns) else "it selects nothing"
