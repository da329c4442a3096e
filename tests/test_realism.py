"""Statistics of event streams on streams whose statistics are known; baselines; real studies."""

import dataclasses
import json
import re

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_runs import of_accuracies
from matplotlib import pyplot as plt
from PIL import Image
from recipes import make_events, random_events, save_npz

import safe_core
from safe_companion import (
    baselines,
    claims,
    datasets,
    effects,
    notebooks,
    places,
    real_studies,
    realism,
)
from safe_companion.__main__ import main
from safe_companion.recordings import Recording

matplotlib.use("Agg")
SIZE = (20, 10)


def recording(events, size=SIZE):
    return Recording("r", ROOT / "r", size, events)


def noise(hz, seconds, seed=0, size=SIZE):
    count = round(hz * seconds * size[0] * size[1])
    return random_events(count, size, seed, round(seconds * 1e6))


# ---------------------------------------------------------------- statistics


def test_rates_shares_and_ink_are_what_was_put_in():
    events = noise(2.0, 5.0)
    events["p"][: len(events) // 4] = 1
    events["p"][len(events) // 4 :] = 0
    found = realism.statistics([recording(events)] * 2)
    assert found["recordings"] == 2 and found["seconds"] == pytest.approx(10, rel=0.01)
    assert found["rate"] == pytest.approx(2.0, rel=0.01) and found["size"] == [20, 10]
    assert found["on"] == pytest.approx(25, abs=0.1)
    assert found["ink"] == pytest.approx(100 * (1 - np.exp(-0.2)), rel=0.05)  # Poisson's


def test_the_ink_of_a_piece_that_is_a_little_shorter_than_a_window_counts():
    events = make_events((0, 0, 0, 1), (1, 0, 50_000, 0), (1, 0, 97_000, 0))
    assert realism.statistics([recording(events)])["ink"] == pytest.approx(1.0)
    events["t"] //= 3
    assert realism.statistics([recording(events)])["ink"] is None


def test_sparse_noise_is_alone_and_a_moving_edge_is_not():
    sparse = realism.statistics([recording(noise(0.2, 10.0, size=(60, 60)), (60, 60))])
    assert sparse["alone"] > 97 and sparse["noise"] == pytest.approx(0.2, rel=0.05)
    rows = [(x, y, 5_000 * x, 1) for x in range(20) for y in range(10)]  # a column each 5 ms
    edge = realism.statistics([recording(make_events(*rows))])
    assert edge["alone"] == 0 and edge["noise"] == 0


@pytest.mark.parametrize(
    ("second", "alone"),
    [
        ((6, 5, 19_000, 0), 0),
        ((6, 5, 31_000, 0), 1),
        ((7, 5, 19_000, 0), 1),
        ((5, 5, 19_000, 0), 0),
    ],
)
def test_company_is_a_neighbour_or_the_pixel_itself_in_the_last_ten_milliseconds(second, alone):
    first = [(0, 0, 0, 0), (5, 5, 15_000, 1)]
    found = realism.statistics([recording(make_events(*first, second))])
    assert found["alone"] == pytest.approx(100 * (1 + alone) / 2)


def test_quiet_pixels_and_short_gaps_are_found():
    busy = noise(50, 11.0)
    busy = busy[busy["y"] > 1]  # two of ten rows are silent
    assert realism.statistics([recording(busy)])["quiet"] == 0
    assert realism.statistics([recording(noise(2, 11.0))])["quiet"] == pytest.approx(1.3, abs=0.2)
    assert realism.statistics([recording(noise(2, 2.0))])["quiet"] is None  # who knows yet
    steady = make_events(*[(3, 3, 700 * (i // 2), i % 2) for i in range(1000)])  # in pairs
    assert realism.statistics([recording(steady)])["soonest"] == 700


def test_two_cameras_are_not_measured_as_one_and_nothing_is_no_camera():
    two = [recording(noise(1, 1.0)), recording(noise(1, 1.0, size=(8, 8)), (8, 8))]
    with pytest.raises(ValueError, match="sensor of .8, 8., .20, 10. before"):
        realism.statistics(two)
    with pytest.raises(ValueError, match="no recording with events"):
        realism.statistics([Recording("r", ROOT, SIZE)])


def measured(**values):
    return dict.fromkeys(realism.MEASURES, 1.0) | {"size": [128, 128]} | values


def test_the_answer_says_which_measures_of_the_samples_lie_among_the_real_ones():
    table = {
        "sample of a": measured(rate=5.0, on=50.0),
        "sample of b": measured(rate=1.5, on=60.0),
        "x": measured(rate=1.0, on=55.0),
        "y": measured(rate=4.0, on=70.0),
    }
    said = "The samples lie within the real recordings in 5 of 7 measures and outside in 2: "
    assert realism.in_words(table) == said + "more events, fewer ON events."
    lines = realism.listed(table).splitlines()
    spans = "(1.50 to 5 in the samples, 1 to 4 in real recordings)"
    assert lines[0] == f"- outside: events a pixel and second {spans}"
    assert lines[1].startswith("- outside: ON events, % of all (50 to 60 in the samples")
    assert len(lines) == 7 and all(line.startswith("- within: ") for line in lines[2:])
    table["sample of b"]["rate"] = 0.5
    assert "in 2: fewer events and more events, fewer ON" in realism.in_words(table)
    assert realism.in_words({"sample of a": measured(), "x": measured()}).endswith("7 measures.")
    counted = {"sample of a": measured(soonest=3548.0), "x": measured(soonest=2154.6)}
    assert "(3,548 in the samples, 2,155 in real recordings)" in realism.listed(counted)
    assert realism.in_words({}) == "Nothing was measured that could be compared."


def test_the_answer_says_what_a_lone_event_is_where_it_first_names_one():
    table = {"sample of a": measured(alone=5.0, noise=5.0), "x": measured()}
    said = "a larger share of lone events (with none on their pixel or its neighbours in the 10 ms "
    assert realism.in_words(table).endswith(f"in 2: {said}before), more lone events.")


def test_the_table_names_samples_and_units_as_people_write_them():
    table = realism.table({"sample of hardvs": measured(rate=2.0), "N-MNIST": measured()})
    assert list(realism.table({"folder": measured()}).index) == ["folder"]  # a user's own name
    assert list(table.index) == ["sample of HARDVS", "N-MNIST"]
    assert table[realism.MEASURES["rate"]].tolist() == [2, 1]
    assert table.columns[-1].endswith(", µs")


def test_advice_names_fields_of_the_world():
    from safe_companion.sample import World

    found = realism.advice(measured(quiet=0.04, noise=0.3, soonest=950.0, on=56.0))
    named = {name for key in found for name in key.split(", ")}
    assert named <= {field.name for field in dataclasses.fields(World)}
    assert (
        "near 0.3 (by the lone events) and 0.04 (by the quietest" in found["noise_hz"]
        and "at most 950" in found["refractory_us"]
    )
    assert ", neither a bound, " in found["noise_hz"]
    short = realism.advice(measured(quiet=None, noise=0.02))["noise_hz"]
    assert short.startswith("near 0.02 (by the lone events), not a bound, events a second")
    assert found["width, height"].startswith("128, 128")
    about = realism.without_a_field({"sample of a": measured(), "x": measured(on=56.0)})
    assert about.startswith("Of the events, 56 % (x) are ON. ") and "sample" not in about


def test_doubled_events_are_no_advice_on_how_soon_a_pixel_recovers():
    said = realism.advice(measured(soonest=1.0))["refractory_us"]
    assert "doubled events" in said and "at most" not in said
    assert set(realism.BESIDE) == set(realism.MEASURES)


def test_the_command_keeps_what_was_measured_of_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(realism, "of_samples", lambda most: {"sample of a": measured(size=SIZE)})
    for i in range(3):
        save_npz(tmp_path / "mine" / "a" / f"{i}.npz", noise(1, 1.0, i), sensor_size=SIZE)
    file = tmp_path / "kept.json"
    file.write_text(json.dumps({"other": measured(), "mine": "old"}))
    assert main(["realism", f"mine={tmp_path / 'mine'}", "--most", "2", "--save", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert set(kept) == {"other", "mine", "sample of a"} and kept["mine"]["recordings"] == 2
    said = capsys.readouterr().out
    assert kept["mine"]["date"] and "for a World like mine" in said
    assert "% (mine) are ON. `World` has one threshold" in said
    assert main(["realism", "mine"]) == 2 and "NAME=PATH" in capsys.readouterr().err


# ---------------------------------------------------------------- baselines


@pytest.fixture
def folder(tmp_path):
    """Two classes that differ by where a square is; one label of the test list is wrong."""
    lists = {"train": [], "test": []}
    for split, count in (("train", 6), ("test", 4)):
        for label, name in enumerate(("left", "right")):
            for i in range(count):
                pixels = np.full((32, 32, 3), 255, np.uint8)
                column = 4 if label == 0 else 20
                pixels[8 + i : 16 + i, column : column + 8] = (220, 30, 30)
                sample = f"{split}_{i}"
                place = tmp_path / "data" / name / sample / f"{sample}_dvs"
                place.mkdir(parents=True)
                Image.fromarray(pixels).save(place / "00000000.png")
                lists[split].append(f"{name}/{sample} 1 {label}\n")
    lists["test"][0] = "left/test_0 1 1\n"
    for split, lines in lists.items():
        (tmp_path / "data" / f"{split}_label.txt").write_text("".join(lines))
    return tmp_path / "data"


def test_baselines_answer_every_test_recording_and_compare_as_runs_do(folder, tmp_path, capsys):
    file = tmp_path / "of" / "answers.csv"
    assert main(["baselines", str(folder), str(file)]) == 0
    said = capsys.readouterr().out
    assert "nearest neighbour: top-1 87.5 %" in said and "chance: top-1 " in said
    table = pd.read_csv(file)
    assert list(table.columns) == ["name", "label", *baselines.NAMES] and len(table) == 8
    assert (table["nearest neighbour"] == [0] * 4 + [1] * 4).all()
    assert (table["linear probe"] == [0] * 4 + [1] * 4).all() and table.chance.nunique() == 1
    found = baselines.as_runs(file, 3)
    compared = effects.effect_table(found, baseline="chance")
    assert compared.pairs["nearest neighbour"] == 3
    assert compared.difference["linear probe"] == 87.5 - compared["top-1 [%]"]["chance"]
    assert baselines.as_runs(tmp_path / "none.csv", 3) == {name: [] for name in baselines.NAMES}


def test_baselines_refuse_clips_that_are_drawn(folder):
    config = safe_core.configure(
        "sample", dataset="folder", data_root=str(folder), modality="event", frames=1
    )
    with pytest.raises(ValueError, match="augment='none'"):
        baselines.answers(datasets.open_dataset(config), config)


# ---------------------------------------------------------------- studies


def all_rows():
    for study, rows in real_studies.real_studies().items():
        for row, fields in rows.items():
            config = safe_core.configure(real_studies.PRESET, **fields)
            yield study, row, config, places.Place.of(config).name


def test_real_studies_are_real_and_each_row_has_a_place_of_its_own():
    names = {}
    for study, row, config, name in all_rows():
        folder = config.data_root.removeprefix(f"{real_studies.DATA}/")
        assert config.origin == "real" and folder in real_studies.FOLDERS
        assert name.startswith(f"real/folder/data_root={folder},preset=sample,")
        assert name not in names, f"{row} of {study} is {names.get(name)}"
        names[name] = row
    assert min(n for study, n in real_studies.SEEDS.items() if study != "real_nmnist") >= 8


def test_rows_of_one_study_differ_in_what_they_are_named_for():
    rows = real_studies.real_studies()["real_nmnist"]
    for light in real_studies.LIGHTS:
        both, stimulus = rows[f"both, light {light}"], rows[f"stimulus, light {light}"]
        assert stimulus == both | {"modality": "rgb"}
        assert rows[f"both, light {light}, no names"] == both | {"use_text": False}
    assert all(fields["steps"] == 300 and fields["val_fraction"] == 0 for fields in rows.values())


def test_no_claim_of_the_paper_rests_on_them():
    shown = claims.ledger().record.dropna()
    assert not shown.str.contains("real/folder").any()


def test_make_real_fetches_every_folder_that_a_study_reads():
    makefile = (ROOT / "Makefile").read_text()
    lights = makefile.split("LIGHTS := ")[1].splitlines()[0].split()
    assert tuple(lights) == real_studies.LIGHTS
    for folder, (name, _) in real_studies.FOLDERS.items():
        if name != "nmnist-pairs":
            assert f"safe fetch {name} {real_studies.DATA}/{folder}\n" in makefile
    swept = re.findall(r"snakemake (real_.*?) \$", makefile)
    assert set(real_studies.real_studies()) == set(" ".join(swept).split())


# ---------------------------------------------------------------- pages


def page_of(name, monkeypatch, accuracies):
    """{names of a notebook} after its cells have run, with made-up runs in place of records."""

    def open_real_study(study, *, seeds):
        rows = real_studies.real_studies()[study]
        found = {}
        for row in rows:
            runs = of_accuracies(*accuracies(row), recordings=200, origin="real", p1=0.5)
            found[row] = runs
        return notebooks.Opened(study, "folder", "data", "sample", rows, found)

    monkeypatch.setattr(notebooks, "open_real_study", open_real_study)
    monkeypatch.setattr(notebooks, "check_parameters", lambda: None)
    monkeypatch.setattr(
        baselines,
        "as_runs",
        lambda *_: {n: of_accuracies(*[40] * 5, recordings=200) for n in baselines.NAMES},
    )
    monkeypatch.chdir(ROOT / "notebooks")
    names = {}
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, name, "exec"), names)
    plt.close("all")
    return names


def test_the_page_of_nmnist_says_at_which_light_two_inputs_beat_one(monkeypatch):
    def accuracies(row):
        if "light 1" in row.split(", no names")[0].removeprefix("few: ").split(",")[-1]:
            return (95,) * 5 if row.startswith("both") else (80,) * 5
        if row.endswith("light 0.0001") and row.startswith("both"):
            return (60,) * 5
        return (80,) * 5

    names = page_of("real_nmnist", monkeypatch, accuracies)
    assert names["sentence"].startswith(
        "Real events and the image that was filmed, together, beside events alone: "
        f"{names['beside']('events')}; beside the image alone: {names['beside']('stimulus')}. "
    )
    said = names["beside"]("events")
    assert "better at light 1 (by 15.0 points)" in said and "worse at light 0.0001 (by 20.0" in said
    assert said.endswith(", not told apart at the others")
    assert names["gains"]["events"].difference.tolist() == [15, 0, 0, -20]
    assert names["table"]["both [%]"].tolist() == [95, 80, 80, 60]


def test_the_page_of_nmnist_names_the_verdicts_that_a_rows_own_pairs_would_not_give(monkeypatch):
    scattered = "both, light 0.01"  # its pairs alone: 4 ± 8.1
    names = page_of(
        "real_nmnist",
        monkeypatch,
        lambda row: (80, 80, 95, 80, 85) if row == scattered else (80,) * 5,
    )
    gain = names["gains"]["events"].loc["0.01"]
    alone = effects.mean_and_interval([0, 0, 15, 0, 5])[1]
    assert gain[names["OWN"]] == pytest.approx(alone) and gain["± difference"] < 4 < alone
    said = names["by_own_pairs"](names["gains"]["events"]).data
    assert said == (
        "No verdict *better* or *worse* holds by a row's own pairs alone: *0.01* "
        f"(+4.0 ± {alone:.1f}), which could not be told from zero."
    )
    table = names["gains"]["events"].assign(effect="cannot tell from zero")
    assert names["by_own_pairs"](table).data == "No row is called better or worse here."
    table.loc["0.01", ["effect", names["OWN"]]] = ["better", 1.0]
    assert names["by_own_pairs"](table).data.endswith("by its own pairs, too.")


def test_the_page_of_biolab_compares_with_the_nearest_neighbour(monkeypatch):
    levels = {"no text": 60, "names, tiny CLIP": 62, "names, CLIP ViT-B/32": 70}
    names = page_of("real_biolab", monkeypatch, lambda row: (levels.get(row, 50),) * 5)
    given = "events alone (one frame, no text) give 60.0 % where one class for every "
    given += "recording (*chance*) gives 40.0 %: +20.0 ± "
    assert given in names["sentence"]
    assert "beside no text: +10.0 ± " in names["sentence"] and "(better)" in names["sentence"]


def test_without_runs_the_pages_say_what_makes_them(monkeypatch):
    for name in ("real_nmnist", "real_biolab"):
        assert "make real" in page_of(name, monkeypatch, lambda row: ())["sentence"]


def test_the_page_of_the_sample_world_shows_what_was_measured(monkeypatch):
    names = page_of("real_events", monkeypatch, lambda row: ())
    file = ROOT / "results" / "real_events.json"
    assert list(names["measured"]) == (list(json.loads(file.read_text())) if file.exists() else [])
