"""The model and its trainer, on clips small enough for a second each."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

import safe_core
from safe_core import SAFE, configure, fit, load_checkpoint, load_model, predict

ROOT = Path(__file__).resolve().parents[1]
SMALL = dict(frames=2, width=48, heads=4, readout_tokens=3, batch_size=4, epochs=3, workers=0, learning_rate=3e-4,
             dropout=0.0, pretrained=False)  # fmt: skip
NAMES = ["wave", "bow", "jump"]
SENTENCES = [[f"The action of the human is {name}"] for name in NAMES]


torch.set_num_threads(1)  # the models are too small for more, and other processes may run beside the tests


def small(**fields):
    return configure("sample", **{**SMALL, **fields})


class Clips(torch.utils.data.Dataset):
    """Random clips, each of a class with its own brightness pattern; learnable, and different every epoch if asked."""

    def __init__(self, count, frames=2, side=64, jitter=False):
        generator = torch.Generator().manual_seed(count)
        patterns = torch.randint(0, 255, (len(NAMES), 2, 1, 3, 6, 6), generator=torch.Generator().manual_seed(7))
        self.labels = torch.arange(count) % len(NAMES)
        self.names = [f"clip {i}" for i in range(count)]
        noise = torch.randint(0, 60, (count, 2, frames, 3, side, side), generator=generator)
        big = torch.nn.functional.interpolate(patterns.flatten(0, 2).float(), size=side)
        self.images = (big.view(len(NAMES), 2, 1, 3, side, side)[self.labels] * 0.7 + noise).to(torch.uint8)
        self.jitter, self.epoch = jitter, 0

    def __len__(self):
        return len(self.labels)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, i):
        rgb, event = self.images[i]
        if self.jitter:
            rgb = rgb.roll(self.epoch, dims=-1)
        return {"rgb": rgb, "event": event, "label": int(self.labels[i]), "name": self.names[i]}


def batch_of(clips, indices):
    images = torch.stack([clips.images[i] for i in indices])
    return images[:, 0], images[:, 1], clips.labels[list(indices)]


def run_fit(out_dir, config=None, train=None, **options):
    config = config or small()
    return fit(config, train or Clips(12, config.frames, jitter=True), Clips(5, config.frames), Clips(7, config.frames),
               sentences=SENTENCES, class_names=NAMES, out_dir=out_dir, **options)  # fmt: skip


# ------------------------------------------------------------------------------------------------ configuration


def test_preset_follows_the_data():
    assert configure(dataset="hardvs").clip_model == "weights/tiny_clip.json"
    assert configure(dataset="hardvs", data_root="/data").clip_model == "ViT-B-16-quickgelu"
    paper = configure("paper")
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (50, 16, 8e-6)
    assert (paper.frames, paper.image_size) == (5, 224)
    assert configure("sample", epochs=2, use_text=False).epochs == 2


@pytest.mark.parametrize(("fields", "words"), [
    (dict(vision_tower="swin"), ["vision_tower", "'swin'", "clip, vit, resnet"]),
    (dict(modality="depth"), ["modality", "both, rgb, event"]),
    (dict(dataset="nmnist"), ["dataset", "hardvs, pokerevent, folder"]),
    (dict(epoch=3), ["unknown configuration field epoch", "--help"]),
    (dict(preset="big"), ["preset='big'", "paper, sample"]),
])  # fmt: skip
def test_wrong_configuration_names_the_choices(fields, words):
    with pytest.raises(ValueError) as error:
        configure(**fields)
    assert all(word in str(error.value) for word in words)


# ------------------------------------------------------------------------------------------------ model

SWITCHES = [
    {}, {"use_text": False}, {"use_multimodal_transformer": False}, {"use_self_attention": False},
    {"use_cross_attention": False}, {"vision_tower": "vit"}, {"vision_tower": "resnet"}, {"modality": "rgb"},
    {"modality": "event"}, {"frame_fusion": "mean"}, {"prompt_context": 4}, {"freeze_text": False},
    {"freeze_text": False, "prompt_context": 4}, {"freeze_vision": True}, {"layers": 2}, {"frames": 1},
    {"joint_block": True}, {"value_from_key": True}, {"fusion": "released", "frame_fusion": "mean"},
]  # fmt: skip


def graph(model):
    return {(name, tuple(p.shape), p.requires_grad) for name, p in model.named_parameters()}


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda s: ",".join(f"{k}={v}" for k, v in s.items()) or "full")
def test_every_switch_changes_the_graph_and_trains(switch):
    config = small(**switch)
    clips = Clips(6, config.frames)
    model = SAFE(config, SENTENCES).train()
    if switch and switch not in ({"frame_fusion": "mean"}, {"vision_tower": "vit"}, {"value_from_key": True}):
        assert graph(model) != graph(SAFE(small(), SENTENCES))
    rgb, event, labels = batch_of(clips, range(6))
    optimizer = safe_core.make_optimizer(model, config)
    losses, reached = [], set()
    for _ in range(6):  # several steps: the inner layers of a fresh ResNet's blocks get none in the first
        loss = torch.nn.functional.cross_entropy(model(rgb, event), labels)
        optimizer.zero_grad()
        loss.backward()
        reached |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
        losses.append(loss.item())
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    assert min(losses[1:]) < losses[0]
    in_optimizer = {p for group in optimizer.param_groups for p in group["params"]}
    assert in_optimizer == {p for p in model.parameters() if p.requires_grad}


def test_freezing_leaves_only_the_rest_trainable():
    model = SAFE(small(freeze_vision=True, freeze_text=True), SENTENCES).train()
    assert not any(p.requires_grad for p in model.vision.parameters())
    assert not model.vision.training and model.fusion.training
    assert model.text is None and model.text_features.shape == (3, 64)


def test_frozen_text_features_are_what_the_tower_gives():
    torch.manual_seed(0)
    live = SAFE(small(freeze_text=False), SENTENCES).eval()
    torch.manual_seed(0)
    frozen = SAFE(small(freeze_text=True), SENTENCES).eval()
    torch.testing.assert_close(frozen.text_features, live.text(torch.arange(3)))


def test_cutting_text_positions_changes_nothing():
    clip, tokenizer = safe_core.build_clip(small())
    sentences = [f"sentence number {i} " + "very " * (i % 9) + "long" for i in range(120)]
    tower = safe_core.TextTower(clip, tokenizer, sentences, context=0)
    assert tower.tokens.shape[1] < 20
    torch.testing.assert_close(tower(torch.arange(120)), clip.encode_text(tokenizer(sentences)), atol=1e-5, rtol=1e-4)
    some = torch.tensor([99, 3, 3, 40])
    torch.testing.assert_close(tower(some), clip.encode_text(tokenizer(sentences))[some], atol=1e-5, rtol=1e-4)


def test_sentence_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="too long for CLIP's 77 tokens.*shorten"):
        SAFE(small(), [["word " * 90], ["b"], ["c"]])
    fits = "word " * 70
    SAFE(small(), [[fits], ["b"], ["c"]])
    with pytest.raises(ValueError, match="with 8 context"):
        SAFE(small(prompt_context=8), [[fits], ["b"], ["c"]])


def test_several_sentences_are_averaged_in_evaluation_and_drawn_in_training():
    sentences = [["wave", "a waving hand", "someone waves"], ["bow"], ["jump", "a jump"]]
    model = SAFE(small(freeze_text=False), sentences)
    each = model.word_embed(model.text(torch.arange(6))).detach()
    averaged = model.eval().text_tokens().detach()
    torch.testing.assert_close(averaged, torch.stack([each[:3].mean(0), each[3], each[4:].mean(0)]))
    model.train()
    drawn = {int((model.text_tokens()[0] - each[:3]).norm(dim=1).argmin()) for _ in range(40)}
    assert drawn == {0, 1, 2}
    torch.testing.assert_close(model.text_tokens()[1], each[3])


def test_output_does_not_depend_on_the_rest_of_the_batch():
    clips = Clips(6)
    model = SAFE(small(), SENTENCES).eval()
    rgb, event, _ = batch_of(clips, range(6))
    with torch.no_grad():
        together, alone = model(rgb, event), model(rgb[2:3], event[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-4)


def test_frame_order_matters_only_when_frames_are_concatenated():
    rgb, event, _ = batch_of(Clips(3), range(3))
    rgb = rgb.clone()
    rgb[:, 1] = 255 - rgb[:, 1]
    for fusion, same in (("concat", False), ("mean", True)):
        model = SAFE(small(frame_fusion=fusion), SENTENCES).eval()
        with torch.no_grad():
            difference = (model(rgb, event) - model(rgb.flip(1), event.flip(1))).abs().max()
        assert (difference < 1e-5) == same


def test_half_normalisation_spans_minus_one_to_one():
    config = small(normalisation="half")
    tower = safe_core.VisionTower(config, safe_core.build_clip(config)[0])
    seen = []
    tower.net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    tower(torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 3, 64, 32))
    assert seen[0].unique().tolist() == [-1, 1]


def test_the_value_can_be_computed_from_the_key():
    torch.manual_seed(0)
    attention = safe_core.PreNormAttention(8, 2, value_from_key=True)
    queries, context = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    seen = []
    attention.attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    attention(queries, context)
    weight, bias = attention.attention.in_proj_weight[8:16], attention.attention.in_proj_bias[8:16]
    key = attention.norm(context)
    torch.testing.assert_close(seen[0][1:], (key, key @ weight.T + bias))


def test_in_the_joint_block_one_modality_reaches_the_other():
    """After the joint block, before any later stage, RGB tokens depend on the events; in two branches they don't."""
    for joint in (False, True):
        torch.manual_seed(0)
        fusion = safe_core.Fusion(small(joint_block=joint, use_self_attention=False), ["rgb", "event"], 3, 17).eval()
        seen = {}
        for b in ("rgb", "event"):
            fusion.cross_attention[b].register_forward_pre_hook(lambda m, x, b=b, seen=seen: seen.update({b: x[1]}))
        visual, text = {b: torch.randn(1, 2, 17, 48) for b in ("rgb", "event")}, torch.randn(3, 48)
        fusion(visual, text)
        before = seen["rgb"]
        fusion(visual | {"event": torch.randn(1, 2, 17, 48)}, text)
        assert torch.equal(before, seen["rgb"]) != joint


def test_missing_modality_is_named():
    rgb, _, _ = batch_of(Clips(3), range(3))
    with pytest.raises(ValueError, match="modality='both' needs the input 'event'"):
        SAFE(small(), SENTENCES)(rgb, None)


def test_paper_size_tower_gives_197_tokens_of_width_768():
    config = configure("paper", pretrained=False, frames=1)
    clip, _ = safe_core.build_clip(config)
    tower = safe_core.VisionTower(config, clip).eval()
    images = torch.randint(0, 255, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        tokens = tower(images)
    assert tokens.shape == (1, 197, 768)
    reference = open_clip.create_model("ViT-B-16-quickgelu").visual.eval()
    reference.load_state_dict(clip.visual.state_dict() | {"proj": reference.proj})
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    with torch.no_grad():  # the class token, projected, is CLIP's own image feature of the normalised image
        feature = reference((images / 255 - mean) / std)
        torch.testing.assert_close(tokens[:, 0] @ reference.proj, feature, atol=1e-4, rtol=1e-3)


# ------------------------------------------------------------------------------------------------ optimiser, schedule


def test_schedule_warms_up_then_follows_a_cosine():
    config = small(learning_rate=1.0, warmup_fraction=0.1, final_lr_fraction=0.1)
    rates = [safe_core.learning_rate(step, 100, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[55] == pytest.approx(0.55)  # half way down
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_fit_steps_the_schedule_once_per_batch(tmp_path):
    config = small(epochs=3, warmup_fraction=0.0)
    rates = [row["learning_rate"] for row in run_fit(tmp_path, config)["history"]]
    assert rates == pytest.approx([safe_core.learning_rate(step, 9, config) for step in (2, 5, 8)])


def test_clipping_covers_all_trained_parameters(tmp_path, monkeypatch):
    clipped, original = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_",
                        lambda params, norm: clipped.append((len(params), norm)) or original(params, norm))  # fmt: skip
    run_fit(tmp_path, small(epochs=1))
    count = sum(p.requires_grad for p in SAFE(small(), SENTENCES).parameters())
    assert clipped == [(count, 1.0)] * 3


def test_the_released_schedule_is_constant():
    config = configure("paper", schedule="constant")
    assert [safe_core.learning_rate(step, 100, config) for step in range(100)] == [pytest.approx(8.072e-7)] * 100


def test_as_released_the_towers_are_not_clipped(tmp_path, monkeypatch):
    sizes, original = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_",
                        lambda params, norm: sizes.append(len(params)) or original(params, norm))  # fmt: skip
    run_fit(tmp_path, small(epochs=1, clip_norm_of="fusion"))
    named = SAFE(small(), SENTENCES).named_parameters()
    assert sizes == [sum(not name.startswith(("vision.", "text.")) for name, p in named if p.requires_grad)] * 3


# ------------------------------------------------------------------------------------------------ training


def test_a_small_set_is_learned_completely(tmp_path):
    train = Clips(12)
    config = small(epochs=15, pretrained=True, learning_rate=1e-3)
    result = fit(config, train, train, train, sentences=SENTENCES, class_names=NAMES, out_dir=tmp_path)
    assert result["test"]["top1"] == 100


def test_resume_continues_bit_for_bit(tmp_path):
    config = small(dropout=0.2, prompt_context=2, freeze_text=False)
    whole = run_fit(tmp_path / "whole", config)

    class Killed(Exception):
        pass

    def kill(epoch, step, steps, loss):
        if epoch == 2 and step == 2:
            raise Killed

    with pytest.raises(Killed):
        run_fit(tmp_path / "parts", config, on_step=kill)
    parts = run_fit(tmp_path / "parts", config, resume=True)
    for name in ("last", "best"):
        a, b = (safetensors.torch.load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "parts"))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert torch.equal(whole["log_probs"], parts["log_probs"])
    without_time = [[{k: v for k, v in row.items() if k != "seconds"} for row in r["history"]] for r in (whole, parts)]
    assert without_time[0] == without_time[1]


def test_every_epoch_visits_each_clip_once_in_a_new_order(tmp_path):
    visited = []

    class Logged(Clips):
        def __getitem__(self, i):
            visited.append(int(i))
            return super().__getitem__(i)

    run_fit(tmp_path, small(epochs=2), train=Logged(12))
    first, second = visited[:12], visited[12:]
    assert sorted(first) == sorted(second) == list(range(12)) and first != second


def test_resume_without_a_checkpoint_starts(tmp_path):
    assert len(run_fit(tmp_path, small(epochs=1), resume=True)["history"]) == 1


def test_resume_with_another_configuration_is_refused(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    with pytest.raises(ValueError, match="another epochs"):
        run_fit(tmp_path, small(epochs=2), resume=True)


def test_a_finished_run_is_never_overwritten(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="resume=True or choose another"):
        run_fit(tmp_path, small(epochs=1, seed=1))
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_seed_decides_the_run(tmp_path):
    a, b, c = (run_fit(tmp_path / str(i), small(epochs=1, seed=s))["log_probs"] for i, s in enumerate((0, 0, 1)))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_epoch_is_chosen_by_validation_and_tested_once(tmp_path, monkeypatch):
    config, seen, scores = small(epochs=3), [], iter([40.0, 60.0, 60.0])
    original = safe_core.accuracy

    def scripted(log_probs, labels):
        seen.append(len(labels))
        result = original(log_probs, labels)
        return result | {"top1": next(scores)} if len(labels) == 5 else result

    monkeypatch.setattr(safe_core, "accuracy", scripted)
    result = run_fit(tmp_path, config)
    assert seen == [5, 5, 5, 7] and result["best_epoch"] == 2  # the earliest of equals
    model, about = load_model(tmp_path / "best.safetensors")
    assert len(about["history"]) == 2
    torch.testing.assert_close(predict(model, Clips(7), config), result["log_probs"], atol=1e-5, rtol=1e-4)


def test_as_released_the_test_set_chooses_the_epoch(tmp_path, monkeypatch):
    original, scores = safe_core.accuracy, iter([40.0, 60.0, 50.0, 60.0])
    monkeypatch.setattr(safe_core, "accuracy", lambda *a: original(*a) | {"top1": next(scores)})
    result = run_fit(tmp_path, small(select_on="test"))
    assert result["best_epoch"] == 2 and [row["test_top1"] for row in result["history"]] == [40, 60, 50]


def test_divergence_stops_and_keeps_the_last_epoch(tmp_path, monkeypatch):
    original, calls = safe_core.learning_rate, []

    def explode(step, steps, config):
        calls.append(step)
        return original(step, steps, config) if len(calls) < 5 else float("nan")

    monkeypatch.setattr(safe_core, "learning_rate", explode)
    with pytest.raises(FloatingPointError, match="epoch 2.*lower learning_rate"):
        run_fit(tmp_path)
    assert len(load_checkpoint(tmp_path / "last.safetensors")[1]["history"]) == 1


def test_too_few_clips_for_a_batch_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="batch_size=4.*3 training clips"):
        run_fit(tmp_path, train=Clips(3))


# ------------------------------------------------------------------------------------------------ checkpoints


def test_checkpoint_is_readable_beside_its_tensors(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    about = json.loads((tmp_path / "best.json").read_text())
    assert about["class_names"] == NAMES and about["config"]["epochs"] == 1 and about["sentences"] == SENTENCES
    assert not list(tmp_path.glob("*.partial"))


def test_wrong_files_are_refused_by_name(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name in ("evil", "empty", "foreign"):
        with pytest.raises(ValueError, match=f"{name}.safetensors: not a checkpoint of this project"):
            load_checkpoint(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_truncated_checkpoint_is_refused(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    data = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut.safetensors: not a checkpoint"):
        load_checkpoint(tmp_path / "cut.safetensors")


def test_class_count_must_agree(tmp_path):
    run_fit(tmp_path, small(epochs=1))
    with pytest.raises(ValueError, match="trained for 3 classes, the data have 24"):
        load_model(tmp_path / "best.safetensors", num_classes=24)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        safe_core.write_atomically(path, fail)
    assert path.read_text() == "old"


# ------------------------------------------------------------------------------------------------ several processes


def half_the_batch(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    assert dist.get_world_size() == 2
    torch.manual_seed(0)
    model = SAFE(small(freeze_text=False), SENTENCES).eval()
    wrapped = DistributedDataParallel(model)
    rgb, event, labels = batch_of(Clips(6), range(rank, 6, 2))
    torch.nn.functional.cross_entropy(wrapped(rgb, event), labels).backward()
    log_probs = predict(model, Clips(7), small())  # 7 clips on 2 processes: nobody is counted twice
    if rank == 1:
        torch.save(({n: p.grad for n, p in model.named_parameters()}, log_probs), folder / "result.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_single_process_gradient(tmp_path):
    mp.spawn(half_the_batch, args=(tmp_path,), nprocs=2)
    gradients, log_probs = torch.load(tmp_path / "result.pt", weights_only=True)
    torch.manual_seed(0)
    model = SAFE(small(freeze_text=False), SENTENCES).eval()
    rgb, event, labels = batch_of(Clips(6), range(6))
    torch.nn.functional.cross_entropy(model(rgb, event), labels).backward()
    for name, p in model.named_parameters():  # towers included
        torch.testing.assert_close(gradients[name], p.grad, atol=1e-6, rtol=1e-3, msg=name)
    torch.testing.assert_close(log_probs, predict(model, Clips(7), small()), atol=1e-5, rtol=1e-4)


def test_torchrun_trains_on_the_sample_and_resumes(tmp_path):
    options = ("--dataset hardvs --frames 2 --epochs 1 --batch-size 8 --workers 0 --val-fraction 0.34 --resume "
               "--sample-train-per-class 3 --sample-test-per-class 1")  # fmt: skip
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2", "safe_core.py",
               *options.split(), "--out-dir", str(tmp_path)]  # fmt: skip
    for _ in range(2):  # the second time finds the run finished
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "hardvs (sample data, 48 training, 24 validation and 24 test recordings)" in done.stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["processes"] == 2 and len(record["history"]) == 1 and record["data"]["origin"] == "sample"
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 25


def test_help_lists_every_field():
    text = subprocess.run([sys.executable, "safe_core.py", "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    for field in dataclasses.fields(safe_core.Config):
        assert "--" + field.name.replace("_", "-") in text
