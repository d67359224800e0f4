"""Look at the built site as readers do: links, search, and narrow screens.

    python docs/_check.py docs/_build/html

Links are followed by this program. What needs a browser is done by Chromium, and left out,
with a word, where there is none.
"""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

# What no page has: a search that finds it finds anything.
NOWHERE = "quizzaciously"
SOUGHT = ("gunicorn", "celery", "gevent", "socketio", "performance", "testing")
NARROW = 390  # pixels, as a phone has

# A page of the site that measures others of it: how wide each would like to be.
MEASURE = """<!doctype html><title>measure</title><body><pre id="found"></pre><script>
const pages = PAGES, wide = {};
async function look() {
  for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style.width = "NARROWpx"; frame.style.height = "800px";
    frame.src = page;
    const loaded = new Promise(done => frame.onload = done);
    document.body.append(frame);
    await loaded;
    const root = frame.contentDocument.documentElement;
    if (root.scrollWidth > root.clientWidth) wide[page] = root.scrollWidth;
    frame.remove();
  }
  document.getElementById("found").textContent = "looked: " + JSON.stringify(wide);
}
look();
</script>"""


class Page(HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            elif name in ("href", "src"):
                self.targets.append(value)


def broken_links(site: Path) -> list[str]:
    """Say where something is linked to that is not there."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    found = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = path.parent / unquote(parts.path) if parts.path else path
            place = place.resolve()
            # A source leads back to the page; where on it, Sphinx can't tell when a thing
            # has several public names.
            anchor = "" if "_modules" in path.parts else unquote(parts.fragment)
            gone = not place.exists() or (
                anchor and place in pages and anchor not in pages[place].anchors
            )
            if gone:
                found.append(f"{path.relative_to(site)}: {target}")
    return found


WIDE = "[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"


def lost_ideographs(site: Path) -> list[str]:
    """Say where a Chinese page lacks letters of its source, or has a space among them."""
    found = []
    for source in sorted((Path(__file__).parent / "zh").glob("*.md")):
        page = (site / "zh" / f"{source.stem}.html").read_text(encoding="utf-8")
        article = page.partition("<article")[2].partition("</article")[0]
        text = re.sub(r"<[^>]+>", "", article)
        lost = Counter(re.findall(WIDE, source.read_text(encoding="utf-8")))
        lost -= Counter(re.findall(WIDE, text))
        if lost:
            found.append(f"zh/{source.name} has no {dict(lost)}")
        for paragraph in re.findall(r"<p>(.*?)</p>", article, re.DOTALL):
            text = re.sub(r"<[^>]+>", "", paragraph)
            found += re.findall(rf"...{WIDE}\n{WIDE}...", text)
    return found


class Browser:
    """Chromium, with a server of the site for it."""

    def __init__(self, command: str, site: Path) -> None:
        handler = functools.partial(Quiet, directory=str(site))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.command = [
            *(command, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--virtual-time-budget=60000", "--dump-dom"),
        ]

    def read(self, path: str) -> str:
        """The page when its scripts have run."""
        url = f"http://127.0.0.1:{self.server.server_port}/{path}"
        done = subprocess.run(
            [*self.command, url],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return done.stdout


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and does not say so."""

    def log_message(self, *args: object) -> None:
        """Nothing."""


def finds(browser: Browser, word: str) -> bool:
    """Whether the search has a result for a word."""
    text = browser.read(f"search.html?q={quote(word)}")
    results = text.partition('id="search-results"')[2]
    return re.search(r'<li[^>]*><a href="[^"]*\.html', results) is not None


def wrong_searches(browser: Browser) -> list[str]:
    """Say which words the search does not find, or finds wrongly."""
    found = [word for word in SOUGHT if not finds(browser, word)]
    return found + [word for word in (NOWHERE,) if finds(browser, word)]


def too_wide(browser: Browser, site: Path) -> list[str]:
    """Say which pages a narrow screen would have to scroll sideways."""
    pages = sorted(
        str(path.relative_to(site))
        for path in site.rglob("*.html")
        if "_modules" not in path.parts
    )
    measure = site / "_measure.html"
    measure.write_text(
        MEASURE.replace("PAGES", json.dumps(pages)).replace("NARROW", str(NARROW))
    )
    try:
        text = browser.read(measure.name)
    finally:
        measure.unlink()
    answer = re.search(r"looked: (\{.*?\})<", text)
    if answer is None:
        return ["the browser did not get through"]
    wide = json.loads(html.unescape(answer[1]))
    return [f"{page}: {width} pixels" for page, width in wide.items()]


def main(site: Path) -> int:
    """Print what is wrong, and return how many kinds of it there are."""
    complaints = {
        "broken links": broken_links(site),
        "lost ideographs": lost_ideographs(site),
    }
    command = shutil.which("chromium") or shutil.which("google-chrome")
    if command is None:
        print("no Chromium here: neither search nor narrow screens were looked at")
    else:
        browser = Browser(command, site)
        complaints["wrong searches"] = wrong_searches(browser)
        complaints["too wide for a phone"] = too_wide(browser, site)
    for what, found in complaints.items():
        print(f"{what}: {', '.join(found) or 'none'}")
    return sum(map(bool, complaints.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
