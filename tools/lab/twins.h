/* ostrakon-lab twins. */
#ifndef TOOLS_LAB_TWINS_H
#define TOOLS_LAB_TWINS_H

int lab_twins(int argc, char **argv); /* argv[0]: the verb; exit code */

#endif
