/* dave-replay: recomputes from recorded inputs what another implementation computed. */
#include "base/err.h"
#include "base/log.h"
#include "base/version.h"
#include "formats/h5.h"
#include "kernels/gemm.h"
#include "pipeline/replay.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: dave-replay INPUT.h5 [--model DIR] -o OUT.h5\n"
	"       dave-replay --image FILE --model DIR -o OUT.h5\n"
	"\n"
	"Recomputes from recorded inputs (weights or --model, images, warps, noise) what another\n"
	"implementation computed, and writes it under the same names. With --image: the pixels after\n"
	"resize and crop, the normalised input and the logits of one picture.\n"
	"\n"
	"  -m, --model DIR    checkpoint folder (config.json, model.safetensors)\n"
	"  -i, --image FILE   one picture instead of a recording\n"
	"  -o, --output FILE  what to write\n"
	"  -h, --help         this text\n"
	"  -V, --version      version and revision\n";

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"model", required_argument, NULL, 'm'},
		{"image", required_argument, NULL, 'i'}, {"output", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	const char *model = NULL, *image = NULL, *output = NULL;
	struct err err = {{0}};
	int o;

	while ((o = getopt_long(argc, argv, "m:i:o:hV", long_options, NULL)) != -1)
		switch (o) {
		case 'm':
			model = optarg;
			break;
		case 'i':
			image = optarg;
			break;
		case 'o':
			output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			printf("dave-replay %s (%s)\n", DAVE_EVAL_VERSION, version_revision());
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	if (!output || (image ? !model || optind != argc : optind + 1 != argc)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	h5_setup();
	gemm_set_threads(1);
	if (image ? replay_image(image, model, output, &err)
		  : replay_file(argv[optind], model, output, &err)) {
		log_error("%s", err.msg);
		return EXIT_RUN;
	}
	return 0;
}
