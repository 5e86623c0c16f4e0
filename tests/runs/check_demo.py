#!/usr/bin/env python3
"""What the demo's results must show: check_demo.py DEMO.h5 CONTACT_SHEET.png

The model was trained to 95 % top-1 and more, so nearly all of the 64 scenes are recognised; removing pixels in DAVE's
order must hurt much more than in random order, and bringing them back must help much more, image by image.
"""
import sys

import h5py
import numpy as np
from PIL import Image

results, sheet = h5py.File(sys.argv[1], "r"), Image.open(sys.argv[2])
passed = failed = 0


def check(name, good, detail):
    global passed, failed
    print("%s %s: %s" % ("ok" if good else "FAIL", name, detail))
    passed, failed = passed + bool(good), failed + (not good)


def auc(method, metric):
    return results["methods/%s/%s/auc" % (method, metric)][:]


def paired(name, better):
    """Mean of better over images and how many standard errors it is above 0."""
    z = better.mean() / (better.std(ddof=1) / np.sqrt(len(better)))
    check(name, better.mean() > 0.1 and z > 5, "mean difference %.3f, %.1f standard errors, better on %d of %d" % (
        better.mean(), z, (better > 0).sum(), len(better)))


status = results["images/status"][:]
correct = results["images/prediction"][:] == results["images/label"][:]
check("all done", len(status) == 64 and (status == 1).all(), "%d of %d" % ((status == 1).sum(), len(status)))
check("recognised", correct.mean() >= 0.9, "%d of %d" % (correct.sum(), len(correct)))
paired("deletion: DAVE below random", auc("random", "deletion") - auc("dave", "deletion"))
paired("insertion: DAVE above random", auc("dave", "insertion") - auc("random", "insertion"))
pixels = np.asarray(sheet.convert("RGB"))
check("contact sheet", pixels.shape[0] > 8 * 96 and pixels.shape[1] > 16 * 96 and pixels.std() > 20,
      "%d x %d, standard deviation %.0f" % (pixels.shape[1], pixels.shape[0], pixels.std()))
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(failed > 0)
