# The whole study. Targets are what a reader asks for, not files:
#
#     snakemake --cores 2                    everything, on the samples
#     snakemake --cores 2 table4             one table
#     snakemake -n                           what would run, and about how long it takes
#     snakemake table4 --cores 8 --resources gpu=1 --config pokerevent=/data/PokerEvent
#     snakemake --profile profiles/slurm --config hardvs=/data/HARDVS pokerevent=/data/PokerEvent processes=4
#
# A run is one `safe train`; its result is its record under results/. A record that is there is kept: delete it to have it
# made again. A sweep that was interrupted or killed goes on with the same command, a run at its last epoch.
import json
import os
import shlex
import shutil
import sys
import threading
import time

import filelock
from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
import safe_core
from safe_companion import flags, paper, places, real_studies, robustness, studies

LOOKS = ("dryrun", "list_rules", "list_target_rules", "lint", "summary", "detailed_summary", "dag", "rulegraph", "filegraph")
ASKED = get_argument_parser().parse_args(sys.argv[1:]) if workflow.is_main_process else None  # else one job of a sweep
LOCK = filelock.FileLock(".snakemake/sweep.lock")
if ASKED and not any(getattr(ASKED, name) for name in LOOKS):
    # The system gives the lock back when its holder dies; Snakemake's own locks stay, and say of no one whether he lives.
    os.makedirs(".snakemake", exist_ok=True)
    try:
        LOCK.acquire(timeout=0)
    except filelock.Timeout:
        raise WorkflowError(f"{os.getcwd()}: found another sweep at work here; wait for its end, or stop it") from None
    shutil.rmtree(".snakemake/locks", ignore_errors=True)

ROOTS = {dataset: config.get(dataset) for dataset in studies.SWEPT}
SEEDS = config.get("seeds")  # at most, of each row; None: as book/studies.csv has it, on real data three
PROCESSES = config.get("processes", 1)  # GPUs of a run, through torchrun
WORKERS = config.get("workers")  # that read recordings, for each process of a run; None: as `safe train` has it
BAD = config.get("on_bad_recording")  # skip: leave out recordings that cannot be used
ROBUSTNESS_SEED = 1  # of each variant: the model that is tested when cameras fail
DRAWN = json.loads(paper.deviations().fields["frames-test"])  # its first model is tested on many draws of frames


def to_be_made(place, file):
    """Whether what is made of a run's weights is to be made: with its record, or while runs/ still holds its checkpoint."""
    if not (place.committed / places.RECORD).exists():
        return True
    trained = (place.working / places.CHECKPOINT).exists()
    return trained and not (place.committed / file).exists()


def relative(path):
    return os.path.relpath(path, workflow.basedir)


# record -> configuration fields, and target -> files
RUNS, TARGETS = {}, {}
for dataset, root in ROOTS.items():
    bad = {"on_bad_recording": BAD if root else None}
    for study, runs in studies.runs_of_a_sweep(dataset, root, SEEDS).items():
        for run in runs:
            place = places.Place.of(safe_core.configure(None, **bad | run))
            record = relative(place.committed / places.RECORD)
            RUNS[record] = bad | run
            TARGETS.setdefault(study, []).append(record)
            if study == "paper_vs_code" and DRAWN.items() <= run.items() and run["seed"] == 0:
                tested = places.DRAWS
            elif study == "variants" and run["seed"] == ROBUSTNESS_SEED:
                tested = robustness.FILE
            else:
                continue
            if to_be_made(place, tested):
                TARGETS[study].append(relative(place.committed / tested))

# Studies on real recordings that `safe fetch` has made, by their names; no part of `all`.
REAL = {}
for study, rows in real_studies.real_studies().items():
    for fields in rows.values():
        for seed in range(config.get("real_seeds", real_studies.SEEDS[study])):
            run = {"seed": seed, "on_bad_recording": BAD} | fields
            place = places.Place.of(safe_core.configure(real_studies.PRESET, **run))
            record = relative(place.committed / places.RECORD)
            RUNS[record] = {"preset": real_studies.PRESET} | run
            REAL.setdefault(study, []).append(record)


def options(record):
    """Command-line options of a run."""
    run = RUNS[record]
    is_sample = safe_core.origin_of(run["data_root"]) == "sample"
    none_needed = 0 if is_sample else None  # loading a sample's clips needs no process of its own
    return shlex.join(flags.words(run | {"workers": none_needed if WORKERS is None else WORKERS}))


def missing(asked):
    """The records of these studies that are not there yet."""
    return {file for study in asked for file in (TARGETS | REAL)[study] if file in RUNS and not os.path.exists(file)}


STUDIES = [study for study in TARGETS | REAL if ASKED and study in ASKED.targets] or list(TARGETS)

if ASKED and ASKED.dryrun:
    hours = studies.expected_hours([RUNS[record] for record in missing(STUDIES)])
    duration = f"{hours:.1f} hours" if hours == hours else "an unknown time (no run is recorded)"
    print(f"{len(missing(STUDIES))} runs to make: {duration} divided by the runs side by side", file=sys.stderr)


def say_what_is_left():
    """Prints every ten minutes how many runs are left, and how long they take at the pace of this sweep."""
    began, before = time.monotonic(), len(missing(STUDIES))
    while True:
        time.sleep(600)
        left, minutes = len(missing(STUDIES)), (time.monotonic() - began) / 60
        made = before - left
        if made:
            print(f"{made} runs made in {minutes:.0f} minutes, {left} left: {left * minutes / made / 60:.1f} hours", file=sys.stderr)


onstart:
    threading.Thread(target=say_what_is_left, daemon=True).start()
    # runs side by side find the samples made, and new records are about the same recordings as those that are kept
    asked = [study for study in REAL if ASKED and study in ASKED.targets]
    others = set(sum(REAL.values(), [])) - set(sum([REAL[study] for study in asked], []))
    lacking = {run["dataset"] for record, run in RUNS.items() if record not in others and not os.path.exists(record)}
    studies.check_data({record: run for record, run in RUNS.items() if run["dataset"] in lacking and record not in others})


rule all:
    input: sorted(set(sum(TARGETS.values(), [])))


for study, files in (TARGETS | REAL).items():
    rule:
        name: study
        input: sorted(set(files))


rule run:
    output: "results/{run}/record.json"
    params:
        options=lambda wildcards, output: options(output[0]),
        launcher=f"-m torch.distributed.run --standalone --nproc-per-node {PROCESSES}" if PROCESSES > 1 else "",
        quiet=lambda wildcards: "TQDM_DISABLE=1" if wildcards.run.startswith("sample/") else "",  # these take a minute or two
    threads: 1
    resources: gpu=PROCESSES
    shell:  # `keep` puts the record there last, by rename: where it is, the run is whole
        "SAFE_SHARE_GPUS=1 OMP_NUM_THREADS={threads} {params.quiet} {sys.executable:q} {params.launcher} -m safe_companion train {params.options} "
        "--out-dir runs/{wildcards.run:q} --resume && rm -f runs/{wildcards.run:q}/last.* "
        "&& {sys.executable:q} -m safe_companion keep runs/{wildcards.run:q}"


rule draws:
    input: "results/{run}/record.json"
    output: "results/{run}/draws.json"
    threads: 1
    resources: gpu=1
    shell:
        "SAFE_SHARE_GPUS=1 OMP_NUM_THREADS={threads} TQDM_DISABLE=1 {sys.executable:q} -m safe_companion draws runs/{wildcards.run:q} "
        "&& mv runs/{wildcards.run:q}/draws.json {output:q}"


rule robustness:
    input: "results/{run}/record.json"
    output: "results/{run}/robustness.json"
    threads: 1
    resources: gpu=1
    shell:
        "SAFE_SHARE_GPUS=1 OMP_NUM_THREADS={threads} TQDM_DISABLE=1 {sys.executable:q} -m safe_companion robustness "
        "runs/{wildcards.run:q}/best.safetensors --out-dir results/{wildcards.run:q}"
