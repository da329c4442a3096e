"""The benchmarks count what they say, and their results are put where they belong."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import safe_core

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import common  # noqa: E402
import gpu  # noqa: E402
import kernels  # noqa: E402
import memory  # noqa: E402
import report  # noqa: E402
import versions  # noqa: E402


def test_operators_that_change_no_content_launch_no_kernel():
    x = torch.ones(4, 4)
    with kernels.Count() as counted:
        x.view(16).unsqueeze(0)
        torch.empty(3)
    assert counted.launched == 0
    with kernels.Count() as counted:
        (x @ x).relu()
    assert counted.launched == 2


def test_text_takes_at_most_a_thousand_kernels_on_a_gpu():
    model = common.paper_model()
    with common.without_data(model):
        for precision in ("fp32", "bf16"):
            forward, backward = kernels.count(model, precision, at_once=True)["text"]
            assert 200 < forward + backward <= kernels.TARGET


def test_the_peak_counts_what_lives_at_once():
    with memory.Living() as living:
        a = torch.zeros(1000)  # 4,000 bytes each
        b = a + 1
        del b
        c = a + 2
        c.view(10, 100)  # no storage of its own
    assert living.peak == 8_000
    assert living.now == 8_000


def test_a_part_of_the_results_is_replaced_and_the_rest_stays():
    start, end = report.ALL
    text = f"# Title\n\n{start}\n\n{end}\n\nby hand\n"
    once = report.replaced(text, {"b": "old\n", "a": "first\n"})
    twice = report.replaced(once, {"b": "new\n"})
    assert "old" not in twice
    assert twice.index("first") < twice.index("new") < twice.index("by hand")
    assert report.replaced(twice, {}) == twice


def test_the_loaders_share_is_of_clips_of_the_papers_size(tiny_sample):
    root = str(tiny_sample("hardvs"))
    config = safe_core.configure("paper", data_root=root)
    batches = gpu.of_recordings(root, config, 20)  # of 24: each in an epoch of its own
    shapes = [next(batches)["rgb"].shape for _ in range(2)]
    assert shapes == [(20, config.frames, 3, config.image_size, config.image_size)] * 2
    with pytest.raises(SystemExit, match="found 24 training clips; expected a batch of 40"):
        next(gpu.of_recordings(root, config, 40))


def test_no_table_of_the_results_has_an_empty_column_or_two_of_one_name():
    text = report.RESULTS.read_text()
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        head, _, *rows = [line.strip("|").split("|") for line in table.splitlines()]
        names = [name.strip() for name in head]
        assert len(set(names)) == len(names), names
        assert all(any(cell.strip() for cell in column) for column in zip(*rows, strict=True)), head


def test_a_gpu_waits_for_data_only_where_some_are_read():
    assert "waiting for data" in gpu.head("/data") and "waiting" not in gpu.head(None)
    for root in ("/data", None):
        names, line = gpu.head(root).splitlines()
        assert names.count("|") == line.count("|")


def test_every_benchmark_names_its_command():
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(report.described()) == files - {"common", "report"}


def test_the_readme_shows_lines_of_the_results():
    shown = re.findall(
        r"^\| .*?(?:step|bf16).* \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    part = report.RESULTS.read_text().partition("<!-- part gpu -->")[2].partition("<!-- end")[0]
    assert len(shown) == 2 and all(f"\n{line}\n" in part for line in shown)


def test_without_a_gpu_nothing_is_measured_on_one(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"), run_name="__main__")
    assert ended.value.code == common.NOTHING
    assert "no GPU: nothing is measured" in capsys.readouterr().out


def test_a_part_stays_where_nothing_can_be_measured_and_where_a_benchmark_fails(
    monkeypatch, capsys, tmp_path
):
    """Only the latter makes the report fail."""
    start, end = report.ALL
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    names = {f"ends_{status}": status for status in (0, 1, common.NOTHING)}
    for name, status in names.items():
        about = f'"""How? `python benchmarks/{name}.py`."""\n'
        (tmp_path / f"{name}.py").write_text(f"{about}print('|new|')\nraise SystemExit({status})")
    old = dict.fromkeys(names, "old\n")
    report.RESULTS.write_text(report.replaced(f"{start}\n\n{end}\n", old))
    monkeypatch.setattr(sys, "argv", ["report.py", "ends_0", f"ends_{common.NOTHING}"])
    assert not report.main()
    monkeypatch.setattr(sys, "argv", ["report.py"])
    assert report.main()
    said = capsys.readouterr().out
    assert "failed: ends_1\n" in said and f"ends_{common.NOTHING}: its part" in said
    text = report.RESULTS.read_text()
    assert text.count("old") == 2 and text.count("|new|") == 1
    assert text.index("|new|") < text.index("old")


def test_versions_train_for_the_steps_of_the_old_ones_epochs():
    assert versions.steps_of("hardvs") == 4 * 32  # 43 of 48 recordings of 24 classes, batches of 32
    assert versions.steps_of("pokerevent") == 4 * 34


def test_versions_are_measured_in_turn_and_compared_by_their_medians():
    called = []

    def measure(version, dataset):
        called.append((version, dataset))
        return 10.0 * len(called) if version == "old" else 5.0

    old, new = versions.in_turn(measure, "old", "new", "hardvs")
    assert called == [("old", "hardvs"), ("new", "hardvs")] * versions.PASSES
    assert versions.line("a run", old, new, "s") == "| a run [s] | 10.0, 30.0 | 5.0, 5.0 | 0.25 |"
