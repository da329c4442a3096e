"""The tables of the paper and its code: damage to them is one error with the file's name."""

import shutil

import pytest
from conftest import ROOT

from safe_companion import paper

HEADS = {
    "claims.csv": "id,version,where,dataset,system,setting,metric,value,unit,note,fields,against",
    "deviations.csv": "id,topic,paper,code,verified,fields,sample_fields,samples",
}
READ = {"claims.csv": paper.claims, "deviations.csv": paper.deviations}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """book/ of a copy whose tables may be damaged."""
    (tmp_path / "book").mkdir()
    for name in HEADS:
        shutil.copy(ROOT / "book" / name, tmp_path / "book")
    monkeypatch.setattr(paper, "ROOT", tmp_path)
    return tmp_path / "book"


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(""),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text("<html>not found</html>"),
        lambda path: path.write_text(path.read_text().replace("fields", "felds", 1)),
        lambda path: path.write_text(path.read_text().replace('{""', '{"""', 1)),
        lambda path: path.write_text(path.read_text().replace('"{""', '"[""', 1)),
        lambda path: path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n"),
        lambda path: path.write_text(path.read_text() + '"open'),
    ],
)
def test_a_damaged_table_is_named(book, name, damage):
    damage(book / name)
    with pytest.raises(
        ValueError, match=rf"book/{name}: found .*; expected .*git diff book/{name}"
    ):
        READ[name]()


def test_a_value_that_is_no_number_is_named(book):
    (book / "claims.csv").write_text(HEADS["claims.csv"] + "\na,v,w,d,s,s,m,4o,count,,,\n")
    with pytest.raises(ValueError, match="claims.csv: found .*4o"):
        paper.claims()


def test_fields_that_are_no_configuration_are_named(book):
    (book / "claims.csv").write_text(HEADS["claims.csv"] + "\na,v,w,d,s,s,m,4,count,,[1],\n")
    with pytest.raises(ValueError, match=r"claims.csv: found .*\[1\]"):
        paper.claims()


@pytest.mark.parametrize("read", [paper.claims, paper.methods, paper.deviations])
def test_what_a_caller_does_to_a_table_stays_with_the_caller(read):
    table, other = read(), read()
    assert table.equals(other)
    table["here"] = "changed"
    assert not read().equals(table) and read().equals(other)
