"""Training, choice of the epoch, resume, checkpoints: what `safe_core.fit` promises."""

import contextlib
import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import NAMES, SENTENCES, Clips, batch_of, run_fit, small
from torch import nn

import safe_core
from safe_companion import released
from safe_core import SAFE, fit, load_checkpoint, load_model, predict


def saved(folder):
    """What a run has written after its last epoch."""
    return torch.load(folder / "last.pt", weights_only=True)


def without_time(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


# ------------------------------------------------------------------------------- steps
def test_the_schedule_advances_once_per_batch(tmp_path):
    config = small(epochs=3, warmup_fraction=0.0)
    rates = [row["learning_rate"] for row in run_fit(tmp_path, config)["history"]]
    assert rates == pytest.approx([safe_core.learning_rate(step, 9, config) for step in (2, 5, 8)])


def rates_of_groups(config, monkeypatch, tmp_path):
    """[{is a tower: rate}] of every optimiser step."""
    seen = []
    step = torch.optim.AdamW.step

    def note(self, *arguments, **options):
        seen.append({group["tower"]: group["lr"] for group in self.param_groups})
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    run_fit(tmp_path, config)
    return seen


def test_towers_learn_at_their_own_rate(tmp_path, monkeypatch):
    config = small(epochs=1, tower_lr_scale=0.25)
    seen = rates_of_groups(config, monkeypatch, tmp_path)
    expected = [safe_core.learning_rate(step, 3, config) for step in range(3)]
    assert [rates[False] for rates in seen] == pytest.approx(expected)
    assert [rates[True] for rates in seen] == pytest.approx([0.25 * rate for rate in expected])


@pytest.mark.parametrize("clip_norm_of", ["all", "fusion"])
def test_gradients_of_what_is_clipped_have_the_norm_that_is_asked_for(
    tmp_path, monkeypatch, clip_norm_of
):
    norms = []
    step = torch.optim.AdamW.step

    def note(self, *arguments, **options):
        gradients = [
            p.grad
            for g in self.param_groups
            if g["clipped"]
            for p in g["params"]
            if p.grad is not None
        ]
        norms.append(torch.stack([g.norm() for g in gradients]).norm().item())
        others = [g for g in self.param_groups if not g["clipped"]]
        assert bool(others) == (clip_norm_of == "fusion")
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    run_fit(tmp_path, small(epochs=1, clip_norm=0.01, clip_norm_of=clip_norm_of))
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)


def test_every_step_is_told(tmp_path):
    told = []
    result = run_fit(tmp_path, small(epochs=2), on_step=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [(i, 6, 3) for i in range(1, 7)]
    means = [sum(float(step[3]) for step in told[i : i + 3]) / 3 for i in (0, 3)]
    assert [row["train_loss"] for row in result["history"]] == pytest.approx(means)


def test_training_happens_in_training_mode_and_each_epoch_anew(tmp_path):
    modes = []

    class Watched(Clips):
        def __getitem__(self, i):
            return super().__getitem__(i)

    original = SAFE.forward

    def forward(self, *inputs):
        modes.append(self.training)
        return original(self, *inputs)

    SAFE.forward = forward
    try:
        run_fit(tmp_path, small(epochs=2), train=Watched(12))
    finally:
        SAFE.forward = original
    evaluation = [False, False]  # five clips in batches of four
    assert modes == 2 * ([True] * 3 + evaluation) + [False, False]


def test_a_small_set_is_learned_completely(tmp_path):
    train = Clips(12)
    config = small(epochs=8, pretrained=True, learning_rate=1e-3)
    about = {"sentences": SENTENCES, "about": {"class_names": NAMES}, "out_dir": tmp_path}
    assert fit(config, train, train, train, **about)["test"]["top1"] == 100


class Logged(Clips):
    """Clips that note which of them are read, and in which epoch."""

    def __init__(self, count):
        super().__init__(count)
        self.visited = []

    def __getitem__(self, i):
        self.visited.append((self.epoch, int(i)))
        return super().__getitem__(i)


def test_every_epoch_visits_each_clip_once_in_a_new_order(tmp_path):
    train = Logged(12)
    run_fit(tmp_path, small(epochs=2), train=train)
    orders = [[i for epoch, i in train.visited if epoch == e] for e in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12)) and orders[0] != orders[1]


def test_the_rest_of_an_epoch_that_fills_no_batch_is_left_out(tmp_path):
    train = Logged(14)
    run_fit(tmp_path, small(epochs=1), train=train)
    assert len(train.visited) == len(set(train.visited)) == 12


def test_clips_are_loaded_by_as_many_processes_as_asked_for(tmp_path, monkeypatch):
    asked = []

    class Loader(torch.utils.data.DataLoader):
        def __init__(self, *arguments, **options):
            asked.append(options["num_workers"])
            super().__init__(*arguments, **options | {"num_workers": 0})

    monkeypatch.setattr(safe_core, "DataLoader", Loader)
    run_fit(tmp_path, small(epochs=1, workers=3))
    assert asked == [3, 3, 3]  # training, validation, test


def test_seed_decides_the_run(tmp_path):
    seeds = (0, 0, 1)
    a, b, c = (
        run_fit(tmp_path / str(i), small(epochs=1, seed=seed))["log_probs"]
        for i, seed in enumerate(seeds)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_divergence_stops_and_keeps_the_last_epoch(tmp_path, monkeypatch):
    original, calls = safe_core.learning_rate, []

    def explode(step, steps, config):
        calls.append(step)
        return original(step, steps, config) if len(calls) < 5 else float("nan")

    monkeypatch.setattr(safe_core, "learning_rate", explode)
    with pytest.raises(FloatingPointError, match="epoch 2.*lower learning_rate"):
        run_fit(tmp_path)
    assert len(saved(tmp_path)["about"]["history"]) == 1


def test_too_few_clips_for_a_batch_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="batch_size=4.*3 training clips"):
        run_fit(tmp_path, train=Clips(3))
    run_fit(tmp_path, small(epochs=1), train=Clips(4))


def test_a_result_says_what_was_trained(tmp_path):
    config = small(epochs=1)
    result = run_fit(tmp_path, config)
    trained = sum(p.numel() for p in SAFE(config, SENTENCES).parameters() if p.requires_grad)
    assert result["trained_parameters"] == trained
    assert result["test"] == safe_core.accuracy(result["log_probs"], Clips(7).labels)
    assert result["history"][0]["seconds"] > 0


# ------------------------------------------------------------------------------- memory and speed
SMOOTH = dict(epochs=1, batch_size=4, dropout=0.0, freeze_text=False, precision="fp32")


@pytest.mark.parametrize(
    "fields", [{"accumulate": 2}, {"accumulate": 4}, {"checkpoint_vision": True}], ids=str
)
def test_what_saves_memory_changes_no_result(tmp_path, fields):
    whole = run_fit(tmp_path / "whole", small(**SMOOTH))
    saving = run_fit(tmp_path / "saving", small(**SMOOTH | fields))
    torch.testing.assert_close(saving["log_probs"], whole["log_probs"], atol=2e-4, rtol=1e-3)
    assert saving["history"][0]["train_loss"] == pytest.approx(whole["history"][0]["train_loss"])
    assert saving["history"][0]["learning_rate"] == whole["history"][0]["learning_rate"]


def test_a_vision_tower_that_is_checkpointed_keeps_less(monkeypatch):
    def kept(**fields):
        sizes = []
        model = SAFE(small(**SMOOTH | fields), SENTENCES).train()
        rgb, event, _ = batch_of(Clips(4), range(4))

        def note(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(rgb, event).sum().backward()
        return sum(sizes)

    assert kept(checkpoint_vision=True) < 0.7 * kept()


def test_parts_of_a_batch_must_fill_it(tmp_path):
    with pytest.raises(ValueError, match="batch_size=4 must divide over 1 processes and"):
        run_fit(tmp_path, small(accumulate=3))


def test_a_clips_own_collate_and_finish_are_used(tmp_path):
    """A data set may leave work, such as resizing, to be done for a whole batch on the device."""

    class Halves(Clips):
        def __getitem__(self, i):
            clip = super().__getitem__(i)
            return clip | {name: clip[name] // 2 for name in ("rgb", "event")}

        @staticmethod
        def collate(clips):
            return torch.utils.data.default_collate(clips) | {"factor": torch.tensor(2)}

        def finish(self, batch):
            return batch | {name: batch[name] * batch["factor"] for name in ("rgb", "event")}

    class Even(Clips):
        def __getitem__(self, i):
            clip = super().__getitem__(i)
            return clip | {name: clip[name] // 2 * 2 for name in ("rgb", "event")}

    config = small(epochs=1)
    halves = run_fit(tmp_path / "a", config, train=Halves(12, config.frames))
    even = run_fit(tmp_path / "b", config, train=Even(12, config.frames))
    assert without_time(halves["history"]) == without_time(even["history"])
    model, _ = safe_core.load_model(tmp_path / "a" / "best.safetensors")
    whole, some = Halves(12, config.frames), [1, 5, 7]
    part = safe_core.predict(model, torch.utils.data.Subset(whole, some), config)
    torch.testing.assert_close(part, safe_core.predict(model, whole, config)[some])


# ------------------------------------------------------------------------------- best epoch
def scripted(monkeypatch, scores, chooser_length):
    """Gives the split of this length these top-1 accuracies; notes the length of all scored."""
    original, seen, scores = safe_core.accuracy, [], iter(scores)

    def accuracy(log_probs, labels):
        seen.append(len(labels))
        result = original(log_probs, labels)
        return result | {"top1": next(scores)} if len(labels) == chooser_length else result

    monkeypatch.setattr(safe_core, "accuracy", accuracy)
    return seen


def test_the_epoch_is_chosen_by_validation_and_tested_once(tmp_path, monkeypatch):
    seen = scripted(monkeypatch, [40.0, 60.0, 60.0], chooser_length=5)
    config = small(epochs=3)
    result = run_fit(tmp_path, config)
    assert seen == [5, 5, 5, 7] and result["best_epoch"] == 2  # the earliest of equals
    assert [row["val_top1"] for row in result["history"]] == [40, 60, 60]
    model, about = load_model(tmp_path / "best.safetensors")
    assert len(about["history"]) == 2
    expected = result["log_probs"]
    torch.testing.assert_close(predict(model, Clips(7), config), expected, atol=1e-5, rtol=1e-4)


def test_as_released_the_test_set_chooses_the_epoch(tmp_path, monkeypatch):
    seen = scripted(monkeypatch, [40.0, 60.0, 50.0, 60.0], chooser_length=7)
    result = run_fit(tmp_path, small(select_on="test"))
    assert seen == [7] * 4 and result["best_epoch"] == 2
    assert [row["test_top1"] for row in result["history"]] == [40, 60, 50]


def test_without_a_validation_split_the_last_epoch_counts(tmp_path):
    config = small(epochs=2)
    about = {"sentences": SENTENCES, "about": {"class_names": NAMES}, "out_dir": tmp_path}
    result = fit(config, Clips(12), Clips(0), Clips(7), **about)
    assert result["best_epoch"] == 2 and "val_top1" not in result["history"][0]


# ------------------------------------------------------------------------------- resume
class Killed(Exception):
    pass


def test_resume_continues_bit_for_bit(tmp_path):
    config = small(epochs=2, dropout=0.2, prompt_context=2, freeze_text=False)
    whole = run_fit(tmp_path / "whole", config)

    def kill(step, steps, per_epoch, loss):
        if step == per_epoch + 2:
            raise Killed

    with pytest.raises(Killed):
        run_fit(tmp_path / "parts", config, on_step=kill)
    parts = run_fit(tmp_path / "parts", config, resume=True)
    last = [saved(tmp_path / run) for run in ("whole", "parts")]
    best = [load_checkpoint(tmp_path / run / "best.safetensors")[0] for run in ("whole", "parts")]
    for a, b in (best, [state["model"] for state in last]):
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    for i, state in last[0]["optimizer"]["state"].items():
        assert all(torch.equal(state[k], last[1]["optimizer"]["state"][i][k]) for k in state)
    assert torch.equal(whole["log_probs"], parts["log_probs"])
    assert without_time(whole["history"]) == without_time(parts["history"])


def test_resume_without_a_checkpoint_starts(tmp_path):
    assert len(run_fit(tmp_path, small(epochs=1), resume=True)["history"]) == 1


def test_resume_of_a_finished_run_gives_its_answers_again(tmp_path):
    first = run_fit(tmp_path, small(epochs=1))
    again = run_fit(tmp_path, small(epochs=1), resume=True)
    assert torch.equal(first["log_probs"], again["log_probs"])
    assert first["history"] == again["history"]


def test_resume_with_another_configuration_is_refused(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    with pytest.raises(ValueError, match="another dropout, weight_decay; resume"):
        run_fit(tmp_path, small(epochs=1, weight_decay=0.1, dropout=0.3), resume=True)
    with pytest.raises(ValueError, match="another sentences; resume"):
        run_fit(tmp_path, small(epochs=1), resume=True, sentences=[["a"], ["b"], ["c"]])
    with pytest.raises(ValueError, match="another class_names; resume"):
        run_fit(tmp_path, small(epochs=1), resume=True, about={"class_names": ["x", "y", "z"]})


def test_resume_with_other_data_or_another_version_is_refused(tmp_path):
    made_with = {"data": "1f", "behaviour": {"clips": 1, "model": 1}}
    run_fit(tmp_path, small(epochs=1), about={"identity": made_with})
    for name, value in {"data": "2f", "behaviour": {"clips": 2, "model": 1}}.items():
        other = {"identity": made_with | {name: value}}
        with pytest.raises(ValueError, match=f"another {name}; resume"):
            run_fit(tmp_path, small(epochs=2), resume=True, about=other)
    with pytest.raises(ValueError, match="another lists; resume"):  # of which nothing was noted
        new = {"identity": made_with | {"lists": "3f"}}
        run_fit(tmp_path, small(epochs=2), resume=True, about=new)
    run_fit(tmp_path, small(epochs=2), resume=True, about={"identity": made_with})
    assert saved(tmp_path)["about"]["identity"] == made_with


@pytest.mark.parametrize("killed_at", range(3, 8))
def test_best_and_last_agree_whenever_a_run_is_killed(tmp_path, monkeypatch, killed_at):
    """Killed at each write of three epochs, the first two of which are better than any before.

    The epoch after the kill is another one than it would have been, as on another number of
    processes.
    """
    original, writes = safe_core.write_atomically, []

    def write(path, how):
        if len(writes) == killed_at:
            raise Killed
        writes.append(path.name)
        original(path, how)

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        scripted(patch, [40.0, 60.0, 50.0], chooser_length=5)
        patch.setattr(safe_core, "write_atomically", write)
        run_fit(tmp_path)
    scripted(monkeypatch, [10.0] * 3, chooser_length=5)
    result = run_fit(tmp_path, resume=True)
    about = json.loads((tmp_path / "best.json").read_text())
    assert len(about["history"]) == result["best_epoch"]
    assert about["history"] == result["history"][: result["best_epoch"]]


def test_a_run_is_never_overwritten(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(FileExistsError, match="resume=True or choose another"):
        run_fit(tmp_path, small(epochs=1, seed=1))
    assert (tmp_path / "last.pt").read_bytes() == before


# ------------------------------------------------------------------------------- checkpoints
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run of one epoch."""
    folder = tmp_path_factory.mktemp("run") / "below" / "folders that are not there yet"
    run_fit(folder, small(epochs=1))
    return folder


def test_checkpoint_is_readable_beside_its_tensors(trained):
    about = json.loads((trained / "best.json").read_text())
    assert about["class_names"] == NAMES and about["sentences"] == SENTENCES
    assert about["config"]["epochs"] == 1 and len(about["history"]) == 1
    assert not list(trained.glob("*.partial"))


def test_the_best_epoch_holds_the_model_and_the_last_the_optimiser_too(trained):
    best, _ = load_checkpoint(trained / "best.safetensors")
    last = saved(trained)
    assert set(best) == set(last["model"]) == set(SAFE(small(), SENTENCES).state_dict())
    assert not any("mean_and_std" in key for key in best)  # follows from the configuration
    assert last["optimizer"]["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}


def test_a_model_comes_back_without_its_weights_being_fetched(trained, monkeypatch):
    def fetch(*arguments, **options):
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(safetensors.torch, "load_file", fetch)
    model, about = load_model(trained / "best.safetensors")
    assert not model.training and model.config.pretrained is False and about["class_names"] == NAMES


def test_a_checkpoint_of_another_fusion_comes_back_with_it(tmp_path):
    run_fit(tmp_path, small(joint_block=True, epochs=1))
    model, _ = load_model(tmp_path / "best.safetensors")
    assert isinstance(model.fusion, released.OneStepFusion)


def test_wrong_files_are_refused_by_name(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name in ("evil", "empty", "foreign"):
        with pytest.raises(ValueError, match=f"{name}.safetensors: not a checkpoint of this proj"):
            load_checkpoint(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(FileNotFoundError, match="missing.safetensors: no such checkpoint"):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_truncated_checkpoint_is_refused(trained, tmp_path):
    data = (trained / "best.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut.safetensors: not a checkpoint"):
        load_checkpoint(tmp_path / "cut.safetensors")


def test_a_model_knows_its_classes(trained):
    model, about = load_model(trained / "best.safetensors")
    assert model.about["class_names"] == NAMES and model.about is about


def damaged(trained, path, **changes):
    """A checkpoint whose description or configuration is changed."""
    tensors, about = load_checkpoint(trained / "best.safetensors")
    for name, value in changes.items():
        (about if name in about else about["config"])[name] = value
    safe_core.save_checkpoint(path, tensors, about)


DAMAGE = [
    dict(config=None),
    dict(config={}),
    dict(config={"fraems": 3}),
    dict(sentences=None),
    dict(sentences=[]),
    dict(sentences=[["a"]]),
    dict(sentences=[[1], [2], [3]]),
    dict(class_names=None),
    dict(width=96_000),
    dict(width=24),
    dict(layers=4000),
    dict(layers=2),
    dict(readout_tokens=4096),
    dict(frames=5),
    dict(frames="2"),
    dict(use_text="no"),
    dict(image_size=4096),
    dict(clip_model="weights/none.json"),
    dict(clip_model="hf-hub:someone/something"),
    dict(vision_tower="resnet"),
    dict(modality="rgb"),
]


@pytest.mark.parametrize("changes", DAMAGE, ids=str)
def test_a_damaged_description_is_one_named_error(trained, tmp_path, changes, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    damaged(trained, tmp_path / "odd.safetensors", **changes)
    with pytest.raises(ValueError, match="odd.safetensors: not a model that this code builds"):
        load_model(tmp_path / "odd.safetensors")


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        safe_core.save_checkpoint(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {})
    finally:
        os.umask(before)
    for name in ("a.safetensors", "a.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        safe_core.write_atomically(path, fail)
    assert path.read_text() == "old"


# ------------------------------------------------------------------------------- a GPU's batch
@pytest.mark.parametrize("processes, synchronised", [(2, True), (1, False)])
def test_batch_norms_of_a_resnet_see_the_batch_of_all_processes_on_gpus(
    tmp_path, monkeypatch, processes, synchronised
):
    """Up to where the trainer would reach for the GPU itself."""
    built = []

    class Reached(Exception):
        pass

    def make_optimizer(model, config):
        built.extend(m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        raise Reached

    monkeypatch.setattr(safe_core, "here", lambda: (torch.device("cuda"), 0, processes))
    monkeypatch.setattr(SAFE, "to", lambda self, device: self)
    monkeypatch.setattr(safe_core, "make_optimizer", make_optimizer)
    with pytest.raises(Reached):
        run_fit(tmp_path, small(vision_tower="resnet", precision="fp32"))
    assert len(built) > 5
    assert {isinstance(norm, nn.SyncBatchNorm) for norm in built} == {synchronised}
