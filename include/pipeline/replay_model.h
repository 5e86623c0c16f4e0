/* The network of a recording. */
#ifndef PIPELINE_REPLAY_MODEL_H
#define PIPELINE_REPLAY_MODEL_H

#include "model/vit.h"

/* The network that the recording `in` (the open file `input`) was made with: from the checkpoint folder
 * `dir`, at the size of the data set x and with the head that the attributes head_file and head_input name;
 * or, where dir is NULL, from the recorded weights w/ and the attributes. */
int replay_load(struct vit *vit, int64_t in, const char *input, const char *dir, struct err *err);

#endif
