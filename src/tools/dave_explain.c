/* dave-explain: one image, a heat map over the picture. */
#include "base/log.h"
#include "base/num.h"
#include "base/version.h"
#include "kernels/gemm.h"
#include "pipeline/explain.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: dave-explain --model DIR [--class N] [--method dave] IMAGE -o MAP.png\n"
	"\n"
	"Explains one decision of a Vision Transformer: prints the five most probable classes and writes a "
	"heat\n"
	"map over the picture (resized and cropped as the model sees it).\n"
	"\n"
	"  -m, --model DIR      checkpoint folder (config.json, model.safetensors, as timm or transformers "
	"publish "
	"them)\n"
	"  -c, --class N        explain class N; default: the prediction\n"
	"  -M, --method NAME    attribution method; default dave\n"
	"  -s, --set KEY=VALUE  a parameter of the method (see dave-eval --help); DAVE's alpha is per "
	"model:\n"
	"                       ViT-S 0.1, ViT-B 0.3, DeiT-S and DeiT-III-S 0.5, DeiT-B 0.7, DeiT-III-B "
	"0.9;\n"
	"                       or model.head=FILE, model.head_input=..., model.input_size=... of a network\n"
	"  -L, --labels FILE    class names, one a line, for the printed list\n"
	"  -o, --output FILE    PNG to write\n"
	"  -h, --help           this text\n"
	"  -V, --version        version and revision\n";

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"model", required_argument, NULL, 'm'},
		{"class", required_argument, NULL, 'c'}, {"method", required_argument, NULL, 'M'},
		{"set", required_argument, NULL, 's'}, {"labels", required_argument, NULL, 'L'},
		{"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	const char *sets[32];
	struct explain_options e = {.method = "dave", .target = -1, .sets = sets};
	struct err err = {{0}};
	long target;
	int o, bad = 0;

	while ((o = getopt_long(argc, argv, "m:c:M:s:L:o:hV", long_options, NULL)) != -1)
		switch (o) {
		case 'm':
			e.model = optarg;
			break;
		case 'c':
			bad |= !num_parse_long(&target, optarg) || target < 0 || target > 1 << 24;
			e.target = (int)target;
			break;
		case 'M':
			e.method = optarg;
			break;
		case 's':
			bad |= e.sets_count == 32;
			if (e.sets_count < 32)
				sets[e.sets_count++] = optarg;
			break;
		case 'L':
			e.labels = optarg;
			break;
		case 'o':
			e.output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			printf("dave-explain %s (%s)\n", DAVE_EVAL_VERSION, version_revision());
			return 0;
		default:
			bad = 1;
		}
	if (bad || !e.model || !e.output || optind + 1 != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	e.image = argv[optind];
	gemm_set_threads(1);
	if (explain(&e, &err)) {
		log_error("%s", err.msg);
		return EXIT_RUN;
	}
	printf("%s\n", e.output);
	return 0;
}
