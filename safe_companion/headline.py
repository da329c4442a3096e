"""What did this project find? Sentences and a picture that README and first page open with.

Both come from the records. Each sentence looks at its numbers before it says which way they point;
one whose records are missing is left out. `python -m safe_companion.headline README.md` brings the
README and the picture up to date; tests compare them.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from safe_companion import (
    ROOT,
    claims,
    effects,
    headline_plots,
    real_studies,
    recipe,
    records,
    rivals,
    studies,
    wording,
)
from safe_companion.datasets import TITLES
from safe_companion.studies import Found

BEGIN, END = "<!-- found -->", "<!-- /found -->"
PICTURE = ROOT / "book" / "_static" / "found.svg"
SAMPLES = ("hardvs", "pokerevent")
BOTH, RGB, EVENTS = (f"{name}, with text" for name in ("RGB and events", "RGB", "events"))
SAID = {
    "smaller than the paper's": "not to be told from zero, and smaller than the paper's",
    "cannot tell": "not to be told from zero or from the paper's",
    "same direction": "in the paper's direction",
    "opposite": "in the opposite direction",
}


def sentences() -> tuple[list[str], list[str]]:
    """What can be said today, in Markdown: what the picture shows, and the rest."""
    modalities = _modalities()
    shown = [two_cameras(modalities), fusion(modalities)]
    rest = [other_methods(), words(), components(), real_events(), how_long(), what_is_open()]
    return list(filter(None, shown)), list(filter(None, rest))


def written_into(text: str) -> str:
    """A text with the sentences of today between BEGIN and END, and the picture among them."""
    shown, rest = ("".join(f"- {said}\n" for said in part) for part in sentences())
    table = beside_rivals()
    picture = ""
    if len(table):
        place = PICTURE.relative_to(ROOT).as_posix()
        words, below = headline_plots.in_words(table), headline_plots.caption(table)
        picture = f"\n![{words}]({place})\n\n{below}\n\n"
    pattern = f"{re.escape(BEGIN)}\n.*?{re.escape(END)}"
    written = f"{BEGIN}\n{shown}{picture}{rest}{END}"
    return re.sub(pattern, lambda _: written, text, flags=re.DOTALL)


def write(file: Path) -> None:
    """Brings sentences and picture of a file up to date. ValueError if it has no place for them."""
    text = file.read_text()
    if f"{BEGIN}\n" not in text or END not in text.split(f"{BEGIN}\n")[1]:
        raise ValueError(f"{file}: found no line {BEGIN} with {END} after it; expected both")
    file.write_text(written_into(text))


def draw() -> None:
    """Writes the picture of today to PICTURE; takes it away if there are no records of it."""
    table = beside_rivals()
    if len(table):
        PICTURE.write_text(headline_plots.svg(table), encoding="utf-8")
    else:
        PICTURE.unlink(missing_ok=True)


# ------------------------------------------------------------------------------- the picture
def beside_rivals() -> pd.DataFrame:
    """One line per (sample, row of the picture): top-1 with its interval over seeds, and seeds."""
    lines = []
    for sample, rows in _modalities().items():
        late = rivals.rivals(rows[RGB], rows[EVENTS])[rivals.LATE]
        shown = (rows[RGB], rows[EVENTS], rows[BOTH], late)
        for row, runs in zip(headline_plots.ROWS, shown, strict=True):
            if runs:
                top1, half = effects.mean_and_interval([run["test"]["top1"] for run in runs])
                lines.append((sample, row, top1, half, len(runs)))
    table = pd.DataFrame(lines, columns=["sample", "row", "top1", "half", "seeds"])
    return table.set_index(["sample", "row"])


# ------------------------------------------------------------------------------- sentences
def _study(name: str, dataset: str) -> Found:
    rows = studies.studies(dataset, "sample")[name]
    return studies.study(rows, dataset=dataset, seeds=None)


def _real(study: str) -> Found:
    rows = real_studies.real_studies()[study]
    return studies.study(rows, dataset="folder", preset=real_studies.PRESET, seeds=None)


def _accuracy(runs: list[dict]) -> float:
    return float(np.mean([run["test"]["top1"] for run in runs]))


def _in_words(line: dict, effect: str) -> str:
    """A line of a table of differences: "worse by 2.2 ± 1.0 points, 3 paired runs"."""
    return wording.compared(line["difference"], line["± difference"], line["pairs"], effect)


def _amount(mean: float, half: float, effect: str) -> str:
    """Such as −0.2 ± 0.7, or better by 2.6 ± 1.4 if that can be told."""
    if effect in ("better", "worse"):
        return f"{effect} by {wording.of_difference(mean, half, sign=False)}"
    return wording.of_difference(mean, half)


def _verdict(effect: list[str], *, better: str, worse: str, otherwise: str) -> str:
    """What all samples agree on."""
    if set(effect) == {"better"}:
        return better
    return worse if set(effect) == {"worse"} else otherwise


def _modalities() -> dict[str, Found]:
    """{sample: its runs by modality}, of samples where each modality was run."""
    found = {name: _study("modalities", name) for name in SAMPLES}
    return {k: rows for k, rows in found.items() if rows[BOTH] and rows[RGB] and rows[EVENTS]}


def two_cameras(found: dict[str, Found]) -> str:
    """Both modalities beside either alone, over all recordings and where one camera fails."""
    if not found:
        return ""
    parts, better, exceptions, tried = [], True, [], 0
    for name, rows in found.items():
        table = effects.effect_table(rows, baseline=BOTH)
        better = better and set(table.effect[[RGB, EVENTS]]) == {"worse"}
        shown = {row: rows[row] for row in (BOTH, RGB, EVENTS)}
        both, rgb, events = (f"{_accuracy(runs):.1f} % with" for runs in shown.values())
        parts.append(f"{TITLES[name]} {both} both, {rgb} RGB and {events} events")
        by_condition = effects.breakdown(shown, baseline=BOTH, by="condition")
        for row, alone in ((RGB, "RGB"), (EVENTS, "events")):
            tried += len(by_condition.loc[row])
            for condition, line in by_condition.loc[row].iterrows():
                if line["effect"] == "better":
                    gain = _amount(line["difference"], line["± difference"], "better")
                    where = wording.WHERE[str(condition)]
                    exceptions.append(f"{alone} {where} {gain} ({TITLES[name]})")
    verdict = "Two cameras beat one" if better else "Two cameras do not always beat one"
    said = f"**{verdict}**, over all recordings: {'; '.join(parts)}."
    if exceptions:
        said += (
            " Where one camera fails, the other alone can do better than both "
            f"({len(exceptions)} of {tried} comparisons): {'; '.join(exceptions)}."
        )
    return said


def fusion(modalities: dict[str, Found]) -> str:
    """SAFE beside the mean of two single models' log-probabilities, which needs no fusion."""
    parts, effect, averaged = [], [], []
    for name, rows in modalities.items():
        found = rivals.rivals(rows[RGB], rows[EVENTS])
        table = rivals.compared(rows[BOTH], found)
        if rivals.LATE not in table.index:
            continue
        line = table.loc[rivals.LATE].to_dict()
        effect.append(line["SAFE is"])
        said = _in_words(line, line["SAFE is"])
        parts.append(f"{TITLES[name]} {line['top-1 [%]']:.1f} %, SAFE {said}")
        if of_two := rivals.averaged(rows[BOTH], found[rivals.LATE]):
            averaged.append(f"{TITLES[name]} {of_two}")
    if not parts:
        return ""
    verdict = _verdict(
        effect,
        better="SAFE's fusion beats its plainest rival",
        worse="SAFE's fusion does not reach its plainest rival",
        otherwise="Whether SAFE's fusion beats its plainest rival differs, or cannot be told",
    )
    said = (
        f"**{verdict}**, two models of one camera each, trained alone, for as many steps each as "
        f"SAFE, whose log-probabilities are averaged (late fusion): {'; '.join(parts)}."
    )
    if averaged:
        said += f" Two SAFE models averaged alike: {'; '.join(averaged)}."
    return said


def other_methods() -> str:
    """The best of the other methods of Tables 2 and 3 that are trained here, beside SAFE."""
    parts, effect = [], []
    for name, study in {"hardvs": "table3", "pokerevent": "table2"}.items():
        found = _study(study, name)
        table = effects.effect_table(found, baseline="SAFE")
        begun = [row for row in found if not any(map(records.hardly_trained, found[row]))]
        compared = table[(table.pairs > 1) & table.index.isin(begun)]
        if compared.empty:
            continue
        best = str(compared.difference.idxmax())
        line = compared.loc[best].to_dict()
        effect.append(line["effect"])
        chosen = ""
        if len(compared) > 1:
            chosen = f" (the best of {len(compared)}, a choice that the interval leaves out)"
        own = f"SAFE: {table['top-1 [%]'].iloc[0]:.0f} %"
        said = _in_words(line, line["effect"])
        parts.append(f"{TITLES[name]}, {best}{chosen} {said} ({own})")
    if not parts:
        return ""
    verdict = _verdict(
        effect,
        better="Another method does better than SAFE",
        worse="No other method that was run here does better than SAFE",
        otherwise="Whether another method does better than SAFE differs, or cannot be told",
    )
    return (
        f"**{verdict}**, in as many steps: {'; '.join(parts)}. Each has a network for each camera, "
        f"SAFE (here with rewritten prompts and AFE) one for both.{_of_tower()} Methods whose "
        "training loss is still above half of a guess's are left out."
    )


def _of_tower() -> str:
    """What SAFE gains where its tower is such a network as the best other methods have."""
    found = _study("backbones", "pokerevent")
    resnet, clip = (found.get(f"{name}, fine-tuned", []) for name in ("ResNet", "CLIP"))
    gain = effects.difference(resnet, clip, table=found)
    if not gain.pairs:
        return ""
    amount = _amount(gain.mean, gain.half, gain.effect)
    runs = wording.counted(gain.pairs, "paired run")
    return (
        " Part of it may be the network, a small ResNet: with it as SAFE's tower, in place of "
        f"CLIP's ViT: {amount} points (PokerEvent, {runs})."
    )


def words() -> str:
    """Without any text, with vectors that say nothing; and what the names cannot do."""
    parts, gains = [], []
    studied = {name: _study("text", name) for name in SAMPLES}
    for what in ("no text", "random vectors"):
        of_samples = []
        for name, found in studied.items():
            rows = {row: runs for row, runs in found.items() if row.endswith(", all")}
            gain = effects.difference(rows[f"{what}, all"], rows["text, all"], table=rows)
            if gain.pairs > 1:
                gains.append(gain)
                of_samples.append(f"{_amount(gain.mean, gain.half, gain.effect)} ({TITLES[name]})")
        if of_samples:
            parts.append(f"{what} {' and '.join(of_samples)}")
    if not parts:
        return ""
    least, most = (of(gain.smallest for gain in gains) for of in (min, max))
    pairs = min(gain.pairs for gain in gains)
    told = sum(gain.effect in ("better", "worse") for gain in gains)
    show = "shows" if told <= 1 else "show"
    verdict = f"{told or 'none'} of {len(gains)} comparisons {show} a change"
    return (
        "**The class names are a set**: nothing in the model tells it which name belongs to which "
        "output, so names in another order give the same answers (proved, and tested). Trained "
        f"with something else in their place, or nothing, {verdict}: {'; '.join(parts)} (points, "
        f"beside plain SAFE with the names; at least {wording.counted(pairs, 'paired run')} each). "
        f"Effects from {least:.1f} to {most:.1f} points, by comparison, would be seen 4 times in 5."
    )


def components() -> str:
    """The verdicts of Table 4."""
    rows = _study("table4", "pokerevent")
    if not all(rows.values()):
        return ""
    table = claims.beside_paper(rows, "Table 4")
    table = table[table.difference.notna()]
    counts = Counter(table.verdict)
    parts = []
    for verdict, count in counts.most_common():
        said = f"{count} {SAID.get(verdict, verdict)}"
        for row, line in table[table.verdict == verdict].iterrows():
            if count == 1:
                over = wording.counted(line.pairs, "paired run")
                amount = wording.of_difference(line.difference, line["± difference"])
                said += f" ({row}: {amount}, {over})"
        parts.append(said)
    helping = counts["same direction"] or "None"
    return (
        f"**{helping} of the {len(table)} components of Table 4 can be told to help**, taken away "
        "one by one from SAFE with rewritten prompts and AFE on the sample of PokerEvent: "
        f"{'; '.join(parts)}. Effects from {table.detectable.min():.1f} to "
        f"{table.detectable.max():.1f} points, by component, would be seen 4 times in 5; of twenty "
        "comparisons without any effect about one shows one by chance."
    )


def real_events() -> str:
    """What the class names add where no event is ours."""
    table = effects.effect_table(_real("real_biolab"), baseline="no text")
    compared = table[table.pairs > 1]
    if compared.empty:
        return ""
    amounts = map(_amount, compared.difference, compared["± difference"], compared.effect)
    parts = [f"{row} {amount}" for row, amount in zip(compared.index, amounts, strict=True)]
    limit, pairs = compared.detectable.max(), int(compared.pairs.min())
    told = sum(effect in ("better", "worse") for effect in compared.effect)
    verdict = f"a difference in {told} of {len(compared)} cases" if told else "no difference"
    return (
        f"**On real events, text makes {verdict} that can be told** (seven objects on a turntable "
        "before a DVS128, trained on one session, tested on another, a single take of each, so the "
        f"intervals are too narrow): {table['top-1 [%]'].iloc[0]:.0f} % without text; with "
        f"{'; '.join(parts)} points, "
        f"at least {wording.counted(pairs, 'paired run')} each. "
        f"Effects from {limit:.1f} points would be seen 4 times in 5.{real_digits()}"
    )


def real_digits() -> str:
    """Whether an image beside real events adds to them, at how many lights."""
    found = _real("real_nmnist")
    whole = {row: runs for row, runs in found.items() if not row.startswith("few: ")}
    table = effects.effect_table(whole, baseline="events")
    both = table.loc[[f"both, light {light}" for light in real_studies.LIGHTS]]
    if not (both.pairs > 1).all():
        return ""
    told = Counter(effect for effect in both.effect if effect in ("better", "worse"))
    said = ", ".join(f"{effect} at {count}" for effect, count in told.most_common())
    return (
        f" The image that was filmed, added to the events of digits (N-MNIST; events alone "
        f"{table['top-1 [%]']['events']:.0f} %): "
        f"{said if told else 'nothing changes that can be told, at any'} of {len(both)} brightness "
        f"levels; effects from {both.detectable.max():.1f} points would be seen 4 times in 5."
    )


def how_long() -> str:
    """How far the models are from trained out, and whether that decides SAFE beside late fusion."""
    found = [{name: _study(study, name) for name in SAMPLES} for study in ("recipe", "longer")]
    return recipe.in_short(*found)


def what_is_open() -> str:
    """What no sample can settle."""
    return (
        "**What only HARDVS and PokerEvent can settle**: every accuracy of the paper, and whether "
        "OpenAI's CLIP ViT-B/16 does what our tiny one does. No model here has seen either."
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
    draw()
