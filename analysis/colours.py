"""
Colour scales of maps, perceptually uniform and dark at zero, so that nothing looks like nothing on a photograph: one for
maps without sign (matplotlib's inferno, as src/pipeline/picture.c has it), one for signed maps (blue, black, orange), whose
lightness is the same on both sides. Tables of 256 colours, uint8 (256, 3).
"""
import packages

np = packages.need('numpy')

# inferno (CC0) at 33 equal steps
_STEPS = [
    (0, 0, 4), (4, 3, 18), (11, 7, 36), (21, 11, 55), (33, 12, 74), (47, 10, 91), (61, 9, 101), (74, 12, 107),
    (87, 16, 110), (100, 21, 110), (113, 25, 110), (125, 30, 109), (138, 34, 106), (151, 39, 102), (163, 44, 97),
    (176, 49, 91), (188, 55, 84), (199, 62, 76), (210, 70, 68), (219, 80, 59), (228, 90, 49), (235, 102, 40),
    (241, 115, 29), (246, 128, 19), (249, 142, 9), (251, 157, 7), (252, 172, 17), (251, 188, 33), (249, 203, 53),
    (245, 219, 76), (242, 234, 105), (243, 246, 138), (252, 255, 164)]


def _between(steps):
    """256 colours that go through the given ones at equal distances."""
    steps = np.asarray(steps, np.float64)
    at = np.linspace(0, len(steps) - 1, 256)
    low = np.minimum(at.astype(int), len(steps) - 2)
    return np.rint(steps[low] + (at - low)[:, None] * (steps[low + 1] - steps[low])).astype(np.uint8)


def _from_lab(lab):
    """CIELAB (D65) to sRGB, uint8; what no screen shows is clipped."""
    lab = np.asarray(lab, np.float64)
    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    xyz = np.where(f > 6 / 29, f ** 3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (.95047, 1, 1.08883)
    linear = xyz @ np.array([[3.2404542, -1.5371385, -.4985314], [-.9692660, 1.8760108, .0415560],
                             [.0556434, -.2040259, 1.0572252]]).T
    linear = np.clip(linear, 0, 1)
    coded = np.where(linear > .0031308, 1.055 * linear ** (1 / 2.4) - .055, 12.92 * linear)
    return np.rint(255 * coded).astype(np.uint8)


def _diverging():
    """Lightness grows evenly from the middle to both ends, so equal magnitudes look equally strong; blue and orange are
    told apart by the colour-blind."""
    signed = np.linspace(-1, 1, 256)
    size = np.abs(signed)
    hue = np.where((signed < 0)[:, None], (-12, -42), (26, 64))
    return _from_lab(np.column_stack([3 + 75 * size, hue * size[:, None] ** .8]))


SEQUENTIAL = _between(_STEPS)
DIVERGING = _diverging()


def css(table, steps=33):
    """Colours of a table at equal steps, as a style sheet names them."""
    return ['#%02x%02x%02x' % tuple(int(v) for v in table[round(i)]) for i in np.linspace(0, 255, steps)]
