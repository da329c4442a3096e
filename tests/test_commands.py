"""The commands: their options, examples, and what they print."""

import argparse
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

import safe_core
from safe_companion import __main__ as commands
from safe_companion import flags, runs
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
    assert seen == {"config": configure("paper"), "out_dir": None, "resume": False}


def test_the_help_lists_every_command_and_loads_no_torch():
    code = "import sys, safe_companion.__main__ as m\ntry: m.main(['--help'])\n"
    code += "finally: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert all(f"    {name} " in shown.stdout for name in commands.COMMANDS)
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
    parser = argparse.ArgumentParser()
    monkeypatch.setattr(commands, "existing_run", str)  # runs that are not here
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


def test_a_command_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit):
        commands.main(["trian"])
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_safe_core_names_its_command_line():
    with pytest.raises(ValueError, match="see `safe train --help`"):
        safe_core.configure(fraems=3)
