# The whole study. Targets are what a reader asks for, not files:
#
#     snakemake --cores 2                    everything, on the samples
#     snakemake --cores 2 table4             one table
#     snakemake -n                           what would run, and about how long it takes
#     snakemake table4 --cores 8 --resources gpu=1 --config pokerevent=/data/PokerEvent
#     snakemake --profile profiles/slurm --config hardvs=/data/HARDVS pokerevent=/data/PokerEvent processes=4
#
# A run is one `safe train`; its result is its record under results/. A record that is there is kept: delete it to have it
# made again. An interrupted sweep goes on where it was, an interrupted run at its last epoch.
import json
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)
import safe_core
from safe_companion import flags, paper, records, studies

ROOTS = {dataset: config.get(dataset) for dataset in studies.SWEPT}
SEEDS = config.get("seeds", 3)  # of each row
MORE_SEEDS = config.get("more_seeds", 5)  # of the headline rows, and where effects are small
PROCESSES = config.get("processes", 1)  # GPUs of a run, through torchrun
BAD = config.get("on_bad_recording")  # skip: leave out recordings that cannot be used
DRAWN = json.loads(paper.deviations().fields["frames-test"])  # its first model is tested on many draws of frames


def number_of_seeds(study, fields, rows_of_fig4):
    """How many seeds a row of a study has."""
    return MORE_SEEDS if study == "paper_vs_code" or fields in rows_of_fig4 else SEEDS


def needs_draws(place):
    """Whether the draws of a run's test frames are to be made: with its record, or while runs/ still holds its checkpoint."""
    if not (place.committed / records.RECORD).exists():
        return True
    trained = (place.working / records.CHECKPOINT).exists()
    return trained and not (place.committed / records.DRAWS).exists()


def relative(path):
    return os.path.relpath(path, workflow.basedir)


# record -> configuration fields, and target -> files
RUNS, TARGETS = {}, {}
for dataset, root in ROOTS.items():
    origin = safe_core.origin_of(root)
    rows_of = studies.studies(dataset, origin)
    for study in rows_of if origin == "real" else studies.SWEPT[dataset]:
        for fields in rows_of[study].values():
            for seed in range(number_of_seeds(study, fields, rows_of["fig4"].values())):
                bad = BAD if origin == "real" else None
                run = {"dataset": dataset, "data_root": root, "seed": seed, "on_bad_recording": bad} | fields
                place = records.Place.of(safe_core.configure(None, **run))
                record = relative(place.committed / records.RECORD)
                RUNS[record] = run
                TARGETS.setdefault(study, []).append(record)
                if study == "paper_vs_code" and fields == DRAWN and seed == 0 and needs_draws(place):
                    TARGETS[study].append(relative(place.committed / records.DRAWS))


def options(record):
    """Command-line options of a run."""
    run = RUNS[record]
    words = flags.words(run)
    if safe_core.origin_of(run["data_root"]) == "sample":
        words += ["--workers", "0"]  # loading a sample's clips needs no process of its own
    return shlex.join(words)


if {"-n", "--dry-run", "--dryrun"} & set(sys.argv):
    asked = [study for study in TARGETS if study in sys.argv] or list(TARGETS)
    missing = {file for study in asked for file in TARGETS[study] if file in RUNS and not os.path.exists(file)}
    hours = studies.expected_hours([RUNS[record] for record in missing])
    duration = f"{hours:.1f} hours" if hours == hours else "an unknown time (no run is recorded)"
    print(f"{len(missing)} runs to make: {duration} divided by the runs side by side", file=sys.stderr)


onstart:
    # runs side by side find the samples made, and new records are about the same recordings as those that are kept
    lacking = {run["dataset"] for record, run in RUNS.items() if not os.path.exists(record)}
    studies.check_data({record: run for record, run in RUNS.items() if run["dataset"] in lacking})


rule all:
    input: sorted(set(sum(TARGETS.values(), [])))


for study, files in TARGETS.items():
    rule:
        name: study
        input: sorted(set(files))


rule run:
    output: "results/{run}/record.json"
    params:
        options=lambda wildcards, output: options(output[0]),
        launcher=f"-m torch.distributed.run --nproc-per-node {PROCESSES}" if PROCESSES > 1 else "",
    threads: 1
    resources: gpu=PROCESSES
    shell:  # the record last, by rename: where it is, the run is whole
        "OMP_NUM_THREADS={threads} TQDM_DISABLE=1 {sys.executable} {params.launcher} -m safe_companion train {params.options} "
        "--out-dir 'runs/{wildcards.run}' --resume && cp 'runs/{wildcards.run}/predictions.csv' 'results/{wildcards.run}' "
        "&& cp 'runs/{wildcards.run}/record.json' '{output}.partial' && mv '{output}.partial' '{output}' "
        "&& rm -f 'runs/{wildcards.run}'/last.*"


rule draws:
    input: "results/{run}/record.json"
    output: "results/{run}/draws.json"
    threads: 1
    resources: gpu=1
    shell:
        "OMP_NUM_THREADS={threads} {sys.executable} -m safe_companion draws 'runs/{wildcards.run}' "
        "&& mv 'runs/{wildcards.run}/draws.json' '{output}'"
