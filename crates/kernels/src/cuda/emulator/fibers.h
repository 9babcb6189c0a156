// The kernels that are compiled into the driver, and how a grid of one runs.
#pragma once
#include <map>
#include <string>

#include "shim.h"

namespace emulated {
/// All kernels, by name.
std::map<std::string, Kernel>& kernels();

/// Runs all blocks, one after another. Returns what went wrong; empty if nothing did. The caller
/// lets one grid run at a time.
std::string run_grid(const Kernel& kernel, const void* args, dim3 grid, dim3 block,
                     unsigned dynamic_bytes);
}  // namespace emulated
