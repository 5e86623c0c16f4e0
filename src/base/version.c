#include "base/version.h"

#ifndef GIT_REVISION /* the Makefile gives it to this file alone */
#define GIT_REVISION "unknown"
#endif

const char *version_revision(void)
{
	return GIT_REVISION;
}
