#!/usr/bin/env python3
"""make_images.py DIR: one small image of every kind that image.c reads, for compare.py.

Pillow writes what it can; the rest (interlaced and 2-bit PNG, YCCK and RGB JPEG, odd chroma subsamplings) is
written here byte by byte. Those images need no picture in them: any filter byte and any row bytes are a valid
PNG, any coefficients a valid JPEG, so they are filled with smooth or random numbers. DIR/bad gets files
that must be refused: refused_* by Pillow too, strict_* only by us.
"""
import os
import random
import struct
import sys
import zlib

import numpy as np
from PIL import Image

SIZES = [(1, 1), (3, 2), (8, 8), (17, 9), (64, 48), (101, 67)]

# ---------------------------------------------------------------- pictures


def picture(w, h, channels, seed=0):
    """Smooth waves with an edge and some noise, uint8 (h, w, channels)."""
    rng = np.random.default_rng([w, h, channels, seed])
    y, x = np.mgrid[0:h, 0:w].astype(float)
    planes = []
    for c in range(channels):
        p = 120 + 80 * np.sin(x / (3 + 2 * c) + c) * np.cos(y / (5 + c)) + rng.normal(0, 6, (h, w))
        planes.append(p + 60 * (x + y > (w + h) / 2))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- PNG by hand

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data, crc_xor=0):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ crc_xor)


def png_rows(rng, w, h, bits):
    rows = b""
    for _ in range(h):
        n = (w * bits + 7) // 8
        rows += bytes([rng.randrange(5)]) + bytes(rng.choice((0, 1, 2, 85, 200, 255, rng.randrange(256))) for _ in range(n))
    return rows


def png_data(rng, w, h, bits, interlaced):
    if not interlaced:
        return png_rows(rng, w, h, bits)
    data = b""
    for x0, y0, dx, dy in ADAM7:
        pw, ph = (w - x0 + dx - 1) // dx, (h - y0 + dy - 1) // dy
        if pw > 0 and ph > 0:
            data += png_rows(rng, pw, ph, bits)
    return data


def ihdr(w, h, depth, color, interlaced=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlaced))


def png_by_hand(w, h, depth, color, interlaced=0, colors=None, extra=b"", pieces=1, seed=0):
    """A PNG of random bytes. colors: palette entries (fewer than the indices reach is allowed)."""
    rng = random.Random(f"{w} {h} {depth} {color} {interlaced} {seed}")
    out = PNG_MAGIC + ihdr(w, h, depth, color, interlaced)
    if color == 3:
        n = 1 << depth if colors is None else colors
        out += chunk(b"PLTE", bytes(rng.randrange(256) for _ in range(3 * n)))
    out += extra
    packed = zlib.compress(png_data(rng, w, h, depth * CHANNELS[color], interlaced))
    step = -(-len(packed) // pieces)
    for i in range(0, len(packed), step):
        out += chunk(b"IDAT", packed[i : i + step])
    return out + chunk(b"IEND", b"")


def png_kinds():
    """(name, bytes) of every colour type, depth, interlacing and size, then of special cases."""
    for color, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for w, h in SIZES:
                for lace in (0, 1):
                    yield f"c{color}_d{depth}_i{lace}_{w}x{h}.png", png_by_hand(w, h, depth, color, lace)
    trns_grey, trns_rgb = chunk(b"tRNS", b"\0\1"), chunk(b"tRNS", b"\0\1\0\2\0\x55")
    for depth in (1, 2, 4, 8):
        yield f"pal{depth}_trns.png", png_by_hand(40, 30, depth, 3, extra=chunk(b"tRNS", b"\0\x80"))
        yield f"pal{depth}_short.png", png_by_hand(40, 30, depth, 3, colors=1)
        yield f"pal{depth}_short_trns_i1.png", png_by_hand(40, 30, depth, 3, 1, 2, chunk(b"tRNS", b"\0"))
        yield f"grey{depth}_trns.png", png_by_hand(40, 30, depth, 0, extra=trns_grey)
    yield "grey16_trns.png", png_by_hand(40, 30, 16, 0, extra=trns_grey)
    yield "rgb8_trns.png", png_by_hand(40, 30, 8, 2, extra=trns_rgb)
    yield "rgb16_trns.png", png_by_hand(40, 30, 16, 2, extra=trns_rgb)
    yield "rgb8_plte.png", png_by_hand(40, 30, 8, 2, extra=chunk(b"PLTE", b"abcdef"))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"cHRM", struct.pack(">8I", *[31270] * 8))
    yield "gama.png", png_by_hand(40, 30, 8, 2, extra=gamma)
    yield "gama_grey16.png", png_by_hand(40, 30, 16, 0, extra=gamma)
    yield "iccp.png", png_by_hand(40, 30, 8, 6, extra=chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile")))
    exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    yield "exif_turned.png", png_by_hand(40, 30, 8, 2, extra=chunk(b"eXIf", exif))
    yield "sbit_text_many_idat.png", png_by_hand(
        40, 30, 8, 2, extra=chunk(b"sBIT", b"\5\5\5") + chunk(b"tEXt", b"Comment\0x") + chunk(b"prVt", b"z"), pieces=37
    )
    apng = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">5I2H2B", 0, 40, 30, 0, 0, 1, 9, 0, 1))
    yield "apng.png", png_by_hand(40, 30, 8, 6, extra=apng)
    yield "trailing.png", png_by_hand(40, 30, 8, 2) + b"trailing bytes"
    yield "a_png_called.JPEG", png_by_hand(40, 30, 8, 2, seed=1)
    small_window = bytearray(zlib.compress(png_rows(random.Random(3), 40, 30, 24)))
    small_window[0:2] = b"\x18\x19"  # claims a window of 512 bytes
    yield "small_window.png", PNG_MAGIC + ihdr(40, 30, 8, 2) + chunk(b"IDAT", bytes(small_window)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- JPEG by hand


class Bits:
    """An entropy-coded segment: bits, with 0xff bytes stuffed."""

    def __init__(self):
        self.text = []

    def put(self, value, n):
        if n:
            self.text.append(format(value, f"0{n}b"))

    def take(self):
        s = "".join(self.text)
        s += "1" * (-len(s) % 8)
        self.text = []
        return int(s or "0", 2).to_bytes(len(s) // 8, "big").replace(b"\xff", b"\xff\0")


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


# Huffman tables of one code length each: DC category k is k in 4 bits, AC symbol number i is i in 8 bits.
AC_SYMBOLS = [0x00, 0xF0] + [r << 4 | s for r in range(15) for s in range(1, 11)]
DHT = (
    segment(0xC4, b"\x00" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
    + segment(0xC4, b"\x10" + bytes([0] * 7 + [len(AC_SYMBOLS)] + [0] * 8) + bytes(AC_SYMBOLS))
)
DQT = segment(0xDB, b"\0" + bytes(min(255, 4 + i // 2) for i in range(64)))


def put_number(bits, v, size):
    bits.put(v if v > 0 else v + (1 << size) - 1, size)


def put_block(bits, rng, dc_before):
    dc = max(-220, min(220, dc_before + rng.randint(-90, 90)))
    diff = dc - dc_before
    bits.put(abs(diff).bit_length(), 4)
    put_number(bits, diff, abs(diff).bit_length())
    for _ in range(rng.randrange(6)):
        v = rng.choice((-1, 1)) * rng.randint(1, 40)
        size = abs(v).bit_length()
        bits.put(AC_SYMBOLS.index(rng.randrange(3) << 4 | size), 8)
        put_number(bits, v, size)
    bits.put(0, 8)  # end of block
    return dc


def scan(rng, w, h, factors, which, restart):
    """The MCUs of one scan of the components `which`; factors: (h, v) of all components."""
    hmax, vmax = max(f[0] for f in factors), max(f[1] for f in factors)
    if len(which) == 1:
        fh, fv = factors[which[0]]
        across, down = -(-w * fh // (8 * hmax)), -(-h * fv // (8 * vmax))
        blocks = [which[0]]
    else:
        across, down = -(-w // (8 * hmax)), -(-h // (8 * vmax))
        blocks = [c for c in which for _ in range(factors[c][0] * factors[c][1])]
    bits, out, dc = Bits(), b"", [0] * len(factors)
    for mcu in range(across * down):
        if restart and mcu and mcu % restart == 0:
            out += bits.take() + bytes([0xFF, 0xD0 + (mcu // restart - 1) % 8])
            dc = [0] * len(factors)
        for c in blocks:
            dc[c] = put_block(bits, rng, dc[c])
    return out + bits.take()


def jpeg_by_hand(w, h, factors, ids=None, adobe=None, jfif=False, restart=0, scans=None, extra=b"", sof=0xC0, bits=8):
    """A baseline JPEG of random coefficients. adobe: the transform of its Adobe marker; scans: lists of
    components, one scan with all of them by default."""
    rng = random.Random(f"{w} {h} {factors} {adobe} {restart}")
    ids = ids or range(1, len(factors) + 1)
    out = b"\xff\xd8" + (segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") if jfif else b"") + extra
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += DQT + segment(
        sof,
        struct.pack(">BHHB", bits, h, w, len(factors))
        + b"".join(bytes([i, f[0] << 4 | f[1], 0]) for i, f in zip(ids, factors)),
    )
    out += DHT + (segment(0xDD, struct.pack(">H", restart)) if restart else b"")
    for which in scans or [list(range(len(factors)))]:
        heads = b"".join(bytes([ids[c], 0]) for c in which)
        out += segment(0xDA, bytes([len(which)]) + heads + b"\0\x3f\0") + scan(rng, w, h, factors, which, restart)
    return out + b"\xff\xd9"


SAMPLINGS = {
    "444": [(1, 1), (1, 1), (1, 1)],
    "422": [(2, 1), (1, 1), (1, 1)],
    "420": [(2, 2), (1, 1), (1, 1)],
    "440": [(1, 2), (1, 1), (1, 1)],
    "411": [(4, 1), (1, 1), (1, 1)],
    "410": [(4, 2), (1, 1), (1, 1)],
    "441": [(1, 4), (1, 1), (1, 1)],
    "222222": [(2, 2), (2, 2), (2, 2)],
    "chroma_uneven": [(2, 2), (2, 1), (1, 2)],
    "luma_small": [(1, 1), (2, 1), (2, 1)],
    "third": [(3, 1), (1, 1), (1, 1)],
}


def jpeg_kinds():
    """(name, bytes)"""
    for w, h in SIZES:
        for name, factors in SAMPLINGS.items():
            yield f"hand_{name}_{w}x{h}.jpg", jpeg_by_hand(w, h, factors)
        for name, factors in (("", [(1, 1)] * 4), ("_sub", [(2, 2), (1, 1), (1, 1), (2, 2)])):
            yield f"cmyk_plain{name}_{w}x{h}.jpg", jpeg_by_hand(w, h, factors)
            yield f"cmyk_adobe{name}_{w}x{h}.jpg", jpeg_by_hand(w, h, factors, adobe=0)
            yield f"ycck{name}_{w}x{h}.jpg", jpeg_by_hand(w, h, factors, adobe=2)
        yield f"hand_grey_{w}x{h}.jpg", jpeg_by_hand(w, h, [(1, 1)])
        yield f"hand_grey_22_{w}x{h}.jpg", jpeg_by_hand(w, h, [(2, 2)])
        yield f"rgb_adobe_{w}x{h}.jpg", jpeg_by_hand(w, h, SAMPLINGS["444"], adobe=0)
        yield f"rgb_adobe_420_{w}x{h}.jpg", jpeg_by_hand(w, h, SAMPLINGS["420"], adobe=0)
        yield f"rgb_ids_{w}x{h}.jpg", jpeg_by_hand(w, h, SAMPLINGS["444"], ids=b"RGB")
    f444, f420 = SAMPLINGS["444"], SAMPLINGS["420"]
    yield "ids_odd.jpg", jpeg_by_hand(50, 40, f444, ids=[7, 9, 11])
    yield "ids_rgb_jfif.jpg", jpeg_by_hand(50, 40, f444, ids=b"RGB", jfif=True)
    yield "jfif_and_adobe0.jpg", jpeg_by_hand(50, 40, f444, jfif=True, adobe=0)
    yield "adobe1.jpg", jpeg_by_hand(50, 40, f420, adobe=1)
    yield "adobe_odd.jpg", jpeg_by_hand(50, 40, f420, adobe=7)
    yield "cmyk_adobe_odd.jpg", jpeg_by_hand(50, 40, [(1, 1)] * 4, adobe=7)
    yield "restart.jpg", jpeg_by_hand(150, 90, f420, restart=3)
    yield "three_scans.jpg", jpeg_by_hand(50, 40, f420, scans=[[0], [1], [2]])
    yield "two_scans_restart.jpg", jpeg_by_hand(50, 40, f420, scans=[[0], [1, 2]], restart=2)
    yield "extended.jpg", jpeg_by_hand(50, 40, f420, sof=0xC1)
    yield "no_end_marker.jpg", jpeg_by_hand(101, 67, [(1, 1)])[:-2]
    yield "other_end_marker.jpg", jpeg_by_hand(50, 40, f420)[:-1] + b"\xdb"
    yield "trailing.jpg", jpeg_by_hand(50, 40, f420) + b"trailing bytes\xff"
    yield "fill_bytes.jpg", jpeg_by_hand(50, 40, f420).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1)
    yield "a_jpeg_called.png", jpeg_by_hand(51, 40, f420)


# ---------------------------------------------------------------- by Pillow


def save_pillow_kinds(folder):
    for w, h in SIZES + [(300, 201)]:
        rgb, four = Image.fromarray(picture(w, h, 3)), Image.fromarray(picture(w, h, 4), "CMYK")
        grey = Image.fromarray(picture(w, h, 1)[:, :, 0])
        for name, options in (("base", {}), ("prog", {"progressive": True}), ("q30", {"quality": 30, "optimize": True})):
            stem = os.path.join(folder, f"pil_{w}x{h}_{name}")
            for sub in (0, 1, 2):
                rgb.save(f"{stem}_s{sub}.jpg", subsampling=sub, **options)
            grey.save(f"{stem}_grey.jpg", **options)
            four.save(f"{stem}_cmyk.jpg", **options)
        stem = os.path.join(folder, f"pil_{w}x{h}")
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            (Image.fromarray(picture(w, h, 4)) if mode == "RGBA" else rgb.convert(mode)).save(f"{stem}_{mode}.png")
        Image.fromarray(picture(w, h, 1)[:, :, 0].astype(np.uint16) * 3).save(f"{stem}_I16.png")
        rgb.quantize(7).save(f"{stem}_P7.png", transparency=2)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    rgb.save(os.path.join(folder, "pil_exif_turned.jpg"), exif=exif, icc_profile=b"no profile" * 20000)


# ---------------------------------------------------------------- files to refuse


def bad_kinds(folder):
    """(name, bytes)"""
    with open(os.path.join(folder, "pil_300x201_base_s2.jpg"), "rb") as f:
        base = f.read()
    with open(os.path.join(folder, "pil_300x201_prog_s2.jpg"), "rb") as f:
        prog = f.read()
    png = png_by_hand(40, 30, 8, 2, pieces=3)
    yield "refused_empty.jpg", b""
    yield "refused_text.jpg", b"<html>not found</html>\n"
    yield "refused_one_byte.png", b"\x89"
    yield "refused_jpeg_magic_only.jpg", b"\xff\xd8\xff"
    yield "refused_png_magic_only.png", PNG_MAGIC
    for part in (0.02, 0.2, 0.5, 0.9, 0.99):
        yield f"refused_truncated_{part}.jpg", base[: int(len(base) * part)]
        yield f"refused_truncated_prog_{part}.jpg", prog[: int(len(prog) * part)]
        yield f"refused_truncated_{part}.png", png[: int((len(png) - 50) * part)]
    yield "refused_no_eoi.jpg", base[:-2]
    yield "refused_no_eoi_prog.jpg", prog[:-2]
    yield "refused_no_scan.jpg", base[: base.index(b"\xff\xda")] + b"\xff\xd9"
    yield "refused_two_components.jpg", jpeg_by_hand(50, 40, [(1, 1)] * 2)
    yield "refused_12_bits.jpg", jpeg_by_hand(50, 40, SAMPLINGS["444"], sof=0xC1, bits=12)
    yield "refused_no_height.jpg", base.replace(struct.pack(">HH", 201, 300), struct.pack(">HH", 0, 300), 1)
    yield "refused_bomb.jpg", base.replace(struct.pack(">HH", 201, 300), struct.pack(">HH", 65000, 65000), 1)
    yield "refused_bomb.png", PNG_MAGIC + ihdr(16384, 10923, 8, 2) + png[33:]
    yield "refused_zero_width.png", PNG_MAGIC + ihdr(0, 30, 8, 2) + png[33:]
    yield "refused_odd_type.png", PNG_MAGIC + ihdr(40, 30, 8, 1) + png[33:]
    yield "refused_odd_depth.png", PNG_MAGIC + ihdr(40, 30, 3, 2) + png[33:]
    yield "refused_header_crc.png", png[:29] + b"abcd" + png[33:]
    yield "refused_text_crc.png", png[:33] + chunk(b"tEXt", b"Comment\0x", 1) + png[33:]
    yield "refused_bad_zlib.png", png[:33] + chunk(b"IDAT", b"no zlib stream") + chunk(b"IEND", b"")
    short = chunk(b"IDAT", zlib.compress(png_rows(random.Random(1), 40, 29, 24)))
    yield "strict_a_row_short.png", png[:33] + short + chunk(b"IEND", b"")
    data = zlib.compress(png_rows(random.Random(1), 40, 30, 24))
    yield "strict_idat_crc.png", png[:33] + chunk(b"IDAT", data, 1) + chunk(b"IEND", b"")
    yield "strict_no_iend.png", png[:-12]
    yield "strict_half_iend.png", png[:-5]
    yield "strict_no_palette.png", PNG_MAGIC + ihdr(40, 30, 8, 3) + chunk(
        b"IDAT", zlib.compress(png_rows(random.Random(1), 40, 30, 8))
    ) + chunk(b"IEND", b"")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_images.py DIR")
    folder = sys.argv[1]
    bad = os.path.join(folder, "bad")
    os.makedirs(bad, exist_ok=True)
    save_pillow_kinds(folder)
    for where, kinds in ((folder, png_kinds()), (folder, jpeg_kinds()), (bad, bad_kinds(folder))):
        for name, data in kinds:
            with open(os.path.join(where, name), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
