"""One reader for every CSV that a user may hand over."""

import pytest

from synclip_core.errors import SyncLipError
from synclip_core.files.table import read_rows, write_rows


def test_what_excel_writes_is_read(tmp_path):
    path = tmp_path / "a.csv"
    for text, encoding in (
        ("file,text\nä.mp4,one\n", "utf-8"),
        ("file,text\r\nä.mp4,one\r\n", "utf-8-sig"),
        ("file;text\nä.mp4;one\n", "utf-8-sig"),
        ("file\ttext\n\nä.mp4\tone\n", "utf-8"),
    ):
        path.write_bytes(text.encode(encoding))
        assert read_rows(path, ("file", "text")) == [{"file": "ä.mp4", "text": "one"}]


def test_what_is_wrong_with_a_table_is_said(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(SyncLipError, match="expected a CSV table with columns file; there is no such file"):
        read_rows(path, ("file",))
    path.write_bytes("file,text\nä,b\n".encode("latin-1"))
    with pytest.raises(SyncLipError, match="a.csv: is no CSV file in UTF-8.*CSV UTF-8"):
        read_rows(path)
    path.write_text("file,text\na,b,c\n")
    with pytest.raises(SyncLipError, match="line 2: 3 cells"):
        read_rows(path)
    path.write_text("name,text\na,b\n")
    with pytest.raises(SyncLipError, match=r"lacks the column\(s\) file; it has name, text"):
        read_rows(path, ("file",))
    path.write_text("")
    with pytest.raises(SyncLipError, match="lacks"):
        read_rows(path, ("file",))


def test_short_lines_and_what_was_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("file,text,more\na,b\n")
    assert read_rows(path) == [{"file": "a", "text": "b", "more": ""}]
    write_rows(path, ("file", "text"), [{"file": "a,b", "text": 'say "x"', "left": "out"}])
    assert read_rows(path) == [{"file": "a,b", "text": 'say "x"'}]
