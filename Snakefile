# The whole study. Targets are what a reader asks for, not files:
#
#     snakemake --cores 2                    everything, on the samples
#     snakemake --cores 2 table4             one table
#     snakemake -n                           what would run, and about how long it takes
#     snakemake table4 --cores 8 --resources gpu=1 --config pokerevent=/data/PokerEvent
#     snakemake --profile profiles/slurm --config hardvs=/data/HARDVS pokerevent=/data/PokerEvent processes=4
#
# A run is one call of safe_core.py; its result is its record under results/. A record that is there is kept: delete it to
# have it made again. An interrupted sweep goes on where it was, an interrupted run at its last epoch.
import json
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)
import safe_book
import safe_core

ROOTS = {d: config.get(d) for d in safe_book.SWEPT}
SEEDS = config.get("seeds", 3)  # of each row
MORE_SEEDS = config.get("more_seeds", 5)  # of the headline rows, and where effects are small
PROCESSES = config.get("processes", 1)  # GPUs of a run, through torchrun
BAD = config.get("on_bad_recording")  # skip: leave out recordings that cannot be used
DRAWN = json.loads(safe_book.deviations().fields["frames-test"])  # its first model is tested on many draws of frames

# record -> configuration fields, and target -> files
RUNS, TARGETS = {}, {}
for dataset, root in ROOTS.items():
    studies = safe_book.studies(dataset, "real" if root else "sample")
    for name in studies if root else safe_book.SWEPT[dataset]:
        for fields in studies[name].values():
            more = name == "paper_vs_code" or fields in studies["fig4"].values()
            for seed in range(MORE_SEEDS if more else SEEDS):
                run = {"dataset": dataset, "data_root": root, "seed": seed, "on_bad_recording": root and BAD} | fields
                place = safe_book.record_dir(safe_core.configure(None, **run))
                record = os.path.relpath(place / "record.json", workflow.basedir)
                RUNS[record] = run
                TARGETS.setdefault(name, []).append(record)
                if name == "paper_vs_code" and fields == DRAWN and seed == 0:
                    drawn = os.path.join(os.path.dirname(record), "draws.json")
                    trained = os.path.exists(record.replace("results", "runs", 1).replace("record.json", "best.safetensors"))
                    if not os.path.exists(record) or trained and not os.path.exists(drawn):
                        TARGETS[name].append(drawn)


def options(record):
    """Command-line options of a run."""
    words = [] if RUNS[record]["data_root"] else ["--workers 0"]  # loading a sample's clips needs no process of its own
    for field, value in RUNS[record].items():
        option = "--" + field.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option[2:])
        elif value is not None:
            words += [option, shlex.quote(str(value))]
    return " ".join(words)


if {"-n", "--dry-run", "--dryrun"} & set(sys.argv):
    asked = [name for name in TARGETS if name in sys.argv] or list(TARGETS)
    missing = {file for name in asked for file in TARGETS[name] if file in RUNS and not os.path.exists(file)}
    hours = safe_book.expected_hours([RUNS[record] for record in missing])
    hours = f"{hours:.1f} hours" if hours == hours else "an unknown time (no run is recorded)"
    print(f"{len(missing)} runs to make: {hours} divided by the runs side by side", file=sys.stderr)


onstart:
    # runs side by side find the samples made, and new records are about the same recordings as those that are kept
    lacking = {run["dataset"] for record, run in RUNS.items() if not os.path.exists(record)}
    safe_book.check_data({record: run for record, run in RUNS.items() if run["dataset"] in lacking})


rule all:
    input: sorted(set(sum(TARGETS.values(), [])))


for name, files in TARGETS.items():
    rule:
        name: name
        input: sorted(set(files))


rule run:
    output: "results/{run}/record.json"
    params:
        options=lambda wildcards, output: options(output[0]),
        launcher=f"-m torch.distributed.run --nproc-per-node {PROCESSES}" if PROCESSES > 1 else "",
    threads: 1
    resources: gpu=PROCESSES
    shell:  # the record last, by rename: where it is, the run is whole
        "OMP_NUM_THREADS={threads} TQDM_DISABLE=1 {sys.executable} {params.launcher} safe_core.py {params.options} "
        "--out-dir 'runs/{wildcards.run}' --resume && cp 'runs/{wildcards.run}/predictions.csv' 'results/{wildcards.run}' "
        "&& cp 'runs/{wildcards.run}/record.json' '{output}.partial' && mv '{output}.partial' '{output}' "
        "&& rm -f 'runs/{wildcards.run}'/last.*"


rule draws:
    input: "results/{run}/record.json"
    output: "results/{run}/draws.json"
    threads: 1
    resources: gpu=1
    shell:
        "OMP_NUM_THREADS={threads} {sys.executable} -m safe_book draws 'runs/{wildcards.run}' "
        "&& mv 'runs/{wildcards.run}/draws.json' '{output}'"
