"""What MkDocs does for the site beside its plugins; mkdocs.yml names this file under `hooks`.

The blocks of the tutorials are run while their page is built, in the empty folder runs/docs. There `manypaths` is the
command of this checkout, without what libraries print on stderr: that is shown where the command fails.
"""

import logging
import os
import re
import shutil
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "docs"
log = logging.getLogger("mkdocs.hooks.site")  # a warning of it fails a build with --strict

COMMAND = """#!/bin/sh
errors=$(mktemp)
{python} -m manypaths "$@" 2>"$errors"
code=$?
[ $code = 0 ] || cat "$errors"
rm "$errors"
exit $code
"""
PAGES = {  # what the tutorials write, and where the gallery shows it
    "runs/quickstart/inspect.html": "gallery/inspect.html",
    "runs/mine/inspect.html": "gallery/script.html",
    "group.explain.html": "gallery/explain.html",
    "report/report.html": "gallery/report.html",
}


def on_pre_build(config):
    """Tutorials start in an empty folder."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "bin").mkdir(parents=True)
    command = WORK / "bin" / "manypaths"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    (WORK / "data").symlink_to(ROOT / "tests" / "data" / "outside")
    os.environ |= {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
    warnings.simplefilter("ignore", FutureWarning)  # libraries warn about each other


def on_page_markdown(markdown, page, config, files):
    """Tutorials run in their folder. Links to files outside docs/ lead to the repository; the files have to exist."""
    if page.file.src_uri.startswith("tutorials/"):
        os.chdir(WORK)

    def repository(match):
        text, target = match.groups()
        path, _, fragment = target.partition("#")
        file = (Path(page.file.abs_src_path).parent / path).resolve()
        if file.is_relative_to(config.docs_dir):
            return match.group()
        if not file.exists():
            log.warning("%s: the link to %s leads to no file", page.file.src_path, target)
        if not config.repo_url:
            return text
        kind = "tree" if file.is_dir() else "blob"
        anchor = f"#{fragment}" if fragment else ""
        return f"[{text}]({config.repo_url.rstrip('/')}/{kind}/main/{file.relative_to(ROOT)}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s]+)\)", repository, markdown)


def on_page_content(html, page, config, files):
    os.chdir(ROOT)


def on_post_build(config):
    """The pages of the tutorials join the gallery; then every link of every page is looked up."""
    site = Path(config.site_dir)
    for source, target in PAGES.items():
        if not (WORK / source).exists():
            log.warning("no tutorial has written %s", source)
            continue
        (site / target).parent.mkdir(exist_ok=True)
        shutil.copy(WORK / source, site / target)
    links = {page: Links(page) for page in site.rglob("*.html")}
    for page, found in links.items():
        for link in sorted(found.links):
            if problem := _broken(page, link, links):
                log.warning("%s: the link %s leads to %s", page.relative_to(site), link, problem)


class Links(HTMLParser):
    """The links of a page, and the places that links can lead to."""

    def __init__(self, page):
        super().__init__()
        self.links, self.places = set(), {"", "__top"}
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


def _broken(page, link, pages):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or page.name == "404.html":
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return "no file"
    if target in pages and unquote(parts.fragment) not in pages[target].places:
        return "no such place"
    return None
