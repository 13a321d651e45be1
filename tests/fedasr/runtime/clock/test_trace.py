from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.runtime.clock.trace import read_trace
from tests.tiers import examples

NAMES = ["alice", "bob", "7"]


def read(folder: Path, content: str | bytes, names=NAMES):
    file = folder / "trace.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    result = read_trace(file, names)
    return list(zip(result.client.tolist(), result.start_s.tolist(), result.end_s.tolist(), strict=True))


def test_names(tmp_path: Path):
    assert read(tmp_path, "client,start_s,end_s\nbob,0,10.5\n7,3,4\n") == [(1, 0, 10.5), (2, 3, 4)]


def test_indices(tmp_path: Path):
    assert read(tmp_path, "client,start_s,end_s\n0,0,10\n2,3,4\n") == [(0, 0, 10), (2, 3, 4)]


def test_what_is_both_is_a_name(tmp_path: Path):
    content = "client,start_s,end_s\n2,0,10\n1,3,4\n"
    assert read(tmp_path, content, ["2", "1", "0"]) == [(0, 0, 10), (1, 3, 4)]


def test_columns_in_any_order_others_blank_lines_spaces_and_a_byte_order_mark(tmp_path: Path):
    content = '\ufeff end_s , note,client, start_s\r\n\r\n10, x ,"bob",1e0\r\n,,,\r\n12,,alice,2\r\n'
    assert read(tmp_path, content) == [(1, 1, 10), (0, 2, 12)]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", 0, "has no rows; expected an interval a row"),
        ("client,start_s,end_s\n", 0, "has no rows"),
        ("client,start,end_s\nbob,0,1\n", 1, "expected a header with the column 'start_s' once; it has: client, start"),
        ("client,client,start_s,end_s\n", 1, "the column 'client' once"),
        ("client,start_s,end_s\nbob,0,1\nbob,2\n", 3, "the row has 2 fields; expected 3"),
        ("client,start_s,end_s\nbob,zero,1\n", 2, "'start_s' is 'zero'; expected seconds since the start of the run"),
        ("client,start_s,end_s\nbob,-1,1\n", 2, "'start_s' is '-1'; expected seconds"),
        ("client,start_s,end_s\nbob,0,inf\n", 2, "'end_s' is 'inf'; expected seconds"),
        ("client,start_s,end_s\nbob,0,nan\n", 2, "'end_s' is 'nan'; expected seconds"),
        ("client,start_s,end_s\nbob,0,1714500000\n", 2, "expected seconds since the start of the run, at most 1e+09"),
        ("client,start_s,end_s\nbob,5,5\n", 2, "'end_s' is 5; expected it at least 0.001 s after 'start_s', 5"),
        ("client,start_s,end_s\nbob,0,1\nbab,0,1\n", 3, "'client' is 'bab' (did you mean 'bob'?); expected the name"),
        ("client,start_s,end_s\n9,0,1\n", 2, "'client' is '9'; expected the name of a client, or an index from 0 to 2"),
        ("client,start_s,end_s\nbob,0,1\n0,0,1\n", 3, "is an index here and a name elsewhere"),
        ('client,start_s,end_s\n"bob,0,1\n', 2, "cannot be read as a table: unexpected end of data"),
        (b"client,start_s,end_s\nb\xffb,0,1\n", 0, "is not UTF-8 text (byte 22); save it as UTF-8"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, content: str | bytes, line: int, said: str):
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    place = f"{tmp_path / 'trace.csv'}:{line}: " if line else f"{tmp_path / 'trace.csv'}: "
    assert str(error.value).startswith(place)
    assert said in str(error.value)


def test_no_such_file_and_a_folder(tmp_path: Path):
    with pytest.raises(InputError, match=r"absent.csv: 'devices.trace': there is no such file"):
        read_trace(tmp_path / "absent.csv", NAMES)
    with pytest.raises(InputError, match=r"'devices\.trace': cannot be read: Is a directory"):
        read_trace(tmp_path, NAMES)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=40), st.text("client,star_ed01\n\r\"'. -", max_size=40).map(str.encode)))
def test_any_file(tmp_path: Path, content: bytes):
    for start in (b"", b"client,start_s,end_s\n"):
        refusal = ""
        try:
            result = read(tmp_path, start + content)
        except InputError as error:
            refusal = str(error)
        else:
            assert result
            assert all(0 <= client < 3 and 0 <= start < end for client, start, end in result)
        assert refusal.isprintable()
