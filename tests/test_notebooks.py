"""What notebooks have in common: tables, notes, the parts of a study's page, and execution."""

import ast
import importlib
import itertools
import re

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from made_runs import made_run, of_accuracies

import safe_core
from safe_companion import claims, effects, execution, notebooks, prompts, studies

# ---------------------------------------------------------------- tables


def read(html):
    """{(row, column): (text, style)} of a table's cells, its heads and its rows' names."""
    soup = BeautifulSoup(html, "html.parser")
    styles = {}
    for block in soup.style.string.split("}"):
        if "{" in block:
            where, what = block.split("{")
            for selector in where.split(","):
                styles[selector.strip().lstrip("#")] = " ".join(what.split())
    heads = [cell.text for cell in soup.thead.tr.find_all("th")][1:]
    cells = {}
    for line in soup.tbody.find_all("tr"):
        row = line.th.text
        for head, cell in zip(heads, line.find_all("td"), strict=True):
            cells[row, head] = (cell.text, styles.get(cell.get("id"), ""))
    return cells, heads


def two_rows():
    return pd.DataFrame(
        {
            "paper": [58.2, 55.8],
            "ours": [84.04, float("nan")],
            "difference": [1.26, float("nan")],
            "verdict": ["same direction", "not run: needs PokerEvent"],
            "note": ["x", "y"],
        },
        index=["all", "less"],
    )


def test_a_table_tells_the_papers_numbers_from_ours_and_greys_what_was_not_run():
    cells, heads = read(notebooks.show(two_rows(), origin="sample").data)
    assert heads == ["verdict", "difference", "paper", "here (sample)", "note"]
    texts = {place: text for place, (text, _) in cells.items()}
    assert texts["all", "paper"] == "58.2" and texts["all", "here (sample)"] == "84.0"
    assert texts["all", "difference"] == "+1.3" and texts["less", "difference"] == "–"
    for (row, column), (_, style) in cells.items():
        assert ("italic" in style and "222,143,5" in style) == (column == "paper")
        assert ("bold" in style) == (column == "here (sample)")
        grey = "rgb(110,110,110)" in style
        assert grey == (row == "less" and column != "paper")


def test_columns_can_be_chosen_and_formatted():
    table = pd.DataFrame({"minutes": [1.234], "paper [ms]": [94.0], "ours": [5.0]}, index=["a"])
    shown = notebooks.show(table, paper=["paper [ms]"], ours=["minutes"], minutes="{:.2f}")
    cells, _ = read(shown.data)
    assert cells["a", "minutes"][0] == "1.23" and "bold" in cells["a", "minutes"][1]
    assert "italic" in cells["a", "paper [ms]"][1] and "bold" not in cells["a", "ours"][1]


def test_names_and_cells_are_text():
    evil = "<b>&'\"<script>"
    table = pd.DataFrame({evil: [evil], "ours": [1.0]}, index=pd.Index([evil], name=evil))
    html = notebooks.show(table, paper=[evil]).data
    assert "<b>" not in html and "<script>" not in html and html.count("&lt;b&gt;&amp;") == 4
    assert "italic" in html
    index = pd.MultiIndex.from_tuples([(evil, evil)], names=[evil, evil])
    deep = pd.DataFrame({"a": [1]}, index=index)
    assert "<b>" not in notebooks.show(deep).data


def test_what_opens_on_a_click_in_the_book_has_a_title_of_text(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    made = importlib.import_module("companion_nodes")
    start, *_ = made.details("<script>alert(1)</script> & more")
    assert start.astext() == (
        "<details><summary>&lt;script&gt;alert(1)&lt;/script&gt; &amp; more</summary>"
    )


def test_the_same_table_gives_the_same_html():
    table = claims.beside_paper({}, "Table 4")
    first, second = (notebooks.show(table).data for _ in range(2))
    assert first == second and "not run yet" in first and ">58.2<" in first
    assert ">58.15<" in notebooks.show(claims.beside_paper({}, "Table 2")).data
    assert "#T_" in first and first != notebooks.show(table.iloc[:3]).data


def test_numbers_are_printed_as_a_reader_expects_them():
    table = pd.DataFrame(
        {"difference": [-8.44, -0.04], "recordings": [2730, 12], "share": [0.98999999, 1234.5]},
        index=pd.Index(["a", "b"], name="row"),
    )
    table["pairs"] = float("nan")  # a column without a number is left out
    html = notebooks.show(table).data
    cells, heads = read(html)
    assert heads == ["difference", "recordings", "share"]
    assert [cells["a", name][0] for name in heads] == ["−8.4", "2,730", "0.990"]
    assert [cells["b", name][0] for name in heads] == ["0.0", "12", "1,230"]
    assert BeautifulSoup(html, "html.parser").thead.th.text == "row"  # in the corner
    assert len(BeautifulSoup(html, "html.parser").thead.find_all("tr")) == 1
    of_columns = notebooks.show(table.rename_axis(index=None, columns="what")).data
    assert BeautifulSoup(of_columns, "html.parser").thead.th.text == "what"


def test_what_would_not_be_seen_stands_once_in_a_line():
    effect = ["cannot tell from zero: effects below 1.2 can be missed", "worse", None]
    table = pd.DataFrame({"effect": effect, "detectable": [1.2, 1.2, 1.2]}, index=list("abc"))
    cells, _ = read(notebooks.show(table).data)
    assert [cells[row, "effect"][0] for row in "abc"] == ["cannot tell from zero", "worse", "–"]
    alone, _ = read(notebooks.show(table[["effect"]]).data)
    assert alone["a", "effect"][0] == effect[0]


def test_a_number_and_its_interval_are_one_column_and_the_table_is_as_before():
    table = pd.DataFrame(
        {
            "top-1 [%]": [87.64, 83.0, 82.0],
            "±": [0.31, np.nan, 1.0],
            "difference": [np.nan, -1.26, -0.44],
            "± difference": [np.nan, 0.9, 0.36],
            "to text": [np.nan, 0.5, 0.3],
            "± to text": [np.nan, 0.2, np.nan],
            "effect": [None, "worse", "worse"],
        },
        index=list("abc"),
    )
    columns = list(table)
    cells, heads = read(notebooks.show(table, **{"to text": "{:+.1f}"}).data)
    assert heads == ["effect", "difference", "top-1 [%]", "to text"]
    shown = {head: [cells[row, head][0] for row in "abc"] for head in heads[1:]}
    assert shown["top-1 [%]"] == ["87.6 ± 0.3", "83.0", "82.0 ± 1.0"]
    assert shown["difference"] == ["–", "−1.3 ± 0.9", "−0.44 ± 0.36"]  # told, so read as told
    assert shown["to text"] == ["–", "+0.5 ± 0.2", "+0.3"]
    assert list(table) == columns and table.difference["b"] == -1.26


@pytest.mark.parametrize("said", ["verdict", "effect"])
def test_what_is_hardly_trained_has_no_difference(said):
    table = pd.DataFrame(
        {
            said: ["hardly trained", "worse"],
            "difference": [-80.0, -2.0],
            "± difference": [1.0, 0.5],
            "pairs": [4, 4],
            "detectable": [1.4, 0.7],
            "top-1 [%]": [4.0, 82.0],
        },
        index=["a", "b"],
    )
    cells, heads = read(notebooks.show(table).data)
    shown = {row: [cells[row, head][0] for head in heads] for row in "ab"}
    assert shown["a"] == ["hardly trained", "–", "–", "–", "4.0"]
    assert shown["b"] == ["worse", "−2.0 ± 0.5", "4", "0.7", "82.0"]


def test_short_verdicts_and_units_do_not_wrap():
    table = pd.DataFrame(
        {"verdict": ["same direction", "not run: another method"], "texts kept [ms]": [1.0, 2.0]},
        index=["a", "b"],
    )
    table.loc["c"] = ["cannot tell from zero: effects below 1.2 can be missed", 3.0]
    soup = BeautifulSoup(notebooks.show(table).data, "html.parser")
    assert [cell.text for cell in soup.select("td.short")] == list(table.verdict[:2])
    assert [part.text for part in soup.select("th .short")] == ["kept [ms]"]


# ---------------------------------------------------------------- what a page is given


def run(monkeypatch, *cells):
    """check_parameters where these cells have run before."""
    shell = type("Shell", (), {"user_ns": {"In": ["", *cells]}})
    monkeypatch.setattr(notebooks, "get_ipython", lambda: shell)
    notebooks.check_parameters()


PARAMETERS = 'dataset = "hardvs"  # or another\ndata_root = None\nseeds = (\n    3\n)\n'


def test_a_parameter_that_a_notebook_lacks_stops_it(monkeypatch):
    run(monkeypatch, PARAMETERS, '# Parameters\ndataset = "a"\nseeds = 1\n', "import os")
    for given, said in {
        'datset = "hardvs"': "'datset', which this notebook does not have; did you mean 'dataset'?",
        "epochs = 3": "'epochs', which .* have; expected some of dataset, data_root, seeds",
        "seeds = 3\nDataset = 1": "'Dataset'.*mean 'dataset'",
    }.items():
        with pytest.raises(ValueError, match=said):
            run(monkeypatch, PARAMETERS, f"# Parameters\n{given}\n")


def test_what_people_run_by_hand_stops_nothing(monkeypatch):
    run(monkeypatch, PARAMETERS, "import os", "lines = {}", PARAMETERS, "x.y = 1\na, b = 1, 2")
    again = '# Parameters\ndataset = "b"\n'  # a page that papermill has made, run once more
    run(monkeypatch, PARAMETERS, again, "lines = {}", again)
    run(monkeypatch, "!ls", PARAMETERS, "%time f()")
    run(monkeypatch)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_notebook_checks_its_parameters_before_anything_else(path):
    """In the cell behind them, where papermill puts what it is given, right after the imports."""
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    first, second = code[:2]
    assert execution.is_parameters(first)
    assert not any(execution.is_parameters(cell) for cell in code[1:])
    statements = ast.parse(second.source).body
    imports = [i for i, s in enumerate(statements) if isinstance(s, ast.Import | ast.ImportFrom)]
    assert ast.unparse(statements[imports[-1] + 1]) == "notebooks.check_parameters()"


@pytest.mark.parametrize("path", execution.notebooks(), ids=lambda path: path.stem)
def test_a_page_opens_with_what_it_found(path):
    """A title of one line; then, before any prose, outputs with one finding in bold."""
    title, *cells = nbformat.read(path, 4).cells
    assert re.fullmatch("# .+", title.source)
    said = []
    for cell in itertools.takewhile(lambda cell: cell.cell_type == "code", cells):
        assert execution.is_parameters(cell) or "hide-input" in cell.metadata.tags
        said += [output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    of_origin = r"\*\*(Sample|Real) data\*\*"
    found = [t for t in said if t.startswith("**") and not re.match(of_origin, t)]
    assert len(found) == 1, said


@pytest.mark.parametrize(("given", "fails"), [({"datset": "folder"}, True), ({"seed": 3}, False)])
def test_papermill_stops_at_a_misspelt_parameter(tmp_path, given, fails):
    """What papermill runs here ends at the check: nothing is trained."""
    notebook = nbformat.read(ROOT / "notebooks" / "train.ipynb", 4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"][:2]
    head, check, _ = notebook.cells[1].source.partition("notebooks.check_parameters()\n")
    notebook.cells[1].source = head + check
    nbformat.write(notebook, tmp_path / "train.ipynb")
    files = tmp_path / "train.ipynb", tmp_path / "out.ipynb"
    how = {"cwd": ROOT / "notebooks", "progress_bar": False, "kernel_name": "python3"}
    if fails:
        with pytest.raises(papermill.PapermillExecutionError, match="did you mean 'dataset'"):
            papermill.execute_notebook(*files, given, **how)
    else:
        papermill.execute_notebook(*files, given, **how)


# ---------------------------------------------------------------- a study on a page


@pytest.fixture
def shown(monkeypatch):
    """[(Markdown text, metadata)] of what is displayed."""
    found = []
    monkeypatch.setattr(
        notebooks, "display", lambda what, metadata=None: found.append((what.data, metadata))
    )
    return found


def test_a_note_counts_the_runs_and_the_rows_that_have_some(shown):
    found = {"full": of_accuracies(84, 85), "less": of_accuracies(60, 61)}
    notebooks.origin_note("table4", found, dataset="pokerevent")
    ((text, metadata),) = shown
    assert text.startswith("**Sample data**") and text.endswith(
        "(PokerEvent). 2 models, 4 trainings."
    )
    made = "results/sample/pokerevent/made/seed"
    assert metadata == {"records": [f"{made}0", f"{made}1"] * 2, "origins": ["sample"]}


def test_a_note_says_what_was_not_run_and_how_to_run_it(shown):
    found = {"full": of_accuracies(84), "one": [], "two": []}
    notebooks.origin_note("table4", found, dataset="pokerevent")
    assert "1 model, 1 training." in shown[0][0]
    assert "Not run: one; two. `make table4` trains them." in shown[0][0]
    notebooks.origin_note("table4", found, dataset="hardvs")  # no sweep runs it on this sample
    assert "Not run: one; two. `-p rerun True` trains them." in shown[1][0]
    notebooks.origin_note("table5", {"frames=3": [], "frames=7": []}, dataset="pokerevent")
    note = shown.pop()[0]
    assert "Left out: frames=7 (takes more than twice as long" in note and "trains it." in note
    rows = dict.fromkeys(["prompt=A photo of a...", "prompt=The action in the picture is..."], [])
    notebooks.origin_note("table6", rows, dataset="pokerevent")  # one reason, said once
    assert f"Left out: {'; '.join(rows)} (time; the learned" in shown.pop()[0]
    notebooks.origin_note("table4", found, dataset="hardvs", data_root="/data")
    assert shown[2][0].startswith("**Real data** (HARDVS).")
    assert "`-p rerun True` trains them." in shown[2][0]  # `make table4` trains the sample
    many = found | {"three": [], "four": []}
    notebooks.origin_note("table4", many, dataset="pokerevent")  # of many, on a click
    assert "<summary>Not run: 4 models</summary>\n\none; two; three; four. `make" in shown[3][0]


def test_a_real_study_is_about_real_data_that_make_real_gets(shown):
    page = notebooks.open_real_study("real_biolab", seeds=1)
    assert page.origin == "real" and page.baseline == "no text" and len(page.rows) == 4
    assert not shown
    page.opening("Found.")
    assert shown[0] == ("Found.", None)
    assert shown[1][0].startswith("**Real data** (data/biolab).")
    page.found["no text"] = []
    page.opening("Found.")
    assert "Not run: no text. `make real` trains it." in shown[3][0]


def test_a_note_warns_of_rows_with_other_seeds_and_never_of_the_code(shown):
    alike = {"full": of_accuracies(84, 85), "less": of_accuracies(60, 61), "none": []}
    notebooks.origin_note("fig4", alike, dataset="hardvs")
    apart = {"full": of_accuracies(84, 85), "less": of_accuracies(60)}
    for run in apart["full"]:
        run["behaviour"] = {"clips": 0}
    notebooks.origin_note("fig4", apart, dataset="hardvs")
    assert "Rows differ in their number of seeds" not in shown[0][0]
    assert "Rows differ in their number of seeds" in shown[1][0]
    assert "older" not in shown[1][0]


def opened(found, *, name="ablation_no_text", data_root=None):
    rows = studies.studies("pokerevent", "sample")[name]
    found = dict(zip(rows, found, strict=True))
    return notebooks.Opened(name, "pokerevent", data_root, None, rows, found)


def with_groups(seed, correct):
    return made_run(seed, correct, condition=["dark", "none"] * 2, label=[0, 0, 1, 1])


FULL = [with_groups(seed, [1, 1, 1, 1]) for seed in range(3)]
LESS = [with_groups(seed, [0, 1, 1, 0]) for seed in range(3)]


def test_a_page_waits_for_no_row_that_a_sweep_leaves_out(monkeypatch):
    rows = studies.studies("hardvs", "sample")["table3"]
    runs = of_accuracies(50)
    monkeypatch.setattr(notebooks, "LEFT_OUT", {("hardvs", "table3", "R2Plus1D"): "time"})

    def page(data_root, **without):
        found = {row: [] if row in without else runs for row in rows}
        return notebooks.Opened("table3", "hardvs", data_root, None, rows, found)

    without = page(None, R2Plus1D=[])
    assert "R2Plus1D" in rows and without.complete and "R2Plus1D" not in without.asked
    assert "R2Plus1D" in page(None).asked and not page(None, C3D=[]).complete
    assert not page("/data", R2Plus1D=[]).complete  # there, all are run


def test_a_finding_names_what_has_hardly_begun_to_learn():
    def runs(accuracy, share):
        """Of 4 classes a guess has the loss log 4."""
        history = [{"train_loss": share * np.log(4)}]
        learned = {"history": history, "log_probs": np.zeros((100, 4))}
        return [run | learned for run in of_accuracies(accuracy, accuracy)]

    found = {"SAFE": runs(80, 0.1), "C3D": runs(10, 0.9)}
    page = notebooks.Opened("table2", "pokerevent", None, None, dict.fromkeys(found, {}), found)
    assert page.finding.endswith("*C3D* is hardly trained: what it can do is not seen here.")
    assert "C3D" not in page.finding.partition("**")[2].partition("**")[0]  # nor compared
    assert page.effects.effect["C3D"] == "hardly trained"
    cells, heads = read(notebooks.show(page.effects).data)
    assert cells["C3D", "effect"][0] == "hardly trained" and "difference" not in heads
    found["C3D"] = runs(10, 0.4)
    assert "ardly" not in page.finding and "*C3D* is worse" in page.finding
    assert page.effects.effect["C3D"] == "worse"
    found["SAFE"] = runs(80, 0.9)
    assert page.effects.effect["C3D"] == "hardly trained"  # beside one that is
    del found["C3D"]
    assert page.effects.effect.isna().all()


def test_a_study_is_opened_by_its_name(shown, monkeypatch):
    asked = {}

    def study(rows, **options):
        asked.update(options)
        return {row: of_accuracies(50) for row in rows}

    monkeypatch.setattr(notebooks, "study", study)
    options = {"dataset": "hardvs", "data_root": "/data", "preset": "sample"}
    page = notebooks.open_study("fig4", **options, seeds=2, rerun=True)
    assert asked == options | {"seeds": 2, "rerun": True}
    assert list(page.rows) == ["template", "+ rewritten prompts", "+ AFE"] == list(page.found)
    assert page.rows["+ rewritten prompts"] == {"prompt_file": "book/prompts/hardvs.json"}
    assert (page.origin, page.baseline, page.complete) == ("real", "template", True)
    assert (page.name, page.dataset, page.data_root, page.preset) == ("fig4", *options.values())
    assert not shown
    page.opening()  # first what was found, then what it is about
    assert shown[0] == (page.finding, None)
    assert shown[1][0].startswith("**Real data** (HARDVS). 3 models, 3 trainings.")
    assert page.effects.equals(effects.effect_table(page.found, baseline="template"))


def test_the_steps_of_smaller_training_sets_are_those_of_the_preset_at_hand(shown, monkeypatch):
    monkeypatch.setattr(notebooks, "study", lambda rows, **_: {row: [] for row in rows})

    def steps(preset):
        page = notebooks.open_study("dataset_size", dataset="pokerevent", preset=preset)
        return page.rows["4 a class"]["steps"]

    assert steps(None) == steps("sample") == 450 and steps("paper") == 50 * 69


def test_parameters_are_counted_by_part():
    table = notebooks.parameter_counts(opened([[], []]))
    cells, heads = read(table.data)
    assert heads == ["vision", "text", "fusion", "all"] and "trained parameters" in table.data
    config = safe_core.configure(dataset="pokerevent", event_windows="afe", use_text=False)
    names = [f"class {i}" for i in range(len(studies.datasets.class_names("pokerevent", None)))]
    model = safe_core.SAFE(config, prompts.prompt_sentences(names, config))
    for part, module in (("vision", model.vision), ("fusion", model.fusion), ("all", model)):
        count = sum(p.numel() for p in module.parameters())
        assert cells["without text", part][0] == f"{count:,}"
    whole = [int(cells[row, "all"][0].replace(",", "")) for row in ("with text", "without text")]
    assert whole[0] > whole[1] and cells["without text", "text"][0] == "0"


def test_the_layer_behind_a_tower_of_another_width_counts_as_fusion():
    rows = {"resnet": {"vision_tower": "resnet", "use_text": False}}
    page = notebooks.Opened("table4", "pokerevent", None, "sample", rows, {"resnet": []})
    cells, _ = read(notebooks.parameter_counts(page).data)
    config = safe_core.configure(dataset="pokerevent", vision_tower="resnet", use_text=False)
    names = [f"class {i}" for i in range(26)]
    model = safe_core.SAFE(config, prompts.prompt_sentences(names, config))
    count = sum(p.numel() for p in [*model.fusion.parameters(), *model.visual_embed.parameters()])
    assert sum(p.numel() for p in model.visual_embed.parameters()) > 0
    assert cells["resnet", "fusion"][0] == f"{count:,}" and cells["resnet", "text"][0] == "0"


def test_claims_stand_before_our_differences():
    page = opened([FULL, LESS])
    text = notebooks.claims_and_differences(page, ["t4-no-sci", "s45-sci-after"]).data
    half = page.effects["± difference"]["without text"]
    assert text.splitlines() == [
        "- The paper, Table 4, without semantic category information (no text): worse by 1.6 "
        "points (58.2 to 56.6), one run.",
        "- The paper, Section 4.5, after semantic category information is removed: worse by 0.4 "
        "points (57.0 to 56.6), one run.",
        f"- Here (sample of PokerEvent), without text: −50.0 ± {half:.1f} points, 3 paired runs: "
        f"{page.effects.effect['without text']}. By the ledger's rule: beside the paper's −1.6, "
        "*cannot tell*; beside the paper's −0.4, *cannot tell*.",
    ]
    alone = notebooks.claims_and_differences(opened([FULL, []]), ["t4-no-sci"]).data
    assert len(alone.splitlines()) == 1


def test_the_row_that_a_claim_is_about_has_its_verdict():
    page = opened([FULL, LESS, LESS], name="ablation_resnet_backbone")
    claim, vit, resnet = notebooks.claims_and_differences(page, ["t4-no-lvm"]).data.splitlines()
    assert "By the ledger's rule: beside the paper's −3.2, *cannot tell*." in vit
    assert "plain ViT" in vit and "ResNet" in resnet and "ledger" not in claim + resnet


def test_parts_of_a_page_break_the_study_down(monkeypatch, tmp_path):
    drawn = []

    def show_breakdown(table, *, title, names=None):
        drawn.append((table.difference["without text"].to_dict(), title, names))
        return "figure"

    monkeypatch.setattr(notebooks, "show_breakdown", show_breakdown)
    page = opened([FULL, LESS])
    assert notebooks.by_class(page) == notebooks.by_condition(page) == "figure"
    by_class, by_condition = drawn
    assert by_class[0] == {0: -50, 1: -50} and by_condition[0] == {"dark": -50, "none": -50}
    assert by_class[1] == "Per class, sample of PokerEvent" and by_class[2][21] == "Sea turtle"
    assert by_condition[1] == "Per condition, sample"

    truth = pd.DataFrame({"illumination": [0.5, 0.5, 0.005, 0.5]}, index=["r0", "r1", "r2", "r3"])
    truth.rename_axis("sample").to_csv(tmp_path / "ground_truth.csv")
    splits = type("Splits", (), {"root": tmp_path})
    monkeypatch.setattr(notebooks.datasets, "open_dataset", lambda config: splits)
    assert notebooks.by_light(page) == "figure"
    assert drawn[2][0] == pytest.approx({"0.001 to 0.01": 0, "> 0.1": -200 / 3})


@pytest.mark.parametrize(
    ("part", "data_root", "drawn"),
    [
        (notebooks.by_class, "/data", True),
        (notebooks.by_light, "/data", False),
        (notebooks.by_condition, "/data", False),
    ],
)
def test_only_the_sample_knows_light_and_conditions(monkeypatch, part, data_root, drawn):
    monkeypatch.setattr(notebooks, "show_breakdown", lambda *_, **__: "figure")
    monkeypatch.setattr(notebooks.datasets, "class_names", lambda *_: ["a", "b"])
    assert (part(opened([FULL, LESS], data_root=data_root)) == "figure") == drawn
    assert part(opened([FULL, []])) is None  # nothing to compare


# ---------------------------------------------------------------- progress


def test_progress_counts_steps_over_all_epochs_and_leaves_nothing(monkeypatch):
    cleared = []
    monkeypatch.setattr(notebooks, "clear_output", lambda: cleared.append(True))
    progress = notebooks.Progress()
    progress.close()  # before anything was trained
    for step in (9, 10):  # a run that is resumed in its second epoch; told every ten steps
        progress(10 + step, 30, 10, 0.05 * step)
    assert (progress.bar.initial, progress.bar.n, progress.bar.total) == (18, 20, 30)
    assert progress.bar.desc.startswith("epoch 2 of 3") and "loss 0.500" in str(progress.bar)
    assert not cleared
    progress.close()
    assert cleared == [True]


# ---------------------------------------------------------------- execution


def test_a_notebook_is_executed_in_place_and_says_how(tmp_path):
    path = tmp_path / "page.ipynb"
    sources = [
        "from IPython.display import Markdown, display",
        "display(Markdown('a'), metadata={'records': ['results/r'], 'origins': ['real']})",
    ]
    cells = [nbformat.v4.new_code_cell(text) for text in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    execution.execute(path)
    notebook = nbformat.read(path, 4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert "papermill" not in notebook.metadata and notebook.cells[0].metadata == {"tags": []}
    made = notebook.metadata.safe
    assert made.origins == ["real"]
    assert made.records == ["results/r"] and made.versions.torch and made.cpu and made.cores
    assert "records" not in notebook.cells[1].outputs[0].metadata
    assert sorted(tmp_path.iterdir()) == [path]
    before = path.read_bytes()
    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, path)
    broken = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execution.execute(path)
    assert path.read_bytes() == broken != before and sorted(tmp_path.iterdir()) == [path]


def test_notebooks_are_found_by_first_word():
    found = execution.notebooks(["table4", "attention"])
    assert [path.stem for path in found] == ["attention", "table4_components"]
    every = {path.stem for path in execution.notebooks()}
    assert every | set(execution.TRAINING) == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert not every & set(execution.TRAINING)
    with pytest.raises(ValueError, match="no notebook table9: choose from ablation_no_cross_"):
        execution.notebooks(["table4", "table9"])
    for name in {name for names in studies.SWEPT.values() for name in names}:
        assert len(execution.notebooks([name])) == 1


def test_the_parameters_of_the_training_are_the_fields_of_the_configuration():
    lines = execution.training_parameters().splitlines()
    names = [line.split(" = ")[0] for line in lines if " = " in line]
    assert names == ["preset", "out_dir", "resume", *safe_core.FIELDS]
    assert (
        'dataset = "hardvs"  # hardvs | pokerevent | conjunctions | folder; folder: yours' in lines
    )
    assert "frames = None  # F, Table 5's best" in lines and "use_text = None" in lines
    assert "prompt = None  # sentence with {} for the class name; None: the paper's" in lines
    train = nbformat.read(ROOT / "notebooks" / "train.ipynb", 4)
    (cell,) = filter(execution.is_parameters, train.cells)
    assert cell.source.splitlines() == lines, "run `safe execute train`"


def test_rows_are_shown_under_the_names_that_a_page_gives_them(capsys):
    names = {"events, with text": "events only", "RGB, with text": "RGB only"}
    page = notebooks.open_study("modalities", dataset="pokerevent", names=names)
    assert list(page.rows) == list(page.found) == ["events only", "RGB only"]
    assert page.rows["events only"] == {"modality": "event"}
    assert {run["config"]["modality"] for run in page.found["RGB only"]} == {"rgb"}


def test_one_recording_of_each_condition_is_shown():
    conditions = ["dark", "fast", "none", "dark", "fast", "none"]
    assert notebooks.first_of_each(conditions) == [0, 4, 5]
    assert notebooks.first_of_each(["all"] * 3) == [0]


def test_a_condition_that_comes_before_its_search_begins_is_found_from_the_start():
    assert notebooks.first_of_each(["b", "a"]) == [1, 0]
    assert notebooks.first_of_each(["c", "b", "c", "a", "a", "a"]) == [3, 1, 0]
