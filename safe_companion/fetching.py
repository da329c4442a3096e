"""Where do real recordings that anyone can fetch come from, and is what came what was published?

    safe fetch biolab data/biolab                       # clones what it needs
    safe fetch biolab data/biolab --from clones         # or takes clones that are there

book/sources.json holds the addresses, commits, licences and sums. A file whose sum differs stops
everything; files that are absent are said, and what remains is written. Nothing is overwritten.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from safe_companion import ROOT
from safe_companion.facts import cache_folder
from safe_companion.real_sets import (
    WRITERS,
    How,
    Part,
    Whole,
    frames_of,
    write_features,
    write_lists,
)

SOURCES = ROOT / "book" / "sources.json"
ABOUT = "about.json"  # beside the data: what they were made from


def sources() -> dict[str, Any]:
    """{"clones": {repository: its facts}, "sets": {name: what it is and its parts}}."""
    return json.loads(SOURCES.read_text(encoding="utf-8"))


def parts_of(about: dict[str, Any]) -> list[Part]:
    """The parts of a set, with the paths that a pattern and numbers such as "1-3,7" stand for."""
    found = []
    for part in about["parts"]:
        numbers: list[int] = []
        for text in part.get("numbers", "0").split(","):
            first, _, last = text.partition("-")
            numbers += range(int(first), int(last or first) + 1)
        paths = tuple(part["pattern"].format(number) for number in numbers)
        found.append(Part(part["clone"], part["role"], part["class"], paths, part["sha256"]))
    return found


# ---------------------------------------------------------------- clones


def given_clone(name: str, folder: Path) -> Path | None:
    """The clone of a repository in a folder of clones, or the folder itself if it is this one."""
    if (folder / name).is_dir():
        return folder / name
    return folder if folder.name == name and folder.is_dir() else None


def _git(*words: str, given: str = "") -> str:
    """What git says that went wrong; "" if nothing did."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}  # no such repository: no question
    try:
        done = subprocess.run(
            ["git", *words], input=given, capture_output=True, text=True, env=environment
        )
    except OSError as error:
        return f"git cannot be run ({error})"
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return said[-1] if done.returncode else ""


def clone(name: str, facts: dict[str, str], paths: list[str]) -> tuple[Path, str]:
    """(where it lies, what went wrong): the files of a repository at its commit, no others.

    It is kept in the cache, where another call finds it.
    """
    folder = cache_folder() / "clones" / f"{name}-{facts['commit'][:12]}" / name
    if all((folder / path).is_file() for path in paths):
        return folder, ""
    if not folder.is_dir():
        partial = folder.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of one that was stopped
        folder.parent.mkdir(parents=True, exist_ok=True)
        how = ("--quiet", "--filter=blob:none", "--no-checkout")
        if wrong := _git("clone", *how, facts["address"], str(partial)):
            return folder, wrong
        os.replace(partial, folder)
    wanted = ("--pathspec-from-file=-", "--pathspec-file-nul")
    where = ("-C", str(folder), "--literal-pathspecs")
    return folder, _git(
        *where, "checkout", "--quiet", facts["commit"], *wanted, given="\0".join(paths)
    )


def _folders(
    parts: list[Part], facts: dict[str, Any], clones: Path | None
) -> tuple[dict[str, Path], list[str]]:
    """({repository: its clone}, what is wrong with others)."""
    folders: dict[str, Path] = {}
    problems = []
    for name in dict.fromkeys(part.clone for part in parts):
        if clones is not None:
            found = given_clone(name, clones)
            if found is None:
                problems.append(f"{clones / name}: no clone of {facts[name]['address']}")
            else:
                folders[name] = found
            continue
        paths = [path for part in parts if part.clone == name for path in part.paths]
        folders[name], wrong = clone(name, facts[name], paths)
        if wrong:
            problems.append(
                f"{facts[name]['address']}: cannot be cloned ({wrong}); connect once, or clone it "
                "elsewhere and give --from FOLDER"
            )
    return folders, problems


# ---------------------------------------------------------------- sums


def sum_of(folder: Path, paths: tuple[str, ...]) -> str:
    """SHA-256 of what `sha256sum PATH ... | LC_ALL=C sort -k 2` prints in this folder."""
    lines = []
    for path in sorted(paths):
        lines.append(f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def whole_parts(parts: list[Part], folders: dict[str, Path]) -> tuple[Whole, list[str]]:
    """({part: its files}, what is absent). ValueError names parts that are not as published.

    A part of which a file is absent is left out, since its sum cannot be compared.
    """
    whole: Whole = {}
    absent = []
    changed = []
    for part in parts:
        folder = folders.get(part.clone)
        if folder is None:
            continue
        lacking = [path for path in part.paths if not (folder / path).is_file()]
        if lacking:
            count = f"{len(lacking):,} of {len(part.paths):,} files"
            absent.append(f"{folder / lacking[0]}: absent, {count}; {_what(part)} is left out")
        elif sum_of(folder, part.paths) != part.sha256:
            changed.append(f"{folder / part.paths[0]}: {_what(part)}")
        else:
            whole[part] = [folder / path for path in part.paths]
    if changed:
        raise ValueError(
            f"found other files than were published, in {len(changed)} of {len(parts)} parts, the "
            f"first {changed[0]}; expected the sums of {SOURCES.name}. Clone the commits again."
        )
    return whole, absent


def _what(part: Part) -> str:
    return f"{part.role} of {part.class_name}" if part.class_name else part.role


# ---------------------------------------------------------------- a data set


def fetch(name: str, out: Path, *, clones: Path | None = None, how: How | None = None) -> list[str]:
    """Makes the folder `out` of a set of recordings; what is to be said of it, line by line.

    clones: a folder of clones; None: they are made, in the cache. A folder that holds the same is
    left as it is. ValueError or OSError if nothing can be made; FileExistsError if the folder holds
    something else.
    """
    how = how or How()
    known = sources()
    about = known["sets"][name]
    if how.light != 1 and name != "nmnist-pairs":
        raise ValueError(f"light={how.light}; {name} has no stimulus whose light could be chosen")
    if not 0 < how.light <= 1:
        raise ValueError(f"light={how.light}; expected 1, a bright room, or less, above 0")
    parts = parts_of(about)
    folders, said = _folders(parts, known["clones"], clones)
    whole, absent = whole_parts(parts, folders)
    said += absent
    made_from = {
        "set": name,
        "form": 1,  # to be raised if what is written changes
        "parts": {f"{part.clone}: {_what(part)}": part.sha256 for part in whole},
    } | how._asdict()
    if out.exists():
        _check_same(out, made_from)
        return [*said, f"{out}: there already, nothing to do"]
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was stopped
    partial.mkdir(parents=True)
    try:
        items = WRITERS[name](whole, partial, how)
        names = write_lists(partial, items, frames_of(name))
    except ValueError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError("; ".join([str(error), *said])) from error
    published = about.get("published", {})
    known_as = [(n, published[n]["LVIS"]) for n in names if n in published]
    if write_features(whole, partial, known_as):
        said.append("clip_names.npz: CLIP's features of the class names, for text_source=file")
    counts = {split: len(listed) for split, listed in items.items()}
    text = readme(name, known, whole, absent, names, counts, how)
    (partial / "README.md").write_text(text, encoding="utf-8")
    (partial / ABOUT).write_text(json.dumps(made_from, indent=1), encoding="utf-8")
    os.replace(partial, out)
    said.append(
        f"{out}: {counts['train']:,} training and {counts['test']:,} test recordings of "
        f"{len(names)} classes; README.md says whom to cite, and under which licence they are"
    )
    return said


def _check_same(out: Path, made_from: dict[str, Any]) -> None:
    """FileExistsError if a folder is there and was made from something else."""
    try:
        before = json.loads((out / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != made_from:
        raise FileExistsError(
            f"{out}: found something else than this would write (another light, or parts that were "
            "absent); nothing is overwritten. Move it away, or give another OUT."
        )


def readme(
    name: str,
    known: dict[str, Any],
    whole: Whole,
    absent: list[str],
    names: list[str],
    counts: dict[str, int],
    how: How,
) -> str:
    """What lies beside the data: what they are, from where, the licences, and whom to cite."""
    about = known["sets"][name]
    lines = [f"# {name}", "", f"{about['about']}.", ""]
    if name == "nmnist-pairs":
        lines += [
            f"The images in `NUMBER_stimulus_aps` are **not frames of a camera**: each is the "
            f"MNIST image that was shown, as a simulated camera sees it at light {how.light:g} "
            "(1: a bright room). The events are real, and the same at every light.",
            "",
        ]
    rule = "a seeded, stratified draw; writers are not kept apart, since nothing names them"
    if name != "nmnist-pairs":
        rule = "session 1 for training, session 2 for the test"
    if how.tuning:
        rule = "of the training recordings alone, to choose recipes on"
    lines += [
        f"{counts['train']:,} training and {counts['test']:,} test recordings ({rule}) of: "
        f"{', '.join(names)}.",
        "",
    ]
    if published := about.get("published"):
        lines += ["| class | published as | in LVIS |", "|---|---|---|"]
        lines += [f"| {n} | {p['published as']} | {p['LVIS']} |" for n, p in published.items()]
        lines.append("")
    lines += ["## Licences, and whom to cite", ""]
    for clone_name in dict.fromkeys(part.clone for part in whole):
        facts = known["clones"][clone_name]
        lines += [f"{facts['address']} at {facts['commit']}", ""]
        lines += [f"- licence: {facts['licence']}", *(f"- cite: {work}" for work in facts["cite"])]
        lines.append("")
    if absent:
        parts = [line.partition("; ")[2] for line in absent]
        lines += ["## Left out, since files were absent", "", *(f"- {p}" for p in parts), ""]
    return "\n".join(lines)
