"""One line per check, a count at the end, exit status 1 if anything failed: shared by the comparison scripts."""
import numpy as np


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, error, bar, note="", at_least=False):
        """error <= bar passes (or error >= bar with at_least). A NaN fails either way."""
        ok = bool(error >= bar) if at_least else bool(error <= bar)
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        sign = ">=" if at_least else "<="
        print(f"{name:34s} {error:11.4g} {sign} {bar:<9.3g} {'ok  ' if ok else 'FAIL'} {note}".rstrip())
        return ok

    def fail(self, name, why):
        self.failed += 1
        print(f"{name:34s} {'':11s}    {'':9s} FAIL {why}")

    def skip(self, name, why):
        self.skipped += 1
        print(f"{name:34s} {'':11s}    {'':9s} skip {why}")

    def fetch(self, group, name, shape, label=None):
        """The dataset as float64, or None after reporting why it cannot be used."""
        label = label or name
        if name not in group:
            return self.fail(label, "missing dataset")
        if group[name].shape != tuple(shape):
            return self.fail(label, f"shape {group[name].shape}, expected {tuple(shape)}")
        a = np.asarray(group[name][()], np.float64)
        if not np.isfinite(a).all():
            return self.fail(label, f"{int((~np.isfinite(a)).sum())} values are not finite")
        return a

    def finish(self):
        if self.passed + self.failed == 0:              # a comparison that compared nothing has not passed
            self.fail("nothing", "no check was made")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0
