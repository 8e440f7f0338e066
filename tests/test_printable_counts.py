"""A count in a message agrees with its noun."""

import json

from manypaths.cli import main
from manypaths.printable import counted


def test_one_has_no_s():
    assert [counted(number, "group") for number in (0, 1, 2, 2000)] == [
        "0 groups",
        "1 group",
        "2 groups",
        "2,000 groups",
    ]


def test_a_log_of_one_group_has_one_group(tmp_path, capsys):
    lines = [{"prompt": "p", "completion": f"word {reward}", "reward": reward} for reward in (0.0, 1.0, 1.0)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(["check", str(tmp_path / "log.jsonl")])
    assert ", 1 group, 0 lines of metrics\n" in capsys.readouterr().out
