/* ostrakon: talks to a network of nodes, and checks what they say. */
#include "tools/cli/cli.h"
#include "tools/cli/http.h"

int main(int argc, char **argv)
{
	interrupt_install();
	http_start();
	return cli_main(argc - 1, argv + 1, stdout, stderr);
}
