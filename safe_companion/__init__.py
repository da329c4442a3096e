"""Everything around `safe_core.py`, the paper in one file.

Each module answers one question, which its first line asks. Imports point down only:

    __main__                      the commands
    commands, model_commands      what they do: with runs and data; with models and recordings
    playing                       models and recordings for the book's reader to play with
    notebooks, execution          what notebooks show; how they are executed
    headline, headline_plots      what was found, in a few sentences; the picture beside them
    study_plots, recording_plots  pictures of studies; of one recording and its answers
    robustness_plots, findings    pictures of what a model can be relied on; findings in a sentence
    picture_findings, tables      what pages of pictures find; how tables are shown
    plots                         pictures of clips and runs
    recipe                        how long and how fast the samples are trained
    claims, rivals, power         verdicts on the paper's numbers; without fusion; what is seen
    variance                      whether rows differ by more than their seeds
    planning, real_studies        how long tables take; studies on real recordings to be fetched
    studies                       several runs: their records, sweeps
    effects, rows                 differences and their intervals; the rows of every study
    paper, beyond                 the tables of book/; rows beyond the paper, and what they found
    packing, fetching, realism    data sets as packs, or fetched; how real the sample world is
    real_sets                     published recordings -> folders of recordings
    robustness, temperatures      a model when cameras fail; at which temperature it is honest
    prediction, converting        a trained model asked; recordings written as npz
    baselines, binding            simple classifiers; a rule that binds the conjunctions
    pretraining                   CLIP trained further on pairs of frames and event images
    cost                          parameters, operations, time and memory of a model
    runs                          one training, and what is kept of it
    records                       what is known of a run
    predictions                   what a model answered on each test recording
    places, naming                names of runs, where they lie; classes that a model can answer
    models                        all models that can be built
    peers                         other methods' networks on the same clips
    released, datasets            the model of the authors' code; data sets and their splits
    corruptions, levels           clips when a camera fails; the sample at fixed light and speed
    checks, plausibility          recordings that cannot be used; what looks wrong in a data set
    processes                     a process among others: its GPU, its group
    prompts, lists, clips         sentences; list files; a recording -> what the model sees
    finished, resizing            clips that need not be made again; images resized on the device
    augmentation, sample          how training looks at images; the sample world
    facts, describing, packs      what is known of each recording; in words; recordings as packs
    recordings, readers, formats  recordings of any form; event files, one module a format
    events                        event streams -> event images and windows
    flags, behaviour              a configuration as words of a command line; versions of behaviour
    wording                       counts and differences as they are said
    locks, logs, how_far          who works in a folder; how a run goes; bars
    variants, calibration         heads that read names; what probabilities are worth
    faster, texts                 attention with fewer copies; what can stand in for the text
    towers                        other vision towers, and the small networks of weights/
    contrast, unseen              CLIP and its contrastive loss; classes held out of training
    safe_core                     the model and its trainer
"""

import importlib
from pathlib import Path
from typing import Any

# of the repository: weights, book, results and runs lie there
ROOT = Path(__file__).resolve().parents[1]


def __getattr__(name: str) -> Any:
    if name == "predict":  # imported when it is asked for, since that takes seconds
        return importlib.import_module("safe_companion.prediction").predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
