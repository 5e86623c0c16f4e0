/* dave-sheet: the contact sheet of a results file. */
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "base/version.h"
#include "formats/h5.h"
#include "pipeline/sheet.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: dave-sheet RESULTS.h5 -o SHEET.png [--model DIR] [--data DIR] [--columns N] [--most N]\n"
	"\n"
	"Images beside the maps of the first method of a results file, also while the run is going.\n"
	"\n"
	"  -o, --output FILE  PNG to write\n"
	"  -m, --model DIR    checkpoint folder, if it has moved\n"
	"  -d, --data DIR     folder of the images, if it has moved\n"
	"  -c, --columns N    pairs of image and map in a row; default 8\n"
	"  -n, --most N       at most so many images; default 64\n"
	"  -h, --help         this text\n"
	"  -V, --version      version and revision\n";

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"output", required_argument, NULL, 'o'},
		{"data", required_argument, NULL, 'd'}, {"model", required_argument, NULL, 'm'},
		{"columns", required_argument, NULL, 'c'}, {"most", required_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	const char *output = NULL, *data = NULL, *model = NULL;
	long columns = 8, most = 64;
	struct err err = {{0}};
	int o, bad = 0;

	while ((o = getopt_long(argc, argv, "o:m:d:c:n:hV", long_options, NULL)) != -1)
		switch (o) {
		case 'o':
			output = optarg;
			break;
		case 'm':
			model = optarg;
			break;
		case 'd':
			data = optarg;
			break;
		case 'c':
			bad |= !num_parse_long(&columns, optarg) || columns < 1 || columns > 100;
			break;
		case 'n':
			bad |= !num_parse_long(&most, optarg) || most < 1 || most > 10000;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			printf("dave-sheet %s (%s)\n", DAVE_EVAL_VERSION, version_revision());
			return 0;
		default:
			bad = 1;
		}
	if (bad || !output || optind + 1 != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	h5_setup();
	if (contact_sheet(argv[optind], model, data, output, (int)columns, (int)most, &err)) {
		log_error("%s", err.msg);
		return EXIT_RUN;
	}
	return 0;
}
