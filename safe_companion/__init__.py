"""Everything around `safe_core.py`, the paper in one file: data, the sample world, runs, studies, claims, pictures.

Each module answers one question, which its first line says; imports point down only, in this order:

    __main__                                   the commands
    notebooks                                  what notebooks show, and how they are executed
    study_plots, plots                         pictures of studies; of recordings, clips and runs
    claims                                     the paper's numbers, and our verdicts
    studies                                    several runs: rows, seeds, sweeps
    effects                                    differences and their intervals
    runs                                       one training: identity, record, what is kept
    released                                   the model of the authors' code
    datasets, prompts                          lists, splits, class names; sentences
    clips, augmentation                        a recording -> what the model sees
    sample                                     the sample world
    recordings, events                         files in; event streams -> event images and windows
    flags, behaviour                           a configuration as command-line words; versions of what code computes
    safe_core                                  the model and its trainer
"""

from pathlib import Path

ROOT = (
    Path(__file__).resolve().parents[1]
)  # of the repository: weights, book, results and runs lie there
