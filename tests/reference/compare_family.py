"""Compares what `dave-replay GOLDEN.h5 --model FOLDER -o OUT.h5` wrote with the golden of a family.

  compare_family.py GOLDEN.h5 OUT.h5

logits, both gradients: 2e-5 of the largest magnitude. account (pixels, prefix tokens, positions, biases; for B-cos its fixed bias is
among the biases): each part 2e-5 of the sum of magnitudes, and the parts sum to the logit within 1e-4 of it (and 1e-5 of the sum
of magnitudes, which may be far larger).
"""
import sys

import h5py
import numpy as np

from checks import Report


def main(golden_path, out_path):
    report = Report()
    with h5py.File(golden_path) as golden, h5py.File(out_path) as out:
        name = golden.attrs['family'].decode() + ' '
        for key in 'logits', 'plain_grad', 'weff_clean':
            want, got = golden[key][...], out[key][...]
            report.check(name + key, np.abs(got - want).max() / np.abs(want).max(), 2e-5)
        want, got = golden['account'][...], out['account'][...].astype(float)
        if name.startswith('tf_dinov2_reg'):  # the reference counts the position of the class token with the token
            want, got = (np.stack([a[:, 0], a[:, 1] + a[:, 2], a[:, 3]], 1) for a in (want, got))
        size = np.abs(want).sum(1)
        report.check(name + 'account', (np.abs(got - want).max(1) / size).max(), 2e-5)
        logit = golden['logits'][...][np.arange(len(want)), golden['y'][...]]
        off = np.abs(got.sum(1) - logit)
        report.check(name + 'account sums to the logit', (off / (1e-4 * np.abs(logit) + 1e-5 * size)).max(), 1)
    return report.finish()


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
