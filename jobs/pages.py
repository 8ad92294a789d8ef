"""Templates of the pages that people look at: self-contained, escaped, strict about what they are given."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def environment() -> jinja2.Environment:
    """Where pages are made: templates lie beside this module, and a name that is not there is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write(value: Mapping[str, Any], page: str, folder: Path) -> tuple[Path, Path]:
    """Store `report.json` and `report.html` in `folder`, each whole or not at all; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    paths = folder / "report.json", folder / "report.html"
    for path, content in zip(paths, (written, page), strict=True):
        part = path.with_name(f".{path.name}.part")
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    return paths
