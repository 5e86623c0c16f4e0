/* What this build is. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define DAVE_EVAL_VERSION "0.4.0"

/* Short git revision that was built, with "-dirty" where the tree had changes; "unknown" outside git. */
const char *version_revision(void);

#endif
