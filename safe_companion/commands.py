"""What do the commands do that make runs, look at them, and check and draw data?

Most are a pair of functions: `NAME_options` adds its options to a parser, `NAME` runs it, and `safe
NAME --help` describes it. Each imports what it needs when it runs: importing torch takes seconds.
"""

import argparse
import os
from pathlib import Path


# ------------------------------------------------------------------------------- training, data
def preset_option(parser: argparse.ArgumentParser) -> None:
    from safe_core import PRESETS

    parser.add_argument(
        "--preset", choices=PRESETS, help="default: sample for the sample, paper for real data"
    )


def train_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags

    preset_option(parser)
    parser.add_argument(
        "--out-dir", type=Path, help="default: runs/ORIGIN/DATASET/WHAT-DIFFERS/seedN"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out-dir, or start it if there is none",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="log for TensorBoard, too, which you install"
    )
    flags.add_options(parser)


def train(options: argparse.Namespace) -> None:
    import safe_core
    from safe_companion import runs

    fields = dict(vars(options))
    how = {name: fields.pop(name) for name in ("out_dir", "resume", "tensorboard")}
    runs.run(safe_core.configure(**fields), **how)


def pretrain_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags
    from safe_core import FIELDS

    parser.add_argument("out", metavar="OUT", type=Path, help="such as weights/mine.safetensors")
    parser.add_argument(
        "--pairs-per-class", type=int, default=250, help="of the sample's stream; default: 250"
    )
    parser.add_argument("--out-dir", type=Path, help="of its state; default: runs/pretraining/OUT")
    parser.add_argument("--resume", action="store_true", help="go on, or start if there is none")
    preset_option(parser)
    flags.add_options(parser, [name for name in FIELDS if name not in ("model", "classifier")])


def pretrain(options: argparse.Namespace) -> None:
    from safe_companion import pretraining

    fields = dict(vars(options))
    how = {name: fields.pop(name) for name in ("out", "pairs_per_class", "out_dir", "resume")}
    pretraining.run(pretraining.configure(**fields), **how)


def sample_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import sample

    parser.add_argument("dataset", metavar="DATASET", choices=sample.CLASSES)
    parser.add_argument("out", metavar="OUT", type=Path, help="a new folder")
    parser.add_argument("--train-per-class", type=int, default=48, help="default: 48")
    parser.add_argument("--test-per-class", type=int, default=105, help="default: 105")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def make_sample(options: argparse.Namespace) -> None:
    from safe_companion import sample

    fields = dict(vars(options))
    print(sample.make_sample(fields.pop("dataset"), fields.pop("out"), **fields))


def check_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags
    from safe_core import CHOICES, FIELDS

    parser.add_argument("root", metavar="ROOT", help="where the data set lies")
    parser.add_argument("--dataset", choices=CHOICES["dataset"], required=True)
    parser.add_argument("--decode", action="store_true", help="decode every image, too: slow")
    preset_option(parser)
    flags.add_options(parser, [name for name in FIELDS if name not in ("dataset", "data_root")])


def check(options: argparse.Namespace) -> int:
    import safe_core
    from safe_companion import datasets

    fields = dict(vars(options))
    fields["data_root"] = fields.pop("root")
    decode = fields.pop("decode")
    return datasets.check(safe_core.configure(**fields), decode=decode)


def picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)


def picture(options: argparse.Namespace) -> None:
    from safe_companion import plots

    plots.style()
    plots.sample_picture().savefig(options.file, dpi=80)


# ------------------------------------------------------------------------------- real recordings
def fetch_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import real_sets

    parser.add_argument("name", metavar="NAME", choices=real_sets.WRITERS, help="of a set")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to be made")
    given = os.environ.get("SAFE_SOURCES")
    parser.add_argument(
        "--from",
        dest="clones",
        metavar="FOLDER",
        type=Path,
        default=Path(given) if given else None,
        help="that holds clones, or is one; default: $SAFE_SOURCES, else they are cloned",
    )
    parser.add_argument(
        "--light", type=float, default=1.0, help="of nmnist-pairs' stimulus; default: 1, bright"
    )
    parser.add_argument(
        "--tuning", action="store_true", help="no test recording: to choose recipes on"
    )


def fetch(options: argparse.Namespace) -> None:
    from safe_companion import fetching, real_sets

    how = real_sets.How(options.light, options.tuning)
    print(*fetching.fetch(options.name, options.out, clones=options.clones, how=how), sep="\n")


def baselines_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", help="a folder of classes with event images")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .csv to be written")


def baselines(options: argparse.Namespace) -> None:
    import safe_core
    from safe_companion import baselines, datasets, real_studies

    fields = {"modality": "event", "frames": 1, "augment": "none"} | {"data_root": options.root}
    config = safe_core.configure(real_studies.PRESET, **real_studies.RECIPE | fields)
    table = baselines.answers(datasets.open_dataset(config), config)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    safe_core.write_atomically(options.file, lambda p: table.to_csv(p, index=False))
    for name in baselines.NAMES:
        print(f"{name}: top-1 {100 * (table[name] == table.label).mean():.1f} %")


def realism_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "named", nargs="*", metavar="NAME=PATH", help="recordings, or folders of them"
    )
    parser.add_argument("--most", type=int, default=200, help="recordings of each; default: 200")
    parser.add_argument("--save", metavar="FILE", type=Path, help="a .json; other names in it stay")


def realism(options: argparse.Namespace) -> None:
    from safe_companion import realism, records, wording

    measured = realism.of_samples(options.most)
    for text in options.named:
        name, equals, path = text.partition("=")
        if not equals or not name:
            raise ValueError(f"found {text!r}; expected NAME=PATH, such as mine=my_recordings")
        measured[name] = realism.of_folder(Path(path), options.most)
    print(realism.table(measured).to_string(na_rep="", float_format=wording.significant))
    names = [text.partition("=")[0] for text in options.named]
    for name in names:
        print(f"\nfor a World like {name}:")
        for knob, value in realism.advice(measured[name]).items():
            print(f"- {knob}: {value}")
    if names:
        print("\n" + realism.without_a_field({name: measured[name] for name in names}))
    if options.save:
        before = records.read_json(options.save) if options.save.exists() else {}
        about = {"date": records.today(), "commit": records.commit()}
        records.write_json(options.save, before | {n: m | about for n, m in measured.items()})


# ------------------------------------------------------------------------------- one run
def run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=existing_run, help="the folder of a run")


def existing_run(text: str) -> Path:
    """A folder that holds a run's record; the parser says what is missing."""
    run = Path(text)
    if not (run / "record.json").exists():
        written = "`make train` and notebooks/train.ipynb write one"
        raise argparse.ArgumentTypeError(f"{run / 'record.json'}: no run record; {written}")
    return run


def summary(options: argparse.Namespace) -> None:
    from safe_companion import logs, places, prediction, records

    evaluation = prediction.read_evaluation(options.run)
    if evaluation is not None:
        print(prediction.summary(evaluation))
    else:
        print(records.summary(records.read_record(options.run)))
    files = {
        "executed notebook": "train.ipynb",
        "run record": places.RECORD,
        "log": logs.LOG,
        "predictions": places.TABLE,
        "predictions of all classes": places.PREDICTIONS,
        "checkpoint": places.CHECKPOINT,
    }
    for what, name in files.items():
        if (options.run / name).exists():
            print(f"{what}: {options.run / name}")


def keep_options(parser: argparse.ArgumentParser) -> None:
    run_options(parser)
    parser.add_argument(
        "--checkpoint", action="store_true", help="its weights, too, in half precision"
    )


def keep(options: argparse.Namespace) -> None:
    from safe_companion import runs

    print(runs.keep(options.run, checkpoint=options.checkpoint))


def draws(options: argparse.Namespace) -> None:
    from safe_companion import places, records, runs

    records.write_json(options.run / places.DRAWS, runs.draws(options.run, 20))


# ------------------------------------------------------------------------------- the released code
def released_options(parser: argparse.ArgumentParser) -> None:
    from safe_core import CHOICES

    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    parser.add_argument("--dataset", choices=CHOICES["dataset"], default="pokerevent")
    parser.add_argument("--data-root", required=True, help="where the data set lies")
    parser.add_argument("--draws", type=int, default=1, help="random draws of the test frames")
    parser.add_argument("--test-frames", choices=CHOICES["test_frames"], default="random")
    parser.add_argument("--batch-size", type=int, default=16)


def released(options: argparse.Namespace) -> None:
    import safe_core
    from safe_companion import datasets, processes, released

    device, _, _ = processes.join()
    fields = dict(vars(options))
    checkpoint = fields.pop("checkpoint")
    draws = fields.pop("draws")
    config = safe_core.configure("paper", **released.RELEASED | fields)
    splits = datasets.open_dataset(config)
    model = released.load_released_checkpoint(checkpoint, class_names=splits.class_names, **fields)
    print(f"{splits.origin} data: {config.dataset}, {len(splits.test)} test recordings")
    for draw, score in enumerate(released.evaluate(model.to(device), splits.test, draws=draws)):
        print(f"draw {draw}: top-1 {score['top1']:.2f} %, top-5 {score['top5']:.2f} %")


# ------------------------------------------------------------------------------- studies
def execute_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a notebook, or the first word of its name"
    )


def execute(options: argparse.Namespace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import safe_core
    from safe_companion import ROOT, datasets, execution

    paths = execution.notebooks(options.names)
    for dataset in ("hardvs", "pokerevent"):  # made once, before notebooks ask side by side
        datasets.open_dataset(safe_core.configure(dataset=dataset))
    os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait for another's cores make all slow
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for path, _ in zip(paths, pool.map(execution.execute, paths), strict=True):
            print(path.relative_to(ROOT), flush=True)


def study_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import sample

    parser.add_argument("name", metavar="NAME", help="such as table4 or modalities")
    parser.add_argument("--dataset", choices=sample.CLASSES, default="hardvs")


def study(options: argparse.Namespace) -> int:
    from safe_companion import effects, studies

    known = studies.studies(options.dataset, "sample")
    if options.name not in known:
        choices = ", ".join(known)
        print(f"no study {options.name} of {options.dataset}: choose from {choices}")
        return 2
    found = {
        row: studies.records(fields, dataset=options.dataset, origin="sample")
        for row, fields in known[options.name].items()
    }
    print(f"sample data, {options.dataset}; differences are to the first row")
    table = effects.effect_table(found, baseline=next(iter(found)))
    print(table.to_string(na_rep="", float_format="{:.1f}".format))
    return 0


def plan_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import planning, studies

    cards = ", ".join(planning.CARDS)
    parser.add_argument("dataset", metavar="DATASET", choices=["hardvs", "pokerevent"])
    parser.add_argument("--gpu", default="h100", help=f"{cards}, or its peak in TFLOP/s")
    parser.add_argument("--gpus", type=int, default=1, help="default: 1")
    share = f"of the peak; default: as recorded, else {planning.UTILISATION}"
    parser.add_argument("--utilisation", type=float, help=share)
    parser.add_argument("--seeds", type=int, default=studies.SEEDS, help="of each row")


def plan(options: argparse.Namespace) -> None:
    import logging

    from safe_companion import planning

    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns that it draws its weights
    print(planning.plan(**vars(options)))


def ledger_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=["text", "csv"], default="text")


def ledger(options: argparse.Namespace) -> None:
    from safe_companion import claims

    table = claims.ledger()
    if options.format == "csv":
        print(table.to_csv(float_format="%.5g"))
        return
    shown = ["where", "paper", "unit", "ours", "±", "seeds", "origin", "verdict"]
    print(table[shown].to_string(na_rep="", float_format="{:.5g}".format))
