"""Verb `lsp`: a language server for one editor, over stdin and stdout."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath

from echo_ray.config import Config
from echo_ray.lsp import run
from echo_ray.lsp.config import LspConfig


class LspSettings(Config):
    """The section that this verb reads; importing all others takes longer than an editor should wait."""

    lsp: LspConfig = LspConfig()


def lsp(config: LspSettings, command: str) -> None:
    """Serve an editor with the settings of the section `lsp`; does not return."""
    status = run.serve(config.lsp, os.environ, _excluding)
    sys.stderr.flush()
    os._exit(status)  # a thread may still wait for the editor


def _excluding(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Which paths are never sent: those of `echo_ray.privacy.paths`."""
    try:
        paths = importlib.import_module("echo_ray.privacy.paths")
    except ModuleNotFoundError:
        names = (*_KEYS, *patterns)
        return lambda path: any(fnmatchcase(PurePath(path).name.lower(), name.lower()) for name in names)
    return paths.Exclusions(patterns).excluded  # type: ignore[no-any-return]


_KEYS = (".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", ".netrc")
