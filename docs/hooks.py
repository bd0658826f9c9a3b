"""Pages of the docs' site that are made from the repository: README, CONTRIBUTING, the reference, the published report."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# pages that lie above docs/ in the repository
ABOVE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# page of the reference: its title, and the modules that it documents
REFERENCE = {
    "benchmarks": ("genbench in Python", ["benchmarks/__init__.py", "benchmarks/notebook/*.py"]),
    "models": ("Models", ["models/contracts.py", "models/game.py", "models/*.py"]),
    "networks": ("Networks", ["models/networks/*.py"]),
    "datamodules": ("Data", ["datamodules/contracts.py", "datamodules/base.py", "datamodules/*.py"]),
    "metrics": ("Metrics", ["benchmarks/metrics/base.py", "benchmarks/metrics/*.py"]),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    for path, text in made_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links of the repository into links of the site."""
    if page.file.src_uri in ABOVE.values():
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    return re.sub(r"\]\((?:\.\./)?(README|CONTRIBUTING|CHANGELOG)\.md", lambda m: f"]({ABOVE[m[1] + '.md']}", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Publishes the records of the families and of the mixtures beside the pages."""
    roots = [f"'{ROOT / 'docs' / 'records' / name}'" for name in ("families", "mixtures")]
    words = [f"runs=[{','.join(roots)}]", f"out={Path(config.site_dir) / 'records'}"]
    words.append("title='Digits, MNIST, Fashion-MNIST and two mixtures'")
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.publish", *words], cwd=ROOT, capture_output=True, text=True
    )
    if made.returncode:
        raise PluginError(f"benchmarks.publish: {made.stderr.strip()}")


def made_pages() -> dict[str, str]:
    """The text of each page that is made, by its path."""
    pages = {place: (ROOT / name).read_text(encoding="utf-8") for name, place in ABOVE.items()}
    for name, (title, patterns) in REFERENCE.items():
        paths = dict.fromkeys(path for pattern in patterns for path in sorted(ROOT.glob(pattern)))
        parts = [f"::: {_module(path)}\n" for path in paths if path.name != "__init__.py" or name == "benchmarks"]
        pages[f"reference/{name}.md"] = f"# {title}\n\n" + "\n".join(parts)
    pages["reference/configuration.md"] = configuration()
    return pages


def configuration() -> str:
    """Every file of conf/ with its content, by group."""
    parts = [
        "# Configuration",
        "Every file of `conf/`. `GROUP=NAME` chooses a file, `GROUP.KEY=VALUE` changes a key. Comments name sources.",
    ]
    folder, group = ROOT / "conf", None
    for path in sorted(folder.rglob("*.yaml"), key=lambda path: (path.parent != folder, path)):
        if path.parent != group:
            group = path.parent
            parts.append(f"## {group.relative_to(folder).as_posix() if group != folder else 'Programs'}")
        parts += [
            f"### {path.relative_to(folder).with_suffix('').as_posix()}",
            _block(path.read_text(encoding="utf-8")),
        ]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"```yaml\n{text.rstrip()}\n```"


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")
