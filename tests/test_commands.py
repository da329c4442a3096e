"""The commands: their options, examples, and what they print."""

import argparse
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import recipes
from conftest import ROOT

import safe_core
from safe_companion import __main__ as commands
from safe_companion import commands as of_runs
from safe_companion import datasets, flags, runs
from safe_companion.readers import RecordingError
from safe_core import configure


def parsed(words):
    parser = argparse.ArgumentParser()
    flags.add_options(parser)
    return {k: v for k, v in vars(parser.parse_args(words)).items() if v is not None}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_text": False, "joint_block": True},
        {"frames": 7, "learning_rate": 3e-4, "prompt": "A photo of a {}", "modality": "event"},
        {"data_root": "/data/my recordings", "dataset": "folder", "seed": 3},
    ],
)
def test_fields_come_back_from_their_words(fields):
    words = flags.words(fields)
    assert parsed(words) == fields and shlex.split(shlex.join(words)) == words


def test_every_field_is_an_option_and_a_field_of_none_has_no_words():
    every = parsed(flags.words(vars(configure("paper"))))
    assert every == {k: v for k, v in vars(configure("paper")).items() if v is not None}
    assert flags.words({"prompt": None, "use_text": True}) == ["--use-text"]


def test_choices_are_offered_and_others_refused(capsys):
    with pytest.raises(SystemExit):
        parsed(["--modality", "depth"])
    assert "both" in capsys.readouterr().err


def test_train_is_given_what_the_options_say(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(runs, "run", lambda config, **rest: seen.update(config=config, **rest))
    words = ["--dataset", "pokerevent", "--no-use-text", "--seed", "2", "--resume"]
    assert commands.main(["train", *words, "--out-dir", str(tmp_path)]) == 0
    assert seen["config"] == configure(dataset="pokerevent", use_text=False, seed=2)
    assert seen["out_dir"] == tmp_path and seen["resume"] is True
    commands.main(["train", "--preset", "paper"])
    plain = {"out_dir": None, "resume": False, "tensorboard": False}
    assert seen == {"config": configure("paper"), **plain}
    commands.main(["train", "--tensorboard"])
    assert seen["tensorboard"] is True


def test_the_help_lists_every_command_and_loads_no_torch():
    code = "import sys, safe_companion.__main__ as m\ntry: m.main(['--help'])\n"
    code += "finally: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    listed = re.findall(r"^    (\w+)(?: |$)", shown.stdout, re.MULTILINE)  # long names stand alone
    assert listed == list(commands.COMMANDS)
    assert shown.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(name, capsys, monkeypatch, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        commands.main([name, "--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    command = commands.COMMANDS[name]
    assert f"Example: {command.example}" in text and command.help in text
    tool, first, *words = shlex.split(command.example)
    assert (tool, first) == ("safe", name)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    monkeypatch.setattr(of_runs, "existing_run", str)  # runs that are not here
    command.add_options(parser)
    parser.parse_args(words)


def test_a_folder_without_a_record_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        commands.main(["summary", str(tmp_path)])
    assert re.search(
        r"record.json: no run record; `make train`.* write one", capsys.readouterr().err
    )


def test_summary_and_study_and_ledger_print_what_is_recorded(capsys):
    place = "results/sample/pokerevent/base/seed0"
    assert commands.main(["summary", str(ROOT / place)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("pokerevent (sample data") and f"{place}/record.json" in shown
    assert "executed notebook" not in shown and "checkpoint" in shown
    assert commands.main(["study", "modalities", "--dataset", "pokerevent"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("sample data, pokerevent") and "events, without text" in shown
    assert commands.main(["study", "table9"]) == 2
    assert "no study table9 of hardvs: choose from table3" in capsys.readouterr().out
    assert commands.main(["ledger", "--format", "csv"]) == 0
    assert "t4-full,Table 4,pokerevent,SAFE" in capsys.readouterr().out
    assert commands.main(["ledger"]) == 0
    assert "verdict" in capsys.readouterr().out.splitlines()[0]


# ------------------------------------------------------------------------------- recordings
def test_check_is_given_a_whole_configuration(monkeypatch):
    seen = []
    monkeypatch.setattr(datasets, "check", lambda *config, **rest: seen.append((config, rest)) or 1)
    words = ["check", "/data/mine", "--dataset", "folder"]
    assert commands.main(words) == 1
    more = ["--modality", "event", "--preset", "sample", "--time-unit", "ns", "--decode"]
    commands.main([*words, *more])
    fields = {"dataset": "folder", "data_root": "/data/mine"}
    plain = configure(**fields)
    told = configure("sample", **fields, modality="event", time_unit="ns")
    assert seen == [((plain,), {"decode": False}), ((told,), {"decode": True})]
    with pytest.raises(SystemExit):
        commands.main(["check", "/data/mine"])


def test_show_says_what_is_in_a_recording_and_draws_it(tmp_path, capsys):
    take = recipes.save_numbered(tmp_path / "take")
    stream = recipes.random_events(10)
    recipes.save_npz(tmp_path / "take.npz", stream)
    picture = tmp_path / "take.png"
    assert commands.main(["show", str(take), "--save", str(picture)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "form .npz, 0.0",
        "not read other forms of it: " + str(tmp_path / "take.npz"),
        "sensor 8 x 6 pixels",
        "events 48 in 0.006 s, 8,421 a second; 100.0 % ON",
        "pixels x 0 to 7, y 0 to 5",
        "event clock 0 to 5,700 us",
        "frames 6 of 8 x 6 pixels, 1,000.0 a second",
        "frame clock 0 to 5,000 us",
        "overlap 6 of 6 frames were taken while events came in",
    ):
        assert part in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert commands.main(["show", str(tmp_path / "take.npz"), "--sensor-size", "9x9"]) == 0
    assert "sensor 9 x 9 pixels" in " ".join(capsys.readouterr().out.split())


def test_show_tells_clocks_that_do_not_meet_and_forms_without_events(tmp_path, capsys):
    stream = recipes.random_events(100)
    apart = tmp_path / "a" / "a.npz"
    recipes.save_npz(apart, stream, frame_t=10**9 + np.arange(5) * 1000)
    recipes.save_images(tmp_path / "a" / "a_aps", recipes.gray_frames(5))
    assert commands.main(["show", str(tmp_path / "a")]) == 0
    assert "0 of 5 frames were taken while events came in" in capsys.readouterr().out
    stored = recipes.save_stored(tmp_path / "s", recipes.gray_frames(3))
    assert commands.main(["show", str(stored), "--save", str(tmp_path / "s.png")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "form folders of images" in shown and "event images 3 stored" in shown
    assert "frame clock not recorded" in shown and "event clock" not in shown
    back = stream[::-1].copy()
    recipes.save_npz(tmp_path / "b.npz", back)
    assert commands.main(["show", str(tmp_path / "b.npz")]) == 2
    assert commands.main(["show", str(tmp_path / "b.npz"), "--repair-events"]) == 0
    assert "repaired" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["no folder", "no form"])
def test_a_picture_that_cannot_be_written_is_told_before_anything_is_read(form, tmp_path, capsys):
    file = tmp_path / ("nowhere/a.png" if form == "no folder" else "a.xyz")
    assert commands.main(["show", str(tmp_path / "absent"), "--save", str(file)]) == 2
    shown = capsys.readouterr().err
    assert ("no such folder" if form == "no folder" else "expected one of") in shown


# ------------------------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "invalid choice: 'trian' is no command; did you mean train?"),
        (["evalute", "x"], "did you mean evaluate?"),
        (["qqq"], "choose from train, pretrain, sample, evaluate"),
        (["train", "--fraems", "3"], "--fraems 3; did you mean --frames?"),
        (["train", "--fraems=3"], "--fraems=3; did you mean --frames?"),
        (["train", "--no-use-txt"], "did you mean --no-use-text?"),
        (["predict", "a", "b", "--jsn"], "did you mean --json?"),
        (["train", "--modalit", "event"], "did you mean --modality?"),  # no abbreviations
        (["train", "--zzz"], "unrecognized arguments: --zzz\n"),
    ],
)
def test_unknown_words_are_refused_with_the_nearest(words, said, capsys, monkeypatch):
    monkeypatch.setattr(runs, "run", lambda *_, **__: None)  # what is not refused trains nothing
    with pytest.raises(SystemExit) as stopped:
        commands.main(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def raising(error):
    def command(*_):
        raise error

    return commands.COMMANDS["ledger"]._replace(run=command)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--frames", "0"],
        ["train", "--sensor-size", "346,260"],
        ["evaluate", "absent.safetensors"],
        ["predict", "absent.safetensors", "a.npz"],
        ["predict", str(ROOT / "README.md"), "a.npz"],
        ["show", "absent.npz"],
        ["convert", "absent.npz", "absent/a.npz"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_one_line_and_status_2(words, capsys):
    assert commands.main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("safe: ") and shown.count("\n") == 1


def test_errors_of_loader_processes_are_one_line_too(capsys, monkeypatch):
    text = "Caught RecordingError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\n"
    error = RecordingError(f"{text}safe_companion.readers.RecordingError: a.npz: found: nothing.\n")
    monkeypatch.setitem(commands.COMMANDS, "ledger", raising(error))
    assert commands.main(["ledger"]) == 2
    assert capsys.readouterr().err == "safe: a.npz: found: nothing.\n"


def test_faults_of_the_program_keep_their_traceback(monkeypatch, capsys):
    for error in (KeyError("x"), ValueError("of a library"), AssertionError()):
        monkeypatch.setitem(commands.COMMANDS, "ledger", raising(error))  # not raised in our files
        with pytest.raises(type(error)):
            commands.main(["ledger"])
    monkeypatch.setitem(commands.COMMANDS, "ledger", raising(OSError("disk full")))
    assert commands.main(["ledger"]) == 2
    assert capsys.readouterr().err == "safe: disk full\n"
    monkeypatch.setenv("SAFE_TRACEBACK", "1")
    with pytest.raises(OSError):
        commands.main(["ledger"])


def test_an_interrupt_is_one_line_and_status_130(monkeypatch, capsys):
    monkeypatch.setitem(commands.COMMANDS, "ledger", raising(KeyboardInterrupt()))
    assert commands.main(["ledger"]) == 130
    assert capsys.readouterr().err == "safe: interrupted\n"


@pytest.mark.parametrize("length", [5, 200_000])
def test_a_reader_that_goes_away_ends_a_command_in_silence(length):
    code = "import sys, time, safe_companion.__main__ as m\n"
    code += f"def run(_): time.sleep(0.2), print('x' * {length})\n"
    code += "m.COMMANDS['ledger'] = m.COMMANDS['ledger']._replace(run=run)\n"
    code += "sys.exit(m.main(['ledger']))"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | true; exit ${PIPESTATUS[0]}', sys.executable, code],
        cwd=ROOT,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_misspelt_field_of_the_configuration_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="fraems: frames"):
        safe_core.configure(fraems=3)
    with pytest.raises(ValueError, match="see `safe train --help`"):
        safe_core.configure(zzz=3)
