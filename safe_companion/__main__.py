"""The commands, for people: `python -m safe_companion COMMAND ...`, installed as `safe`.

Every command imports what it needs when it runs, since importing torch takes seconds.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


# ------------------------------------------------------------------------------- training
def train_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags
    from safe_core import PRESETS

    parser.add_argument(
        "--preset", choices=PRESETS, help="default: sample for the sample, paper for real data"
    )
    parser.add_argument("--out-dir", type=Path, help="default: runs/DATASET-seedSEED")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out-dir")
    flags.add_options(parser)


def train(options: argparse.Namespace) -> None:
    import safe_core
    from safe_companion import runs

    fields = dict(vars(options))
    out_dir = fields.pop("out_dir")
    resume = fields.pop("resume")
    runs.run(safe_core.configure(**fields), out_dir=out_dir, resume=resume)


# ------------------------------------------------------------------------------- data
def check_options(parser: argparse.ArgumentParser) -> None:
    from safe_core import CHOICES

    parser.add_argument("root", metavar="ROOT", type=Path)
    parser.add_argument("--dataset", choices=CHOICES["dataset"], required=True)


def check(options: argparse.Namespace) -> int:
    from safe_companion import datasets

    return datasets.check(options.root, options.dataset)


def picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)


def picture(options: argparse.Namespace) -> None:
    from safe_companion import plots

    plots.style()
    plots.sample_picture().savefig(options.file, dpi=80)


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
    import json

    from safe_companion import records

    print(records.summary(json.loads((options.run / records.RECORD).read_text())))
    files = {
        "executed notebook": "train.ipynb",
        "run record": records.RECORD,
        "predictions": records.PREDICTIONS,
        "checkpoint": records.CHECKPOINT,
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
    from safe_companion import records, runs

    records.write_json(options.run / records.DRAWS, runs.draws(options.run, 20))


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
    from safe_companion import datasets, released

    fields = dict(vars(options))
    checkpoint = fields.pop("checkpoint")
    draws = fields.pop("draws")
    config = safe_core.configure("paper", **released.RELEASED | fields)
    splits = datasets.open_dataset(config)
    model = released.load_released_checkpoint(checkpoint, class_names=splits.class_names, **fields)
    device, _, _ = safe_core.join_processes()
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
    from safe_companion import ROOT, datasets, execution, sample

    paths = execution.notebooks(options.names)
    for dataset in sample.CLASSES:  # made once, before notebooks side by side ask for them
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


class Command(NamedTuple):
    """A command of the table below."""

    help: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


COMMANDS = {
    "train": Command(
        "train SAFE, evaluate it, write its record; under torchrun on several GPUs",
        "safe train --dataset hardvs --data-root /data/HARDVS --out-dir runs/mine --resume",
        train_options,
        train,
    ),
    "check": Command(
        "list the recordings of a data set that cannot be used",
        "safe check /data/HARDVS --dataset hardvs",
        check_options,
        check,
    ),
    "summary": Command(
        "what a run gave, and where its files are",
        "safe summary runs/hardvs-seed0",
        run_options,
        summary,
    ),
    "keep": Command(
        "copy the record of a run to results/, where studies find it",
        "safe keep runs/hardvs-seed0 --checkpoint",
        keep_options,
        keep,
    ),
    "draws": Command(
        "test 20 random draws of the test frames, into draws.json beside the record",
        "safe draws runs/hardvs-seed0",
        run_options,
        draws,
    ),
    "released": Command(
        "evaluate a checkpoint of the authors' code",
        "safe released checkpoint.pth --data-root /data/PokerEvent --draws 20",
        released_options,
        released,
    ),
    "study": Command(
        "a study's rows on the sample, from their committed records",
        "safe study modalities --dataset pokerevent",
        study_options,
        study,
    ),
    "ledger": Command(
        "every claim of the paper beside our runs",
        "safe ledger --format csv",
        ledger_options,
        ledger,
    ),
    "execute": Command(
        "run notebooks where they are, keeping their outputs; default: all that show studies",
        "safe execute table4",
        execute_options,
        execute,
    ),
    "picture": Command(
        "draw the README's picture of the sample world",
        "safe picture book/_static/sample.png",
        picture_options,
        picture,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="safe", description="The companion of the SAFE paper.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=f"Example: {command.example}",
        )
        if name in words[:1]:  # only its options are needed, and finding them may take seconds
            command.add_options(sub)
    options = parser.parse_args(words)
    chosen = COMMANDS[options.command]
    del options.command
    return chosen.run(options) or 0


if __name__ == "__main__":
    sys.exit(main())
