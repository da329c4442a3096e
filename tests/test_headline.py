"""What README and first page open with: it follows the records, whichever way these point."""

import re
from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_runs import made_run

from safe_companion import headline, headline_plots, rivals
from safe_companion.real_studies import LIGHTS


def test_the_readme_says_what_the_records_say_today():
    text = (ROOT / "README.md").read_text()
    assert text.count(headline.BEGIN) == text.count(headline.END) == 1
    assert headline.written_into(text) == text, "python -m safe_companion.headline README.md"


def test_a_file_without_a_place_for_the_sentences_is_refused(tmp_path):
    for text in ("nothing", f"{headline.BEGIN}\n", f"{headline.END}\n{headline.BEGIN}\n"):
        (tmp_path / "a.md").write_text(text)
        with pytest.raises(ValueError, match="a.md: found no line <!-- found --> with <!-- /found"):
            headline.write(tmp_path / "a.md")


def runs(share, dark=0):
    """Of 100 recordings so many are right, and of 100 dark ones behind them so many."""
    right = [i < share for i in range(100)] + [i < dark for i in range(100)] * bool(dark)
    conditions = ["none"] * 100 + ["dark"] * (len(right) - 100)
    return [made_run(seed, right, condition=conditions) for seed in range(3)]


def of_both_samples(**shares):
    """Each modality's runs, with its shares as `runs` has them, on both samples alike."""
    names = {"both": headline.BOTH, "rgb": headline.RGB, "events": headline.EVENTS}
    found = {names[name]: runs(*these) for name, these in shares.items()}
    return dict.fromkeys(headline.SAMPLES, found)


def test_which_of_two_and_one_camera_is_better_is_looked_at():
    said = headline.two_cameras(of_both_samples(both=(90,), rgb=(60,), events=(50,)))
    assert "over all recordings: HARDVS 90.0 % with both, 60.0 % with RGB and 50.0 % with e" in said
    assert said.startswith("**Two cameras beat one**")
    assert "fails" not in said
    said = headline.two_cameras(of_both_samples(both=(90, 50), rgb=(60, 9), events=(50, 80)))
    assert "do better than both (2 of 8 comparisons): events in the dark better by 30.0" in said
    assert "(HARDVS); events in the" in said and "RGB in" not in said
    said = headline.two_cameras(of_both_samples(both=(70,), rgb=(90,), events=(50,)))
    assert said.startswith("**Two cameras do not always beat one**")


def test_what_has_no_records_is_not_said(monkeypatch):
    found = {headline.BOTH: [], headline.RGB: [], headline.EVENTS: []}
    found |= {"no text, all": [], "random vectors, all": [], "text, all": []}
    found |= {"all components": [], "SAFE": [], "C3D": []}
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    monkeypatch.setattr(headline, "_real", lambda study: {"no text": [], "names": []})
    assert headline.sentences() == ([], [headline.what_is_open()])
    assert headline.beside_rivals().empty
    assert "![" not in headline.written_into(f"{headline.BEGIN}\n{headline.END}")


def test_the_words_are_told_apart_only_where_they_can_be(monkeypatch):
    found = {"text, all": runs(70), "no text, all": runs(70), "random vectors, 4 a class": runs(9)}
    found["random vectors, all"] = [
        made_run(s, [(i + s) % 100 < 71 for i in range(100)]) for s in range(3)
    ]
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    said = headline.words()
    assert "or nothing, none of 4 comparisons shows a change: " in said
    assert re.search(r"random vectors \+1\.0 ± .* \(HARDVS\)", said)
    found["no text, all"] = found["random vectors, all"]
    said = headline.words()
    assert "none of 4 comparisons shows a change: " in said and "Effects from " in said
    found["no text, all"] = runs(20)
    said = headline.words()
    assert re.search(
        r"2 of 4 comparisons show a change: no text worse by 50\.0 ± .* \(HARDVS\) and", said
    )
    assert "at least 3 paired runs each" in said


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((60, 95), "Another method does better than SAFE"),
        ((60, 20), "No other method that was run here does better than SAFE"),
        ((60, 71), "Whether another method does better than SAFE differs"),
    ],
)
def test_the_best_other_method_decides(monkeypatch, shares, verdict):
    found = {"SAFE": runs(70)} | dict(zip(("C3D", "TSM"), map(runs, shares), strict=True))
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    said = headline.other_methods()
    assert said.startswith(f"**{verdict}")
    best = "TSM" if shares[1] > shares[0] else "C3D"
    assert f"HARDVS, {best} (the best of 2, a choice that the interval" in said


def test_what_the_network_alone_gives_stands_beside_another_method(monkeypatch):
    found = {"SAFE": runs(70), "TSM": runs(95)}
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    assert "Part of it" not in headline.other_methods()
    found |= {"CLIP, fine-tuned": runs(70)[:1], "ResNet, fine-tuned": runs(90)[:1]}
    assert "in place of CLIP's ViT: better by 20.0 ±" in headline.other_methods()
    assert headline.other_methods().count("(PokerEvent, 1 paired run)") == 1


def test_methods_that_are_hardly_trained_are_not_counted(monkeypatch):
    found = {"SAFE": runs(70), "TSM": runs(95), "C3D": runs(20)}
    begun = {"history": [{"train_loss": 3.0}], "log_probs": np.zeros((100, 24))}
    found["C3D"] = [run | begun for run in found["C3D"]]
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    said = headline.other_methods()
    assert said.startswith("**Another method does better") and "HARDVS, TSM better by " in said
    assert "(SAFE: 70 %); " in said
    assert "choice" not in said and said.endswith("guess's are left out.")


def test_real_events_say_what_the_names_add(monkeypatch):
    found = {"no text": runs(80), "random vectors": runs(80), "names": runs(60)}
    digits = {"events": []} | {f"both, light {light}": [] for light in LIGHTS}
    of_study = {"real_biolab": found, "real_nmnist": digits}
    monkeypatch.setattr(headline, "_real", of_study.get)
    said = headline.real_events()
    assert said.startswith("**On real events, text makes a difference in 1 of 2 cases that can be")
    assert "80 % without text" in said and "random vectors 0.0 ± 0.0" in said
    assert "names worse by 20.0 ±" in said and "at least 3 paired runs each" in said
    assert "N-MNIST" not in said


def test_real_digits_say_at_how_many_lights_the_image_adds_something(monkeypatch):
    found = {"events": runs(80), "few: events": runs(10)}
    found |= {f"both, light {light}": runs(95 if light == "1" else 81) for light in LIGHTS}
    monkeypatch.setattr(headline, "_real", lambda study: found)
    said = headline.real_digits()
    assert "(N-MNIST; events alone 80 %): better at 1 of 4 brightness levels" in said
    found |= {f"both, light {light}": runs(81) for light in LIGHTS}
    assert "%): nothing changes that can be told, at any of 4 brightness" in headline.real_digits()


# ------------------------------------------------------------------------------- the picture
def said_in(svg):
    """(what the picture says in words, its letters, text by text)."""
    (description,) = re.findall("<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    return unescape(description), [unescape(found) for found in re.findall("<!-- (.*?) -->", svg)]


def test_the_picture_shows_what_the_records_say_today():
    svg = headline.PICTURE.read_text(encoding="utf-8")
    table = headline.beside_rivals()
    words, letters = said_in(svg)
    assert words == headline_plots.in_words(table), "python -m safe_companion.headline README.md"
    numbers = [text for text in letters if "±" in text]
    drawn = [headline_plots.number(top1, half) for top1, half in table[["top1", "half"]].values]
    assert numbers == drawn
    assert len(svg.encode()) < 150_000 and "<image" not in svg


MADE = pd.DataFrame(
    {"top1": [50.0, 60.0, 71.5, 80.25], "half": [1.0, 2.0, np.nan, 0.5], "seeds": [3, 3, 1, 3]},
    index=pd.MultiIndex.from_product([["hardvs"], headline_plots.ROWS], names=["sample", "row"]),
)


def test_the_dots_stand_where_the_numbers_say_and_the_axis_holds_every_interval():
    fig = headline_plots.accuracies(MADE)
    (ax,) = fig.axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    dots = [line for line in ax.lines if line.get_marker() in ("o", "s", "D")]
    shown = {names[dot.get_ydata()[0]]: dot.get_xdata()[0] for dot in dots}
    assert shown == MADE.loc["hardvs"].top1.to_dict()
    numbers = ["50.0 ± 1.0", "60.0 ± 2.0", "71.5", "80.2 ± 0.5"]
    assert [text.get_text() for text in ax.texts] == numbers
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [tuple(bar) for bar in bars if np.isfinite(bar).all()] == [
        (49, 51),
        (58, 62),
        (79.75, 80.75),
    ]
    assert ax.get_xlim() == (45, 85)
    assert "over 1 to 3 seeds" in ax.get_xlabel()
    plt.close(fig)


def test_the_picture_is_one_file_for_the_same_records_and_none_without(tmp_path, monkeypatch):
    file = tmp_path / "found.svg"
    monkeypatch.setattr(headline, "PICTURE", file)
    monkeypatch.setattr(headline, "beside_rivals", lambda: MADE)
    headline.draw()
    svg = file.read_text(encoding="utf-8")
    assert said_in(svg)[0].endswith(
        "Sample of HARDVS: RGB alone 50.0 ± 1.0 %, events alone 60.0 ± 2.0 %, SAFE 71.5 %, "
        "late fusion 80.2 ± 0.5 %."
    )
    headline.draw()
    assert file.read_text(encoding="utf-8") == svg
    monkeypatch.setattr(headline, "beside_rivals", lambda: MADE[:0])
    headline.draw()
    assert not file.exists()


def test_the_rows_of_the_picture_are_one_camera_each_safe_and_their_average(monkeypatch):
    found = of_both_samples(both=(90,), rgb=(60,), events=(50,))
    rgb, events = (found["hardvs"][name] for name in (headline.RGB, headline.EVENTS))
    late = {(id(rgb), id(events)): {rivals.LATE: runs(95)}}
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found[dataset])
    monkeypatch.setattr(headline.rivals, "rivals", lambda a, b: late[id(a), id(b)])
    table = headline.beside_rivals().loc["hardvs"]
    assert table.top1.to_dict() == dict(zip(headline_plots.ROWS, (60, 50, 90, 95), strict=True))
    assert set(table.half) == {0} and set(table.seeds) == {3}


def test_the_picture_stands_below_the_sentences_that_it_shows(monkeypatch):
    monkeypatch.setattr(headline, "sentences", lambda: (["shown"], ["rest"]))
    monkeypatch.setattr(headline, "beside_rivals", lambda: MADE)
    lines = headline.written_into(f"{headline.BEGIN}\n{headline.END}").splitlines()
    words = f"![{headline_plots.in_words(MADE)}](book/_static/found.svg)"
    below = ["", words, "", headline_plots.caption(MADE), ""]
    assert lines == [headline.BEGIN, "- shown", *below, "- rest", headline.END]


def test_a_component_alone_with_its_verdict_is_named_with_its_difference(monkeypatch):
    lines = {
        "no text": (0.1, 0.4, 8, 0.5, "smaller than the paper's"),
        "no AFE": (-0.2, 0.5, 8, 0.8, "smaller than the paper's"),
        "no self-attention": (0.7, 0.6, 1, 1.3, "opposite"),
        "not run": (float("nan"), float("nan"), 0, float("nan"), "not run"),
    }
    columns = ["difference", "± difference", "pairs", "detectable", "verdict"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    monkeypatch.setattr(headline, "_study", lambda name, dataset: dict.fromkeys(lines, [1]))
    monkeypatch.setattr(headline.claims, "beside_paper", lambda rows, where: table)
    said = headline.components()
    assert said.startswith("**None of the 3 components of Table 4 can be told to help**")
    assert "2 not to be told from zero, and smaller than the paper's; " in said
    table.loc["no text", "verdict"] = "same direction"
    assert headline.components().startswith("**1 of the 3 components of Table 4 can be told to")
    assert "in the opposite direction (no self-attention: +0.7 ± 0.6, 1 paired run). Eff" in said
    assert "Effects from 0.5 to 1.3 points, by component, would be seen 4 times in 5" in said


def test_late_fusion_stands_beside_two_averaged_models_of_safe(monkeypatch):
    late = {rivals.LATE: runs(95)}
    found = of_both_samples(both=(90,), rgb=(60,), events=(50,))
    monkeypatch.setattr(headline.rivals, "rivals", lambda rgb, events: late)
    monkeypatch.setattr(headline.rivals, "of_two_seeds", lambda fused: runs(92)[:1])
    said = headline.fusion(found)
    assert said.startswith("**SAFE's fusion does not reach its plainest rival**")
    assert "HARDVS 95.0 %, SAFE worse by 5.0 ± " in said
    assert "Two SAFE models averaged alike: HARDVS 92.0 % beside 95.0 % of late fusion, " in said
    monkeypatch.setattr(headline.rivals, "of_two_seeds", lambda fused: [])
    assert "Two SAFE models" not in headline.fusion(found)
