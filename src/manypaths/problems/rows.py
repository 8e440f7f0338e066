"""Rows of a local data set: JSON lines, JSON, CSV, TSV or parquet, each also compressed by gzip, or a folder of these.

Nothing here uses the network.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manypaths.printable import listed, one_line, shown

Row = dict[str, Any]
Say = Callable[[str], None]

READABLE = "JSON lines (.jsonl), JSON (.json), CSV (.csv), TSV (.tsv), parquet (.parquet), each also as .gz"
_JSON = (".json", ".jsonl", ".ndjson")
_SUFFIXES = (*_JSON, ".csv", ".tsv", ".parquet")
_OTHERS = """
    .arrow .avro .bin .bz2 .db .doc .docx .feather .gz .h5 .hdf5 .htm .html .lz4 .md .npy .npz .ods .orc
    .pdf .pickle .pkl .pt .py .rar .rst .safetensors .sqlite .tar .tex .tgz .toml .txt .xls .xlsx .xml .xz .yaml .yml
    .zip .zst
"""
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def is_local(name: str) -> bool:
    """Whether a name is that of a local file or folder, existing or not, rather than of a data set on the hub."""
    looks_like_a_path = name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name)
    return looks_like_a_path or Path(name).suffix.lower() in (*_SUFFIXES, *_OTHERS.split()) or Path(name).exists()


def name_of(name: str) -> str:
    """The name of a set, safe as the name of a file: x for dir/x.jsonl.gz, set-1.5 for org/set-1.5."""
    last = name.rpartition("/")[2]
    if is_local(name):
        last = Path(name).expanduser().resolve().name
        last = last[:-3] if last.lower().endswith(".gz") else last
        last = Path(last).stem if last.lower().endswith(_SUFFIXES) else last
    plain = re.sub(r"[^\w .+-]", "_", last).strip(". ")[:100] or "problems"
    return f"{plain}_" if plain == "all" else plain  # `all` is the name of all sets together


def read_rows(name: str, split: str | None = None, say: Say = print) -> list[Row]:
    """Read the rows of a local file or folder.

    Args:
        name: Its path.
        split: One of the splits of a folder, or of the lists in a JSON file; None for the only one.
        say: Gets a sentence that names the list that was read from a JSON file.

    Returns:
        The rows, one or more.

    Raises:
        ValueError: The file is missing, empty, damaged or of another format; the message names the line.
    """
    path = Path(name).expanduser()
    if "://" in name:
        raise ValueError(f"{shown(name, 200)} is an address. Download the file, and give its path.")
    if not path.exists():
        raise ValueError(f"{shown(name, 200)} does not exist. Give a file, a folder with a data set, or a set's name.")
    rows = _of_folder(path, split) if path.is_dir() else _of_file(path, split, say)
    if not rows:
        raise ValueError(f"{shown(name, 200)} is empty: it holds no row.")
    return rows


def _of_file(path: Path, split: str | None, say: Say) -> list[Row]:
    name, packed = shown(path, 200), path.suffix.lower() == ".gz"
    kind = (Path(path.stem) if packed else path).suffix.lower()
    if kind not in _SUFFIXES:
        raise ValueError(f"{name} cannot be read. What can be read: {READABLE}.")
    if split is not None and kind not in _JSON:
        raise ValueError(f"{name} is a file without splits, got split {split!r}. Leave it out.")
    content = path.read_bytes()
    if packed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{name} is not a whole gzip file: {error}.") from error
    if kind == ".parquet":
        return _of_parquet(content, name)
    if not content.strip():
        return []
    if kind in _JSON:
        return _of_json(content, name, kind, split, say)
    return _of_csv(_text(content, name, "CSV"), name, "\t" if kind == ".tsv" else None)


def parse(content: bytes, name: str) -> list[Row]:
    """Rows from the content of a JSON lines file, or of a JSON file with a list; `name` is for messages."""
    return _of_json(content, shown(name, 200), ".jsonl", None, print)


def _text(content: bytes, name: str, format_name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name} is not {format_name} in line {line}: it is not UTF-8.") from error


def _of_json(content: bytes, name: str, kind: str, split: str | None, say: Say) -> list[Row]:
    text = _text(content, name, "JSON")
    whole = _loaded(text, name, 1) if _is_one_value(text, kind) else None
    if whole is None:
        rows = _of_json_lines(text, name)
    else:
        rows = whole if isinstance(whole, list) else _under_a_key(whole, name, split, say)
    if split is not None and not isinstance(whole, dict):
        raise ValueError(f"{name} is a file without splits, got split {split!r}. Leave it out.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"{name} must hold objects with columns, got {shown(json.dumps(row))} in row {number}.")
    return rows


def _is_one_value(text: str, kind: str) -> bool:
    """Whether a text is one JSON list or object, rather than a line for each row."""
    text = text.strip()
    if text.startswith("[") or text.partition("\n")[0].strip() == "{":
        return True
    if not text.startswith("{") or re.search(r"\n[\[{]", text):
        return False
    return kind == ".json" or "\n" in text


def _of_json_lines(text: str, name: str) -> list[Any]:
    lines = enumerate(text.split("\n"), 1)
    return [_loaded(line, name, number) for number, line in lines if line.strip()]


def _loaded(text: str, name: str, line: int) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{name} is not JSON in line {line}: it is nested too deeply.") from error
    except ValueError as error:
        line += getattr(error, "lineno", 1) - 1
        raise ValueError(f"{name} is not JSON in line {line}: {getattr(error, 'msg', error)}.") from error


def _under_a_key(whole: dict[str, Any], name: str, split: str | None, say: Say) -> list[Any]:
    """The only list of objects in a JSON object, or the list `split`; an object without lists of objects is a row."""
    lists = {
        key: value
        for key, value in whole.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }
    if split is not None and split not in lists:
        raise ValueError(f"{name} has no list of objects {shown(split)}. It has {listed(lists) or 'none'}.")
    if split is None and len(lists) > 1:
        raise ValueError(f"{name} has lists of objects under {listed(lists)}. Give one as split.")
    if not lists and any(isinstance(value, (str, int, float)) for value in whole.values()):
        return [whole]
    if not lists:
        raise ValueError(f"{name} must hold a list of objects, or one under a key, got an object of {listed(whole)}.")
    key = split or next(iter(lists))
    say(f"{name}: the rows are the list under {shown(key)}.")
    return lists[key]


def _of_csv(text: str, name: str, delimiter: str | None) -> list[Row]:
    """Rows of texts; the text of a cell is not changed."""
    head = text.partition("\n")[0]
    if delimiter is None:
        delimiter = next((char for char in ",;\t" if char in head), ",")
    smaller = csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        columns = [column.strip() for column in next(reader)]
        if twice := [column for column, count in Counter(columns).items() if count > 1]:
            raise ValueError(f"{name} has the column {shown(twice[0])} twice. Rename or remove one.")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheets write such lines below the last row
            if len(cells) == len(columns):
                rows.append(dict(zip(columns, cells, strict=True)))
            else:
                raise ValueError(
                    f"{name} must have {len(columns)} cells in every row, as its head has, got {len(cells)} "
                    f"in the row that ends in line {reader.line_num}."
                )
    except csv.Error as error:
        raise ValueError(f"{name} is not CSV in line {reader.line_num}: {error}.") from error
    finally:
        csv.field_size_limit(smaller)  # a setting of the whole process
    return rows


def _of_parquet(content: bytes, name: str) -> list[Row]:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ValueError(f"Reading {name} needs pyarrow, which is not installed: pip install pyarrow") from error
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{name} is not a whole parquet file: {one_line(error, 300)}") from error
    if twice := [column for column, count in Counter(table.column_names).items() if count > 1]:
        raise ValueError(f"{name} has the column {shown(twice[0])} twice. Rename or remove one.")
    return list(table.to_pylist(maps_as_pydicts="strict"))


def _of_folder(path: Path, split: str | None) -> list[Row]:
    """A folder as `datasets` saves it, or one with data files as on the hub."""
    name = shown(path, 200)
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    if not saved and not any(file.suffix.lower() in _SUFFIXES for file in path.rglob("*")):
        raise ValueError(f"{name} is a folder without a data set. Give a folder or a file of: {READABLE}.")
    import datasets

    try:
        splits = datasets.load_from_disk(str(path)) if saved else datasets.load_dataset(str(path.resolve()))
    except Exception as error:  # the library raises many types
        raise ValueError(
            f"The folder {name} could not be read as a data set: {one_line(error.__cause__ or error, 300)}"
        ) from error
    if not isinstance(splits, dict):
        splits = {split or "train": splits}
    if split is None and len(splits) == 1:
        split = next(iter(splits))
    if split not in splits:
        raise ValueError(f"{name} has the splits {listed(splits)}, got {split!r}. Give one of them as split.")
    return list(splits[split])
