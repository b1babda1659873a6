"""What the site contains besides the pages in ``docs/``.

The documents, results and licences of the repository keep their places in the site. Notebooks are
shown with the outputs they were saved with. The links in all pages are those of the repository, so
that pages can be read there too; here they are converted to links between pages of the site.
"""

from __future__ import annotations

import html
import json
import os.path
import re
from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
#: Files of the repository outside ``docs/`` that are part of the site.
INCLUDED = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "NOTICE",
    "benchmarks/*.md",
    "benchmarks/*.py",
    "benchmarks/results/*",
    "data/README.md",
    "data/*.csv",
    "data/LICENSES/*",
)
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files, config):
    """Add files from outside ``docs/``, and the notebooks as pages."""
    for pattern in INCLUDED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        name = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, name, content=as_page(json.loads(path.read_text()))))
    return files


def on_page_markdown(markdown, page, config, files):
    """Convert links between files of the repository to links between pages of the site."""
    site = page.file.src_uri
    outside = site.startswith(("benchmarks/", "data/", "notebooks/")) or site.isupper()
    source = site if outside or (ROOT / site).exists() else f"docs/{site}"
    return LINK.sub(lambda m: _target(m[1], source, site) + (m[2] or ""), markdown)


def _target(link: str, source: str, site: str) -> str:
    """The link in the page `site` to the file that `link` names in the file `source`."""
    path = os.path.normpath(os.path.join(os.path.dirname(source), link)).replace(os.sep, "/")
    if path == "README.md":
        path = "docs/index.md"
    path = path.removeprefix("docs/")
    if path.startswith("notebooks/"):
        path = str(PurePosixPath(path).with_suffix(".md"))
    return os.path.relpath(path, os.path.dirname(site) or ".").replace(os.sep, "/")


def as_page(notebook: dict) -> str:
    """A notebook as Markdown, with the outputs it was saved with."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        image = data["image/png"].replace("\n", "")
        return f'<img alt="figure" src="data:image/png;base64,{image}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        return "\n".join(line for line in table.splitlines() if line.strip())
    text = "".join(output["text"]) if "text" in output else data.get("text/plain", "")
    return f"<pre>{html.escape(text)}</pre>" if text.strip() else ""
