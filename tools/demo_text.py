#!/usr/bin/env python3
"""Plain text of Jane Austen's novels out of the Debian package r-cran-janeaustenr (texts in the public domain, package MIT).

Usage: demo_text.py Rdata.rdb OUT_FOLDER
Writes OUT_FOLDER/test.txt (one novel, scored) and OUT_FOLDER/calibration.txt (three others, never scored), a paragraph a line.

The .rdb file is R's lazy-load database: records of a 4-byte big-endian length (of the plain bytes) and a zlib stream each; a
record is an R serialisation in which a string is the header 0x00 0x04 0x00 0x09 (or another flag byte) of a CHARSXP, its length and its bytes.
"""
import re
import struct
import sys
import zlib
from pathlib import Path

CHARSXP = re.compile(rb"\x00\x04\x00\x09|\x00\x00\x00\x09|\x00\x00\x80\x09|\x00\x00\x40\x09")
NOVELS = {"PERSUASION": "test.txt", "EMMA": "calibration.txt", "PRIDE AND PREJUDICE": "calibration.txt", "MANSFIELD PARK": "calibration.txt"}


def records(data):
    while len(data) > 4:
        stream = zlib.decompressobj()
        yield stream.decompress(data[4:])
        data = stream.unused_data


def strings(record):
    """The lines of a character vector, in order."""
    at, lines = 0, []
    while match := CHARSXP.search(record, at):
        length = struct.unpack(">i", record[match.end():match.end() + 4])[0]
        end = match.end() + 4 + max(length, 0)
        if length > 4096 or end > len(record):
            at = match.start() + 1
            continue
        lines.append(record[match.end() + 4:end].decode("utf-8"))
        at = end
    return lines


def paragraphs(lines):
    """Hard-wrapped lines as one line a paragraph, as in the rows of WikiText."""
    blocks = "\n".join(lines).split("\n\n")
    return "\n".join(" ".join(block.split()) for block in blocks if block.strip()) + "\n"


def novels(source):
    """Title -> text of every novel in Rdata.rdb."""
    found = {}
    for record in records(source.read_bytes()):
        lines = strings(record)
        if len(lines) > 1000:
            found[lines[0].strip().upper()] = paragraphs(lines)
    return found


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    found = novels(source)
    missing = sorted(set(NOVELS) - set(found))
    if missing:
        sys.exit(f"{source}: not found: {', '.join(missing)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(NOVELS.values())):
        text = "".join(found[title] for title in sorted(found) if NOVELS.get(title) == name)
        (out / name).write_text(text, encoding="utf-8")
        print(f"{out / name}: {len(text):,} characters")


if __name__ == "__main__":
    main()
