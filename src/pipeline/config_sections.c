/* The plain sections of a configuration: a row per key. */
#include "pipeline/config.h"

#define AT(field) offsetof(struct config, field)

static const struct option_row run_options[] = {
	{"output", OPT_PATH, AT(run.output), NULL, 0, 0, NULL, "results file (HDF5)"},
	{"seed", OPT_U64, AT(run.seed), "0", 0, 0, NULL,
		"of everything random; a result is a function of it"},
	OPTION_END};
static const struct option_row model_options[] = {
	{"path", OPT_PATH, AT(model.path), NULL, 0, 0, NULL,
		"checkpoint folder: config.json and model.safetensors, as timm or transformers publish them"},
	{"head", OPT_PATH, AT(model.head), "", 0, 0, NULL,
		"safetensors file of a linear head (matrix and bias) for a network without one, as DINO is "
		"evaluated; of one width: the class token, of two: class token and mean patch"},
	{"head_input", OPT_CHOICE, AT(model.head_input), "auto", 0, 0, "auto|avg|interleaved",
		"what model.head takes: auto (one width: the class token; two: class token, then mean "
		"patch), avg "
		"(the mean patch), interleaved (both number by number, as DINO's own evaluation saves it)"},
	{"input_size", OPT_STRING, AT(model.input_size), "auto", 0, 0, NULL,
		"of the images, pixels: auto (the checkpoint's own), one number, or HEIGHTxWIDTH; the "
		"positional table "
		"is resampled as timm does, or transformers for its checkpoints"},
	OPTION_END};
static const struct option_row data_options[] = {{"path", OPT_PATH, AT(data.path), NULL, 0, 0, NULL,
							 "folder of class folders, list file of lines `path "
							 "label`, or tar shards (WebDataset): a .tar, "
							 "a folder of them, a list file of their paths"},
	{"classes", OPT_PATH, AT(data.classes), "", 0, 0, NULL,
		"file of class names, one a line, in index order: of the class folders (default: sorted "
		"position), or, beside a list or shards, what data.boxes calls the classes"},
	{"boxes", OPT_PATH, AT(data.boxes), "", 0, 0, NULL,
		"where the objects are: a CSV file (`ImageId,PredictionString`), or a folder of XML files or "
		"PNG masks; for the metrics that need a region"},
	{"target", OPT_STRING, AT(data.target), "label", 0, 0, NULL,
		"class to explain: label, prediction, or an index"},
	{"limit", OPT_INT, AT(data.limit), "0", 0, 2147483647, NULL, "only the first images (0: all)"},
	OPTION_END};
static const struct option_row engine_options[] = {
	{"batch", OPT_AUTO, AT(engine.batch), "auto", 1, 1024, NULL,
		"images per pass; the last bits of results depend on it; auto depends on the model alone"},
	{"threads", OPT_INT, AT(engine.threads), "1", 1, 1024, NULL,
		"BLAS threads per rank; one rank per core is faster"},
	OPTION_END};
static const struct option_row store_options[] = {
	{"maps", OPT_CHOICE, AT(store.maps), "float16", 0, 0, "none|float16|float32",
		"type of the stored maps (largest magnitude 1, beside a float64 scale)"},
	{"raw", OPT_BOOL, AT(store.raw), "false", 0, 0, NULL,
		"also the raw signed maps before post-processing, float32"},
	OPTION_END};

const struct config_section config_sections[] = {
	{"run", "the run itself", run_options},
	{"model", "what is explained", model_options},
	{"data", "the images", data_options},
	{"engine", "how passes are computed", engine_options},
	{"store", "what is kept", store_options},
	{NULL, NULL, NULL},
};
