#include "launch/main.h"

int main(int argc, char** argv) { return muster::main(argc, argv); }
