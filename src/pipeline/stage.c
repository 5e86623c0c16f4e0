#include "pipeline/stage.h"

#include "base/clock.h"

const char *const stage_names[STAGES] = {"decode", "attribution", "metrics", "write", "wait"};

void stage_charge(double seconds[STAGES], enum stage stage, double *since)
{
	double now = clock_seconds();

	seconds[stage] += now - *since;
	*since = now;
}
