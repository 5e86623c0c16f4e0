#!/usr/bin/env python3
"""compare.py PIXELS DIR [FOLDER ...]: hold image.c and resize.c against Pillow, byte for byte.

PIXELS is the program built from pixels.c, DIR what make_images.py filled: every image is decoded, and
resized to several sizes with every filter. FOLDERs of photographs are walked: every image is decoded, and
resized as a model's preprocessing does (short side 248, all filters). Files in a folder called "bad" must
be refused. Prints a line for each failure and, last, "N passed, N failed, N skipped"; exit status 1 on failures.
"""
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import PIL
    from PIL import Image
except ImportError:
    print("Pillow is not installed for", sys.executable)
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Pixels:
    """The program under test, one process for all images."""

    def __init__(self, program, raw):
        self.raw = raw
        self.process = subprocess.Popen([program, "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, path, *resize):
        """(size, bytes) or (None, message)"""
        fields = [path, self.raw, *map(str, resize)]
        self.process.stdin.write(os.fsencode("\t".join(fields)) + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode(errors="replace").strip()
        if not answer:
            raise SystemExit(f"{path}: the program ended with status {self.process.wait()}")
        if answer.startswith("error: "):
            return None, answer[len("error: ") :]
        with open(self.raw, "rb") as f:
            return tuple(map(int, answer.split())), f.read()

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED", what)


def pillow(path):
    """The image as RGB, or the exception."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as e:  # Pillow raises many kinds
        return e


def difference(got, image):
    size, data = got
    if size is None:
        return "refused: " + data
    want = image.tobytes()
    if size != image.size:
        return f"is {size}, Pillow has {image.size}"
    if data == want:
        return ""
    if len(data) != len(want):
        return f"has {len(data)} bytes, Pillow {len(want)}"
    where = [i for i in range(len(want)) if data[i] != want[i]]
    i = where[0]
    at = f"x {i // 3 % size[0]}, y {i // 3 // size[0]}, channel {i % 3}"
    return f"{len(where)} of {len(want)} bytes differ, first at {at}: {data[i]}, Pillow {want[i]}"


def sample_sizes(w, h):
    return [(1, 1), (w, h), (2 * w + 1, 3 * h), (w // 2 + 1, h // 3 + 1), (w, h // 2 + 1), (w // 2 + 1, h), (97, 5), (5, 97)]


def photo_sizes(w, h):
    short, long = min(w, h), max(w, h)
    other = int(248 * long / short)
    return [(248, other) if w <= h else (other, 248)]


def compare_bad(pixels, tally, path, reference):
    size, message = pixels(path)
    tally.check(size is None and message.startswith(path + ": "), f"{path}: not refused, or by no clear line: {message}")
    if not os.path.basename(path).startswith("strict_"):
        tally.check(isinstance(reference, Exception), f"{path}: Pillow does not refuse it")


def compare_image(pixels, tally, path, reference, sizes):
    wrong = difference(pixels(path), reference)
    tally.check(not wrong, f"{path}: {wrong}")
    for size in [] if wrong else sizes(*reference.size):
        for name, number in FILTERS.items():
            wrong = difference(pixels(path, *size, name), reference.resize(size, number))
            tally.check(not wrong, f"{path} to {size} {name}: {wrong}")


def compare_file(pixels, tally, path, sizes):
    with open(path, "rb") as f:
        head = f.read(8)
    bad = os.path.basename(os.path.dirname(path)) == "bad"
    if not bad and not head.startswith(MAGIC):
        return  # a list or a licence among the photographs
    reference = pillow(path)
    if bad:
        compare_bad(pixels, tally, path, reference)
    elif isinstance(reference, Exception):
        size, message = pixels(path)
        tally.check(size is None, f"{path}: decoded, Pillow says {reference}")
    else:
        compare_image(pixels, tally, path, reference, sizes)


def files_under(folder):
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(where, name)


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: compare.py PIXELS DIR [FOLDER ...]")
    warnings.simplefilter("ignore")
    print("Pillow", PIL.__version__)
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        pixels = Pixels(sys.argv[1], os.path.join(scratch, "out.raw"))
        for folder in sys.argv[2:]:
            before = tally.passed + tally.failed
            sizes = sample_sizes if folder == sys.argv[2] else photo_sizes
            for path in files_under(folder):
                compare_file(pixels, tally, path, sizes)
            if tally.passed + tally.failed == before:
                print(f"{folder}: no image in it")
                tally.skipped += 1
        tally.check(pixels.close() == 0, "the program's exit status")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
