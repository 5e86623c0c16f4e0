/* The contact sheet of a results file: what dave-sheet does. */
#ifndef PIPELINE_SHEET_H
#define PIPELINE_SHEET_H

#include "base/err.h"

/* Writes a PNG of images beside their first method's maps, `columns` pairs a row, at most `most` images,
 * those that are done. model and data_root replace the checkpoint folder and the folder of images that the
 * file names, where not NULL. A picture that cannot be read is left white, with a warning. */
int contact_sheet(const char *results, const char *model, const char *data_root, const char *output,
	int columns, int most, struct err *err);

#endif
