"""The commands, for people: `python -m safe_companion COMMAND ...`, installed as `safe`.

What a command does is in commands.py and model_commands.py. Exit status 2: what was asked for
cannot be done, and one line says why (SAFE_TRACEBACK=1 shows where); 130: interrupted.
"""

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from safe_companion import ROOT, commands, model_commands


class Command(NamedTuple):
    """One command of `safe`."""

    help: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


COMMANDS = {
    "train": Command(
        "train SAFE, evaluate it, write its record; under torchrun on several GPUs",
        "safe train --dataset hardvs --data-root /data/HARDVS --out-dir runs/mine --resume",
        commands.train_options,
        commands.train,
    ),
    "pretrain": Command(
        "go on training a CLIP on pairs of frames, event images and sentences",
        "safe pretrain weights/mine.safetensors --dataset hardvs --epochs 4 --learning-rate 3e-4",
        commands.pretrain_options,
        commands.pretrain,
    ),
    "sample": Command(
        "write a generated data set: hardvs, pokerevent or conjunctions",
        "safe sample conjunctions /scratch/conjunctions",
        commands.sample_options,
        commands.make_sample,
    ),
    "evaluate": Command(
        "test a trained model on its data, or on other data of the same classes",
        "safe evaluate runs/mine/best.safetensors --data-root /data/another_day --split all",
        model_commands.evaluate_options,
        model_commands.evaluate,
    ),
    "predict": Command(
        "ask a trained model about recordings",
        "safe predict runs/mine/best.safetensors take_00.npz take_01.aedat4 --save answers.png",
        model_commands.predict_options,
        model_commands.predict,
    ),
    "robustness": Command(
        "test a trained model when cameras fail, and on the sample at fixed light and speed",
        "safe robustness runs/mine/best.safetensors --on corruptions",
        model_commands.robustness_options,
        model_commands.robustness,
    ),
    "check": Command(
        "list what is wrong with the recordings of a data set",
        "safe check /data/HARDVS --dataset hardvs",
        commands.check_options,
        commands.check,
    ),
    "show": Command(
        "say what is in a recording, and draw it",
        "safe show take_00.aedat4 --save take_00.png",
        model_commands.show_options,
        model_commands.show,
    ),
    "convert": Command(
        "convert recordings, or folders of them, to npz",
        "safe convert raw_recordings npz_recordings",
        model_commands.convert_options,
        model_commands.convert,
    ),
    "pack": Command(
        "pack a data set, so that a clip reads only what it shows",
        "safe pack /data/HARDVS /scratch/HARDVS --shard-gib 4",
        model_commands.pack_options,
        model_commands.pack,
    ),
    "fetch": Command(
        "make a folder of real recordings that anyone can fetch",
        "safe fetch biolab data/biolab --from clones",
        commands.fetch_options,
        commands.fetch,
    ),
    "baselines": Command(
        "what simple classifiers answer on a folder's event images",
        "safe baselines data/biolab results/baselines/biolab.csv",
        commands.baselines_options,
        commands.baselines,
    ),
    "realism": Command(
        "statistics of event streams, beside the sample world's",
        "safe realism mine=my_recordings",
        commands.realism_options,
        commands.realism,
    ),
    "summary": Command(
        "what a run gave, and where its files are",
        "safe summary runs/mine",
        commands.run_options,
        commands.summary,
    ),
    "keep": Command(
        "copy the record of a run to results/, where studies find it",
        "safe keep runs/mine --checkpoint",
        commands.keep_options,
        commands.keep,
    ),
    "draws": Command(
        "test 20 random draws of the test frames, into draws.json beside the record",
        "safe draws runs/mine",
        commands.run_options,
        commands.draws,
    ),
    "released": Command(
        "evaluate a checkpoint of the authors' code",
        "safe released checkpoint.pth --data-root /data/PokerEvent --draws 20",
        commands.released_options,
        commands.released,
    ),
    "study": Command(
        "a study's rows on the sample, from their committed records",
        "safe study modalities --dataset pokerevent",
        commands.study_options,
        commands.study,
    ),
    "plan": Command(
        "estimate how long every table takes on given cards",
        "safe plan hardvs --gpu a100 --gpus 4 --utilisation 0.35",
        commands.plan_options,
        commands.plan,
    ),
    "ledger": Command(
        "every claim of the paper beside our runs",
        "safe ledger --format csv",
        commands.ledger_options,
        commands.ledger,
    ),
    "execute": Command(
        "run notebooks where they are, keeping their outputs; default: all that show studies",
        "safe execute table4",
        commands.execute_options,
        commands.execute,
    ),
    "play": Command(
        "write the models and recordings with which the book's reader plays",
        "safe play book/_static/play/data --runs runs",
        model_commands.play_options,
        model_commands.play,
    ),
    "picture": Command(
        "draw the README's picture of the sample world",
        "safe picture book/_static/sample.png",
        commands.picture_options,
        commands.picture,
    ),
}


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean X?", if one of the known words is near; else nothing."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse would list every option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n`{self.prog} --help` lists what there is\n")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; SystemExit with what is wrong, and the nearest known word."""
    about = "The companion of the SAFE paper."
    parser = Parser(prog="safe", description=about, allow_abbrev=False)
    subs = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    used = parser
    for name, command in COMMANDS.items():
        sub = subs.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=f"Example: {command.example}",
            allow_abbrev=False,
        )
        if name in words[:1]:  # only its options are needed, and finding them may take seconds
            command.add_options(sub)
            used = sub
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        hint = nearest(words[0], COMMANDS) or f"; choose from {', '.join(COMMANDS)}"
        parser.error(f"invalid choice: {words[0]!r} is no command{hint}")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        word = unknown[0].split("=")[0]
        hint = nearest(word, used._option_string_actions) if word.startswith("-") else ""
        used.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def reason(error: Exception) -> str | None:
    """What an error says to people, in one line; None if it is a fault of this program.

    Those that this project raises say what was found and what to do; so do the system's of files.
    """
    from safe_companion.readers import RecordingError

    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = raised_in == ROOT / "safe_core.py" or raised_in.is_relative_to(ROOT / "safe_companion")
    named = isinstance(error, ValueError | ArithmeticError) and ours
    if not named and not isinstance(error, OSError | RecordingError):
        return None
    text = str(error)
    if text.startswith("Caught "):  # by a loader process, whose traceback torch puts in front
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    try:
        options = parse(sys.argv[1:] if arguments is None else list(arguments))
        chosen = COMMANDS[options.command]
        del options.command
        status = chosen.run(options) or 0
        sys.stdout.flush()  # so that a reader who went away is met here
        return status
    except KeyboardInterrupt:
        print("safe: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # of `safe ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        text = reason(error)
        if text is None or os.environ.get("SAFE_TRACEBACK"):
            raise
        print(f"safe: {text}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
