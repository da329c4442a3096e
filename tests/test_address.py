"""One address in _config.yml: what every other file says agrees with it, set or empty."""

import importlib
import sys

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book"))
address = importlib.import_module("address")

URL = "https://github.com/someone/safe"


def texts():
    return {name: (ROOT / name).read_text() for name in address.FILES}


def test_every_file_agrees_with_the_configured_address():
    assert address.configured() == yaml.safe_load(address.CONFIG.read_text())["repository"]["url"]
    assert address.disagreeing(address.configured()) == {}


@pytest.mark.parametrize("name", address.FILES)
def test_with_an_address_a_file_names_it_and_without_one_it_is_as_before(name):
    text = texts()[name]
    written = address.FILES[name]
    bare = written(text, "")
    assert URL not in bare and URL in written(bare, URL)
    assert written(written(bare, URL), "") == bare
    assert written(written(bare, "https://example.org/other"), URL) == written(bare, URL)


def test_a_citation_stays_one_and_has_the_address():
    text = address.FILES["CITATION.cff"](texts()["CITATION.cff"], URL)
    assert yaml.safe_load(text)["repository-code"] == URL


def test_only_an_address_on_github_gives_launch_badges_and_a_picture():
    readme = address.with_regions(texts()["README.md"], URL)
    for host in ("colab.research.google.com/github", "mybinder.org/v2/gh"):
        assert f"{host}/someone/safe" in readme
    assert f"git clone {URL}\ncd safe\n" in readme and f"<{URL}/issues>" in readme
    assert address.badges("https://gitlab.com/someone/safe") == ""
    assert address.picture("https://gitlab.com/someone/safe", "main") == ""
    assert address.picture(URL, "main").endswith(f"/someone/safe/main/{address.PICTURE}")
    assert (ROOT / address.PICTURE).is_file()


def test_setting_and_removing_the_address_leaves_every_file_as_it_was(tmp_path, monkeypatch):
    for name, text in (texts() | {"_config.yml": address.CONFIG.read_text()}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(address, "ROOT", tmp_path)
    monkeypatch.setattr(address, "CONFIG", tmp_path / "_config.yml")
    address.main([""])
    before = {name: (tmp_path / name).read_text() for name in [*address.FILES, "_config.yml"]}
    assert address.main([f"{URL}/"]) == 0
    assert address.configured() == URL and address.main([]) == 0
    address.main([""])
    assert before == {name: (tmp_path / name).read_text() for name in before}


def test_what_is_no_address_is_refused(capsys):
    assert address.main(["github.com/someone"]) == 2
    assert "expected an address" in capsys.readouterr().out
