"""How does the search of the built book find abbreviations? Words of three letters are not stemmed.

The stemmer makes "af" of AFE and "dv" of DVS, so a page was found, and its excerpt shown, by other
words with these letters. Entries of the reference are matched in book/_static/companion.js.
"""

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

SHORT = 4  # letters; a shorter word stays as it is

# Both sides must agree: the index, made here, and the query, stemmed in the browser.
IN_THE_BROWSER = """
Stemmer = ((Porter) => function () {
  const porter = new Porter();
  this.stemWord = (word) => (word.length < SHORT ? word : porter.stemWord(word));
})(Stemmer);
""".replace("SHORT", str(SHORT))


class English(SearchEnglish):
    """Sphinx's own, but for short words."""

    js_stemmer_code = SearchEnglish.js_stemmer_code + IN_THE_BROWSER

    def stem(self, word: str) -> str:
        return word.lower() if len(word) < SHORT else super().stem(word)


def setup(app: Sphinx) -> None:
    app.add_search_language(English)
