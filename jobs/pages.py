"""Templates of the pages that people look at: self-contained, escaped, strict about what they are given."""

from pathlib import Path

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
