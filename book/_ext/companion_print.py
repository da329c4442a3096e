"""How is the whole book printed? One page, print.html, with the articles of all pages in order.

Made of the built pages when the build is finished: their addresses lead to each other inside it.
"""

import posixpath
import re
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from sphinx.application import Sphinx

NAME = "print.html"
ARTICLE = re.compile(r'<article class="bd-article">(.*?)</article>', re.DOTALL)
ATTRIBUTE = re.compile(r'(?<=[\s"])(href|src|id|for|aria-labelledby)="([^"]*)"')


def pages_in_order(app: Sphinx) -> list[str]:
    """The root, then all pages as the table of contents lists them."""
    order = [app.config.root_doc]
    for page in order:  # which grows
        order += [child for child in app.env.toctree_includes.get(page, []) if child not in order]
    return order


def anchor(page: str, name: str = "") -> str:
    """The id in the one page of an id of a page, or of the page itself."""
    return f"{page.replace('/', '-')}--{name}" if name else page.replace("/", "-")


def moved(article: str, page: str, inside: set[str]) -> str:
    """A part of a page as it stands in the one page at the top of the book's folder.

    inside: the pages whose articles the one page holds; without any, ids stay as they are.
    """

    def at_the_top(match: re.Match[str]) -> str:
        attribute, value = match[1], match[2]
        if attribute in ("id", "for", "aria-labelledby"):
            return f'{attribute}="{anchor(page, value)}"' if inside else match[0]
        if urlsplit(value).scheme or value.startswith("//"):
            return match[0]
        target, name = urldefrag(value)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else ""
        other = page if not target else path.removesuffix(".html")
        if other in inside:
            return f'{attribute}="#{anchor(other, name)}"'
        return f'{attribute}="{path}{"#" + name if name else ""}"'

    return ATTRIBUTE.sub(at_the_top, article)


def one_page(folder: Path, pages: list[str], title: str) -> str:
    """The HTML of all pages of a built book in one."""
    texts = {page: (folder / f"{page}.html").read_text(encoding="utf-8") for page in pages}
    articles = []
    for page, text in texts.items():
        found = ARTICLE.search(text)
        if found is None:
            raise ValueError(f'{page}.html: found no <article class="bd-article"> to print')
        content = moved(found[1], page, set(pages))
        articles.append(f'<div class="printed-page" id="{anchor(page)}">{content}</div>')
    # A head with the scripts of formulas, if any page has some.
    first = next((page for page in pages if "tex-svg.js" in texts[page]), pages[0])
    head = moved(texts[first].partition("<body")[0], first, set())
    head = re.sub(r'data-content_root="[^"]*"', 'data-content_root="./"', head)
    head = re.sub(r'data-theme="[^"]*"', 'data-theme="light"', head)  # paper is white
    head = re.sub(r"<script data-cfasync.*?</script>", "", head, count=1, flags=re.DOTALL)
    head = re.sub(r"<title>.*?</title>", f"<title>{title}</title>", head, flags=re.DOTALL)
    head = re.sub(r'<link rel="(?:index|search|next|prev|canonical)"[^>]*>', "", head)
    body = "\n".join(['<body class="whole-book"><article class="bd-article">', *articles])
    return f"{head}{body}</article></body></html>"


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    pages = [page for page in pages_in_order(app) if (folder / f"{page}.html").is_file()]
    if pages and ARTICLE.search((folder / f"{pages[0]}.html").read_text(encoding="utf-8")):
        text = one_page(folder, pages, f"{app.config.html_title or app.config.project}, whole")
        (folder / NAME).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write)
