/* Where the time of a run goes. */
#ifndef PIPELINE_STAGE_H
#define PIPELINE_STAGE_H

enum stage {
	STAGE_DECODE,      /* reading, decoding and preprocessing the image */
	STAGE_ATTRIBUTION, /* methods, and the first forward pass */
	STAGE_METRICS,
	STAGE_WRITE, /* rows to the results file, to the disk */
	STAGE_WAIT,  /* for the next image, and for the other ranks at the end */
	STAGES
};

/* "decode", ... */
extern const char *const stage_names[STAGES];

/* Adds the time since *since (clock_seconds()) to a stage, and sets *since to now. */
void stage_charge(double seconds[STAGES], enum stage stage, double *since);

#endif
