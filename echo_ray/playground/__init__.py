"""The playground: a page at `/` with a code editor that completes, and a live view of what is learned.

`src/` holds the sources (CodeMirror 6, bundled by esbuild), `dist/` what is served: `npm ci
--ignore-scripts && npm run build` in `src/` makes it anew, byte by byte. The page works without a network:
it asks only the service that served it, by paths relative to itself, so it may stand behind a path prefix
that ends in a slash.
"""

from importlib.resources import files as resources

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy under which the page works. No nonce: the editor lives in a shadow root, where
CodeMirror's styles are constructed style sheets, which no `style-src` governs."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Headers that every file of the page is sent with."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


def files() -> dict[str, tuple[bytes, str]]:
    """Body and content type of every file of the page, by its path; the page itself is `/`."""
    found = {}
    for file in resources(__package__).joinpath("dist").iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        found[path] = file.read_bytes(), _TYPES[file.name.rpartition(".")[2]]
    return found
