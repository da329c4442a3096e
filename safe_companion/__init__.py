"""Everything around `safe_core.py`, the paper in one file.

Each module answers one question, which its first line asks. Imports point down only:

    __main__                  the commands
    notebooks, execution      what notebooks show; how they are executed
    study_plots, plots        pictures of studies; of recordings, clips and runs
    claims                    the paper's numbers beside ours, and the verdicts
    studies                   several runs: rows, seeds, sweeps
    effects, paper            differences and their intervals; the tables of book/
    runs                      one training, and what is kept of it
    records                   names of runs, where they lie, what is known of them
    released, datasets        the model of the authors' code; data sets and their splits
    prompts, lists, clips     sentences; list files; a recording -> what the model sees
    augmentation, sample      how training looks at images; the sample world
    recordings, readers       recordings of any form; event files
    events                    event streams -> event images and windows
    flags, behaviour          a configuration as words of a command line; versions of behaviour
    safe_core                 the model and its trainer
"""

from pathlib import Path

# of the repository: weights, book, results and runs lie there
ROOT = Path(__file__).resolve().parents[1]
