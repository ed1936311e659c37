#pragma once
// Is anybody watching?

namespace muster {

/// What is written to this descriptor is shown on a terminal. A launcher may give each rank a terminal of its
/// own and write to a file what comes out of it, as Open MPI's mpirun does: then it is the launcher's own
/// output that counts. False where that cannot be found out.
bool is_watched(int descriptor);

}  // namespace muster
