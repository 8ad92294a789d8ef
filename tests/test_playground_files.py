"""The files of the playground: complete, made from their sources, and legible."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from echo_ray.playground import HEADERS, files
from tests.node import environment, installed, program

SOURCES = Path(__file__).parents[1] / "echo_ray" / "playground" / "src"


def test_the_committed_bundle_is_what_the_sources_give(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(installed(SOURCES) / "node_modules")
    command = [program("node", "nodejs"), "build.mjs", str(tmp_path / "made")]
    subprocess.run(command, cwd=folder, env=environment(), check=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    kept = {path.name: path.read_bytes() for path in (SOURCES.parent / "dist").iterdir()}
    assert [] == [name for name in made | kept if made.get(name) != kept.get(name)]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page, kind = files()["/"]
    assert "text/html; charset=utf-8" == kind
    named = set(re.findall(r'(?:src|href)="([^"]+)"', page.decode()))
    assert {"playground.js", "playground.css", "playground.svg"} == named
    assert {f"/{name}" for name in named} | {"/", "/playground.licenses.txt"} == set(files())
    assert "unsafe" not in HEADERS["content-security-policy"]
    licences = files()["/playground.licenses.txt"][0].decode()
    assert all(f"@codemirror/{name} " in licences for name in ("view", "state", "lang-python", "lang-vue"))


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    """WCAG 2.2 AA: a contrast of at least 4.5 for text of normal size."""
    source = (SOURCES / "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", source)
    colour = {name: _luminance((light, dark)[scheme]) for name, light, dark in pairs}
    behind = {name: ["page", "line-now", "selection"] for name in colour if name.startswith("syn-")}
    behind |= {
        "text": ["page", "panel", "selection", "bad-back"],
        "muted": ["page", "panel", "line-now", "bad-back"],
    }
    behind |= {
        "ghost": ["page", "line-now"],
        "faint": ["page", "panel"],
        "accent": ["page", "panel", "line-now"],
    }
    behind |= {"mark-text": ["mark", "panel", "line-now"], "bad": ["bad-back"]}
    poor = {}
    for name, backs in behind.items():
        for back in backs:
            low, high = sorted((colour[name], colour[back]))
            if (ratio := (high + 0.05) / (low + 0.05)) < 4.5:
                poor[name, back] = round(ratio, 2)
    assert {} == poor
