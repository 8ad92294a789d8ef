"""Verb `lsp`: a language server for one editor, over stdin and stdout."""

import os
import sys
from collections.abc import Callable, Sequence

from echo_ray.config import Config
from echo_ray.lsp import run
from echo_ray.lsp.config import LspConfig
from echo_ray.privacy.paths import Exclusions


class LspSettings(Config):
    """The section that this verb reads; importing all others takes longer than an editor should wait."""

    lsp: LspConfig = LspConfig()


def lsp(config: LspSettings, command: str) -> None:
    """Serve an editor with the settings of the section `lsp`; does not return."""
    status = run.serve(config.lsp, os.environ, _excluding)
    sys.stderr.flush()
    os._exit(status)  # a thread may still wait for the editor


def _excluding(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Which paths are never sent: the built-in ones of the log, and `patterns`."""
    return Exclusions(patterns).excluded
