"""What do the commands do that ask a trained model, or look at recordings and convert them?

As in commands.py: `NAME_options` adds options, `NAME` runs, `safe NAME --help` describes.
"""

import argparse
import sys
from pathlib import Path


def checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="such as runs/mine/best.safetensors"
    )


def classes_option(parser: argparse.ArgumentParser) -> None:
    which = "class names, one a line, for a model that reads them (classifier=text)"
    parser.add_argument("--classes", metavar="FILE", type=Path, help=f"{which}; default: its own")


# ------------------------------------------------------------------------------- evaluate
def evaluate_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags, prediction

    checkpoint_option(parser)
    place = "beside the checkpoint, evaluation-DATA-FINGERPRINT"
    parser.add_argument("--out-dir", type=Path, help=f"default: {place}")
    parser.add_argument(
        "--split",
        choices=prediction.SPLITS,
        default="test",
        help="default: test; all: every recording of a folder that no model was trained on",
    )
    classes_option(parser)
    flags.add_options(parser, prediction.OPTIONS, default="as trained")


def evaluate(options: argparse.Namespace) -> None:
    from torch import distributed as dist

    from safe_companion import prediction, processes

    _, rank, size = processes.join()
    record, folder = prediction.evaluate(**vars(options))
    if rank == 0:
        print(f"{prediction.summary(record)}\nin {folder}")
    if size > 1:
        dist.destroy_process_group()


# ------------------------------------------------------------------------------- robustness
def robustness_options(parser: argparse.ArgumentParser) -> None:
    from typing import get_args

    from safe_companion import flags, prediction, robustness

    checkpoint_option(parser)
    parser.add_argument("--out-dir", type=Path, help="default: beside the checkpoint")
    parser.add_argument(
        "--on",
        choices=get_args(robustness.On),
        help="its test clips corrupted, or a sample at fixed light, speed and noise; default: "
        "both on the samples of HARDVS and PokerEvent, else corruptions",
    )
    flags.add_options(parser, prediction.OPTIONS, default="as trained")


def robustness(options: argparse.Namespace) -> None:
    from safe_companion import processes, robustness

    processes.join()
    found, file = robustness.measure(**vars(options))
    print(f"{robustness.summary(found)}\nin {file}")


# ------------------------------------------------------------------------------- predict
def predict_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags

    checkpoint_option(parser)
    parser.add_argument(
        "recordings",
        metavar="RECORDING",
        nargs="+",
        type=Path,
        help="an event file, the folder of a recording, or a folder of recordings",
    )
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes; default: 5")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each recording")
    parser.add_argument("--save", type=Path, metavar="PICTURE", help="draw clips and answers")
    classes_option(parser)
    flags.add_options(parser, flags.READING, default="as trained")


def predict(options: argparse.Namespace) -> int:
    import dataclasses
    import json

    import safe_core
    from safe_companion import describing, flags, naming, prediction
    from safe_companion.readers import RecordingError

    paths = [found for given in options.recordings for found in describing.expanded(given)]
    if options.save:
        from safe_companion import recording_plots

        recording_plots.check_file(options.save, answers=len(paths))
    names = naming.read_names(options.classes) if options.classes else None
    model, about = naming.load_model(options.checkpoint, names)
    model.to(safe_core.here()[0])
    given = {name: getattr(options, name) for name in flags.READING}
    given = {name: value for name, value in given.items() if value is not None}
    config = dataclasses.replace(model.config, **given)
    size = prediction.trained_size(about, options.checkpoint)
    answers = []
    failed = 0
    for path in paths:
        try:
            clip = prediction.clip_of(path, config, sensor_size=size)
        except (RecordingError, OSError) as error:
            failed += 1
            print(f"safe: {error}", file=sys.stderr)
            if options.json:
                print(json.dumps({"recording": str(path), "error": str(error)}), flush=True)
            continue
        top = prediction.answer(model, clip, top=options.top)
        if options.save:
            answers.append((str(path), clip, top))
        if options.json:
            classes = [{"class": name, "probability": p} for name, p in top]
            print(json.dumps({"recording": str(path), "predictions": classes}), flush=True)
        else:
            print(path)
            for name, p in top:
                print(f"  {100 * p:5.1f} %  {name}", flush=True)
    if answers:
        recording_plots.answers_picture(answers).savefig(options.save, dpi=110)
        print(f"drawn in {options.save}", file=sys.stderr)
    return 1 if failed else 0


# ------------------------------------------------------------------------------- recordings
def show_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags

    parser.add_argument("recording", metavar="RECORDING", type=Path)
    parser.add_argument("--save", type=Path, metavar="PICTURE", help="draw frames and events")
    flags.add_options(parser, flags.READING, default="what the file says")


def show(options: argparse.Namespace) -> None:
    from safe_companion import describing, recordings

    if options.save:
        from safe_companion import recording_plots

        recording_plots.check_file(options.save)
    recording = recordings.read_recording(options.recording, **as_asked(options))
    print(options.recording)
    for what, text in describing.describe(recording, recordings.locate(options.recording)):
        print(f"  {what:<12}  {text}")
    if options.save:
        recording_plots.recording_picture(recording).savefig(options.save, dpi=110)
        print(f"  drawn in {options.save}")


def as_asked(options: argparse.Namespace) -> dict:
    """The keywords of read_recording that the reading options ask for."""
    import safe_core
    from safe_companion import describing, flags

    given = {name: getattr(options, name) for name in flags.READING}
    return describing.reading(safe_core.configure(**given))


def convert_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags

    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", type=Path, help="a recording, or a folder of them"
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder for the npz files")
    flags.add_options(parser, flags.READING, default="what the file says")


def convert(options: argparse.Namespace) -> int:
    from safe_companion import converting

    counts, problems = converting.convert(options.inputs, options.out, **as_asked(options))
    for problem in problems:
        print(f"safe: {problem}", file=sys.stderr)
    counted = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    print(f"{counted}; in {options.out}")
    return 1 if problems else 0


def pack_options(parser: argparse.ArgumentParser) -> None:
    from safe_companion import flags, packs

    parser.add_argument("data", metavar="DATA", type=Path, help="a data root")
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder for the packs")
    parser.add_argument(
        "--frames",
        choices=("jpeg", "as-they-are", "pixels"),
        default="jpeg",
        help="jpeg: smaller; as-they-are: the bytes of their files; pixels: fast; default: jpeg",
    )
    quality = f"of JPEG frames; default: {packs.QUALITY}"
    parser.add_argument(
        "--quality", type=int, default=packs.QUALITY, metavar="1..100", help=quality
    )
    shards = "a few tar files of N GiB and an index, instead of a file a recording"
    parser.add_argument("--shard-gib", type=float, metavar="N", help=shards)
    flags.add_options(parser, flags.READING, default="what the file says")


def pack(options: argparse.Namespace) -> int:
    from safe_companion import packing
    from safe_companion.packs import Frames

    frames = Frames(options.frames, options.quality)
    asked = {"frames": frames, "shard_gib": options.shard_gib} | as_asked(options)
    counts, problems = packing.pack_folder(options.data, options.out, **asked)
    for problem in problems:
        print(f"safe: {problem}", file=sys.stderr)
    counted = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    print(f"{counted}; in {options.out}")
    return 1 if problems else 0


# ------------------------------------------------------------------------------- play
def play_options(parser: argparse.ArgumentParser) -> None:
    default = "default: book/_static/play/data"
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help=default)
    place = "ORIGIN/DATASET/WHAT-DIFFERS/seed0 lies in it; default: results, then runs"
    parser.add_argument("--runs", metavar="FOLDER", type=Path, help=place)


def play(options: argparse.Namespace) -> None:
    from safe_companion import playing

    files = playing.export(options.out or playing.FOLDER, runs=options.runs)
    for file, size in files:
        print(f"{size:>10,}  {file.name}")
    print(f"{sum(size for _, size in files):>10,}  in {files[0][0].parent}")
