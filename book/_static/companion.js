/* What the book's pages do by themselves, without another host and from file:// as well: explain a term on hover,
   set tables that are too wide tight or turn them into cards, let wide figures scroll, break long names between words,
   search for whole words. Without JavaScript terms are links to the glossary, wide tables scroll, and figures are as
   narrow as the page. */

(() => {
  "use strict";

  /* ---- terms: their explanation while the pointer or the keyboard is on them, until Escape */

  function previews() {
    const bubble = document.createElement("div");
    bubble.className = "term-preview";
    bubble.id = "term-preview";
    bubble.setAttribute("role", "tooltip");
    bubble.hidden = true;
    document.body.append(bubble);
    let shown = null;
    let leaving = 0;

    function hide() {
      clearTimeout(leaving);
      bubble.hidden = true;
      shown?.removeAttribute("aria-describedby");
      shown = null;
    }

    function show(term) {
      hide();
      shown = term;
      bubble.textContent = term.dataset.preview;
      bubble.hidden = false;
      term.setAttribute("aria-describedby", bubble.id);
      const line = term.getClientRects()[0]; // of a term that is broken over two lines, the first part
      const margin = 8;
      const most = document.documentElement.clientWidth - bubble.offsetWidth - margin;
      const left = Math.max(margin, Math.min(line.left, most));
      const fits = line.top > bubble.offsetHeight + margin;
      const top = fits ? line.top - bubble.offsetHeight - 4 : line.bottom + 4;
      bubble.style.left = `${left + scrollX}px`;
      bubble.style.top = `${top + scrollY}px`;
    }

    function leave() {
      clearTimeout(leaving);
      leaving = setTimeout(hide, 150); // time to move the pointer onto the explanation
    }

    for (const term of document.querySelectorAll("a.term-link")) {
      term.addEventListener("mouseenter", () => show(term));
      term.addEventListener("focus", () => show(term));
      term.addEventListener("mouseleave", leave);
      term.addEventListener("blur", leave);
    }
    bubble.addEventListener("mouseenter", () => clearTimeout(leaving));
    bubble.addEventListener("mouseleave", leave);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
    });
  }

  /* ---- tables: each cell knows the head of its column; a notebook's table that does not fit is set tight; on a
     phone every one is, and one that does not fit then, or has high rows, becomes cards */

  const PHONE = matchMedia("(max-width: 600px)");
  const MOST_HEIGHT = 150; // of a row on a phone, in pixels: higher ones are read more easily as cards

  function prepare(table) {
    const heads = [...(table.tHead?.rows ?? [])];
    const cells = [...table.querySelectorAll("tbody :is(th, td)")];
    if (!heads.length || !cells.length || cells.some((cell) => cell.colSpan > 1 || cell.rowSpan > 1)) return false;
    // Heads have several lines where columns have groups, and pandas gives the index its name in one of its own.
    const lines = heads.map((row) => [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(cell.textContent.trim())));
    const names = lines[0].map((_, i) => lines.map((line) => line[i]).filter(Boolean).join(" "));
    // What stands above the names of rows is the table's name, which cards would lose with their heads.
    if (names[0] && table.tBodies[0].rows[0].cells[0].tagName === "TH") table.dataset.name = names[0];
    for (const row of [...table.tBodies].flatMap((body) => [...body.rows])) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, i) => {
        cell.dataset.head = names[i] ?? "";
        cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
        if (/^\s*–?\s*$/.test(cell.textContent)) cell.classList.add("is-empty"); // nothing to say on a card
      });
    }
    // A table that is displayed as blocks is one for a screen reader only by its roles.
    table.setAttribute("role", "table");
    for (const part of [table.tHead, ...table.tBodies]) part.setAttribute("role", "rowgroup");
    for (const row of heads) {
      row.setAttribute("role", "row");
      for (const cell of row.cells) cell.setAttribute("role", "columnheader");
    }
    return true;
  }

  function cards() {
    const tables = [...document.querySelectorAll(".bd-article table")].filter(prepare);
    const asMade = (table) => table.classList.remove("as-cards", "tight", "wrapped");
    const article = document.querySelector(".bd-article");
    let width = 0;

    function arrange() {
      width = article.clientWidth;
      for (const table of tables) {
        asMade(table);
        if (!table.offsetParent || !(PHONE.matches || table.matches(".dataframe"))) continue;
        const room = (table.parentElement.closest("div") ?? document.body).clientWidth;
        const isTooWide = () => table.scrollWidth > room + 1;
        const isTooHigh = () => [...table.rows].some((row) => row.offsetHeight > MOST_HEIGHT);
        for (const how of ["tight", "wrapped"]) if (isTooWide()) table.classList.add(how);
        if (PHONE.matches && (isTooWide() || isTooHigh())) {
          asMade(table);
          table.classList.add("as-cards");
        }
      }
    }

    if (!tables.length) return;
    arrange();
    new ResizeObserver(() => article.clientWidth === width || arrange()).observe(article); // a menu may slide in late
    addEventListener("load", arrange); // fonts and pictures may have changed widths
    addEventListener("beforeprint", () => tables.forEach(asMade));
    addEventListener("afterprint", arrange);
    document.addEventListener("toggle", arrange, true); // of what opens on a click
  }

  /* ---- figures: on a phone one that would shrink until its letters cannot be read scrolls in a box of its own */

  const READABLE = 0.75; // of its own size: letters are then as large as those of a caption

  function figures() {
    function isWide(image) {
      const room = image.closest(".cell_output, figure").clientWidth; // none of what is hidden
      return room && READABLE * image.naturalWidth > room + 1;
    }

    function scroll(image) {
      const box = document.createElement("div");
      box.className = "wide-figure";
      box.tabIndex = 0; // scrolls by keyboard, too
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Figure, scrolls sideways");
      box.style.setProperty("--readable", `${Math.round(READABLE * image.naturalWidth)}px`);
      const shown = image.closest("a") ?? image;
      shown.replaceWith(box);
      box.append(shown);
      const look = () => box.classList.toggle("at-end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 2);
      box.addEventListener("scroll", look);
      new ResizeObserver(look).observe(box);
    }

    function arrange() {
      if (!PHONE.matches) return; // what is in a box already is as wide as the page there
      for (const image of document.querySelectorAll(".bd-article :is(.cell_output, figure) img")) {
        if (image.closest(".wide-figure, .play, picture")) continue;
        if (!image.complete) image.addEventListener("load", arrange, { once: true });
        else if (isWide(image)) scroll(image);
      }
    }

    arrange();
    PHONE.addEventListener("change", arrange);
    document.addEventListener("toggle", arrange, true); // what was hidden has no width
  }

  /* ---- long names of files and functions: on a phone they go on in the next line behind a separator, not inside a
     word (custom.css) */

  function breaks() {
    const chance = (className) => Object.assign(document.createElement("wbr"), { className });
    for (const parameter of document.querySelectorAll(".bd-article .sig-param")) parameter.before(chance("narrow"));
    const names = ".bd-sidebar-secondary code span.pre, .bd-article :is(code span.pre, .caption-text, .sig-prename, .sig-name)";
    for (const name of document.querySelectorAll(names)) {
      const walker = document.createTreeWalker(name, NodeFilter.SHOW_TEXT);
      const texts = [];
      const where = name.closest(".bd-article") ? "narrow" : "";
      while (walker.nextNode()) texts.push(walker.currentNode);
      for (const text of texts) {
        const parts = text.data.split(/(?<=\w[/.=]|[^\W_]_)(?=\w)(?<!_(?=_)|\d\.(?=\d))/);
        if (text.length < 16 || parts.length < 2) continue;
        text.replaceWith(...parts.flatMap((part, i) => (i ? [chance(where), part] : [part])));
      }
    }
  }

  /* ---- search: an entry of the reference is found by words of its name, not by letters inside them ("afe" in
     "safe") */

  function wholeWords() {
    if (typeof Search === "undefined" || !Search.performObjectSearch) return;
    const find = Search.performObjectSearch;
    Search.performObjectSearch = (object, others) => {
      const isOneWord = /^[a-z0-9]+$/.test(object);
      const named = ([, name]) => name.toLowerCase().split(/[^a-z0-9]+/).some((word) => word.startsWith(object));
      return find(object, others).filter((result) => !isOneWord || named(result));
    };
    // What stands around the first whole word of what was searched for, not around its letters.
    Search.makeSearchSummary = (page, words, anchor) => {
      const text = Search.htmlToText(page, anchor);
      if (!text) return null;
      const escaped = [...words].map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      const at = Math.max(0, text.search(new RegExp(`\\b(${escaped.join("|")})`, "i")) - 120);
      const summary = document.createElement("p");
      summary.className = "context";
      summary.textContent = `${at ? "…" : ""}${text.slice(at, at + 240).trim()}…`;
      return summary;
    };
  }

  wholeWords();
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();

  function start() {
    previews();
    breaks();
    cards();
    figures();
  }
})();
