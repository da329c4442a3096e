"""Where is this project found? One address in _config.yml, and what other files say because of it.

    python book/address.py                                   # which files do not agree with it
    python book/address.py https://github.com/someone/safe   # sets it, and writes the others
    python book/address.py ""                                # takes it out of all of them

The book reads _config.yml when it is built, for buttons (Colab, Binder, issues) and cards.
README.md, CITATION.cff and two pages are read by others as they stand, so their lines are written.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "_config.yml"
PICTURE = "book/_static/sample.png"
OF_CONFIG = re.compile(r'^(repository:\n  url: )"([^"]*)"$', re.MULTILINE)


def configured() -> str:
    """The address in _config.yml, "" without one."""
    found = OF_CONFIG.search(CONFIG.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f'{CONFIG}: found no repository; expected its url, as url: ""')
    return found[2]


def branch() -> str:
    found = re.search(r"^  branch: (\S+)$", CONFIG.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "main"


def on_github(url: str) -> str:
    """OWNER/NAME of an address on GitHub, else ""."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", url)
    return found[1] if found else ""


def picture(url: str, of_branch: str) -> str:
    """The full address of the picture of cards, "" where none is known."""
    project = on_github(url)
    return f"https://raw.githubusercontent.com/{project}/{of_branch}/{PICTURE}" if project else ""


# ---------------------------------------------------------------- what the files say


def badges(url: str) -> str:
    project = on_github(url)
    if not project:
        return ""
    place = f"{project}/blob/{branch()}/notebooks/train.ipynb"
    binder = f"https://mybinder.org/v2/gh/{project}/{branch()}?labpath=notebooks%2Ftrain.ipynb"
    return (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{place})\n"
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def clone(url: str) -> str:
    if not url:
        return "In the folder that holds `safe_core.py`:"
    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return f"```bash\ngit clone {url}\ncd {name}\n```\n\nThen, in that folder:"


def wrong(url: str) -> str:
    what = "Name the page or the command, what it showed, and what you expected."
    if not url:
        return (
            "Is something wrong or unclear? This copy names no public address: write to whoever "
            f"gave it to you. {what}"
        )
    return f"Is something wrong or unclear? Write to <{url.rstrip('/')}/issues>. {what}"


REGIONS: dict[str, Callable[[str], str]] = {"badges": badges, "clone": clone, "wrong": wrong}


def with_regions(text: str, url: str) -> str:
    """A Markdown text with what stands between its marks written anew."""

    def region(match: re.Match[str]) -> str:
        inside = REGIONS[match[1]](url)
        return f"<!-- address: {match[1]} -->\n{inside}{chr(10) * bool(inside)}<!-- /address -->"

    return re.sub(r"<!-- address: (\w+) -->\n.*?<!-- /address -->", region, text, flags=re.DOTALL)


def with_line(before: str, line: str) -> Callable[[str, str], str]:
    """Keeps `line` behind the first line that starts with `before`, where there is an address."""

    def written(text: str, url: str) -> str:
        start = line[: re.match(r"\s*[\w-]+", line).end()]
        text = re.sub(rf"^{re.escape(start)}.*\n", "", text, flags=re.MULTILINE)
        if not url:
            return text
        shown = line.replace("URL", url)
        place = re.compile(rf"^({re.escape(before)}.*\n)", re.MULTILINE)
        return place.sub(rf"\1{shown}\n", text, count=1)

    return written


FILES: dict[str, Callable[[str, str], str]] = {
    "README.md": with_regions,
    "book/intro.md": with_regions,
    "book/limits.md": with_line("  version = {", "  url     = {URL},"),
    "CITATION.cff": with_line("license: ", 'repository-code: "URL"'),
}


def disagreeing(url: str) -> dict[str, str]:
    """{file: the text that it should have} of those that do not say what follows from `url`."""
    found = {}
    for name, written in FILES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if written(text, url) != text:
            found[name] = written(text, url)
    return found


def main(words: list[str]) -> int:
    url = words[0].rstrip("/") if words else configured()
    if url and not re.fullmatch(r"https://[\w.-]+/[\w./~-]+", url):
        print(f'found {url!r}; expected an address such as https://github.com/someone/safe, or ""')
        return 2
    lacking = disagreeing(url)
    if not words:
        print("\n".join(lacking) or "all files agree")
        return 1 if lacking else 0
    config = OF_CONFIG.sub(rf'\1"{url}"', CONFIG.read_text(encoding="utf-8"))
    for name, text in (lacking | {CONFIG.name: config}).items():
        (ROOT / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
