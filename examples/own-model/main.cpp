// Every muster command, plus the models of this program.
#include <muster/launch/main.h>

int main(int argc, char** argv) { return muster::main(argc, argv); }
