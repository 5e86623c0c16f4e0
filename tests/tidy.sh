#!/usr/bin/env bash
# Static analysis: clang-tidy and cppcheck over the sources. Prints what they find; see tests/README.md for what is
# accepted and why.
set -u
cd "$(dirname "$0")/.." || exit 1
flags="-std=gnu11 -D_GNU_SOURCE -Iinclude $(pkg-config --cflags ompi-c hdf5-openmpi openblas jansson yaml-0.1 libpng | sed 's/-I/-isystem /g')"
checks='-*,bugprone-*,clang-analyzer-*,performance-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier'
checks+=',-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-bugprone-narrowing-conversions'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-implicit-widening-of-multiplication-result'
checks+=',-clang-analyzer-optin.performance.Padding,-bugprone-macro-parentheses,-bugprone-suspicious-string-compare'
checks+=',-clang-analyzer-valist.Uninitialized,-clang-analyzer-security.insecureAPI.strcpy,-performance-no-int-to-ptr'
clang-tidy --quiet --checks="$checks" $(git ls-files 'src/*.c') -- $flags 2>/dev/null | grep -E 'warning:|error:'
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
	-D_GNU_SOURCE -Iinclude $(git ls-files 'src/*.c') 2>&1
