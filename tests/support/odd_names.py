"""Archives whose files have whatever names Linux allows; ``python tests/support/odd_names.py FOLDER 10000`` writes one."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from raw_archives import price_csv

ODD = [
    # Every byte that a name may have.
    *map(os.fsdecode, (bytes(set(range(1, 128)) - {ord("/")}), bytes(range(128, 256)))),
    *(" ", "  ", " A", "A ", "A  B", "A\tB", "A\nB", "A\r", "\x1b[31mRED\x1b[0m", "\x1b]0;title\x07", "\x7f", "\u0085"),
    *("A$_$B", "$x^2$", "$", "$$", r"\$", r"\frac{1}{2}", "_x_", "^", "{x}", "{}", "%s", "%(x)s", "{0.__class__}"),
    *("<b>A", "<script>alert(1)", "<img src=x onerror=alert(1)>", "&amp;", "&", '"', "'", '"A"', "''", "`A`", "-->"),
    *(
        "# A",
        "**A**",
        "[A](javascript:alert(1))",
        "|A|",
        "> A",
        "* A",
        "![A](x)",
        "~~A~~",
        "[red]A",
        "[bold]",
        ":smile:",
    ),
    *(
        "-rf",
        "--help",
        "-",
        "=1+1",
        "+1",
        "@A",
        "=cmd|' C calc'!A0",
        ";",
        ",",
        "A,B",
        '"A","B"',
        "A;B",
        "#",
        "?",
        "*",
        "~",
    ),
    *(
        "CON",
        "_CON",
        "NUL",
        "_",
        "__MACOSX_",
        "NAN",
        "null",
        "True",
        "1e5",
        "007",
        "0x10",
        "2020-01-02",
        "A.B.C",
    ),
    *(
        "e\u0301",
        "\u0301",
        "\u0301A",
        "Z\u0351\u036b\u0343" * 9,
        "\u202eABC",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\u2029",
    ),
    *(
        "日本",
        "🙂",
        "👩‍👩‍👧",
        "שלום",
        "مرحبا",
        "\U0010ffff",
        "\ue000",
        "\ufffe",
        "é",
        "É",
        "ß",
        "İ",
        "ı",
        "A · B",
        " · ",
        "A\u00a0B",
    ),
    *(
        "a" * 251,
        "é" * 125,
        "\u0301" * 125,
        "\n" * 251,
        "$_" * 125,
        "<" * 251,
        "\\" * 251,
        "\\x09",
        "\\",
        "\\n",
        "C:\\A",
    ),
    *("__class__", "..\u2044A"[2:], "\u2400", "\udcff", "A\udce9", "\udc80" * 251),
]


def odd_names(count: int) -> list[str]:
    """So many different names, none of which begins with a dot: each byte, `ODD`, then any bytes at all."""
    chance = random.Random(1)
    every_byte = [os.fsdecode(bytes([n])) for n in range(1, 256) if n not in b"/."]
    names = dict.fromkeys([*ODD, *every_byte])
    while len(names) < count:
        length = chance.choice([1, 2, 3, 5, 8, 20, 251])
        if chance.random() < 0.5:
            content = bytes(chance.choice(range(1, 256)) for _ in range(length))
        else:
            pick = [
                range(0x20, 0x7F),
                range(0x80, 0x250),
                range(0x300, 0x370),
                range(0x590, 0x600),
                range(0x2000, 0x2070),
            ]
            text = "".join(chr(chance.choice(chance.choice(pick))) for _ in range(length))
            content = text.encode()[:251].decode("utf-8", "ignore").encode()
        content = content.replace(b"/", b"_").lstrip(b".")
        if content:
            names[os.fsdecode(content)] = None
    # _CON and CON are one symbol.
    return [name for name in list(names)[:count] if name != "_CON"]


def write(folder: Path, count: int, rows: int = 35) -> list[str]:
    """Write an archive of so many price files, and return their names."""
    (folder / "stocks").mkdir(parents=True)
    names = odd_names(count)
    for number, name in enumerate(names):
        (folder / "stocks" / f"{name}.csv").write_text(price_csv(str(number), rows))
    return names


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1]), int(sys.argv[2]))):,} files")
