// The CUDA driver's interface on the CPU, for tests: memory of the device is malloc, all work is
// done at once. Fresh memory is filled with NaN. Environment variables choose what the machine has:
//   EMULATED_CUDA_INIT        what cuInit returns (0)
//   EMULATED_CUDA_VERSION     the supported CUDA version, 1000 * major + 10 * minor (12040)
//   EMULATED_CUDA_DEVICES     how many GPUs there are (1)
//   EMULATED_CUDA_CAPABILITY  their compute capability, 10 * major + minor (80)
//   EMULATED_CUDA_MEMORY      bytes of memory of each (4 GiB)
//   EMULATED_CUDA_LOG         prints how often each function was called, at the end
//   EMULATED_CUDA_LATE        1: copies, kernels and frees wait for the next synchronisation
//   EMULATED_CUDA_PROTECT     1: the host cannot touch memory of the device
//   EMULATED_CUDA_LEAKS       1: a process that has not freed all arrays ends with status 86
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fibers.h"

typedef int CUresult;
typedef unsigned long long CUdeviceptr;

namespace {

enum {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719
};

/// `cuDeviceGetAttribute`.
enum Attribute { WARP_SIZE = 10, PROCESSORS = 16, MAJOR = 75, MINOR = 76, MEMORY_POOLS = 115 };

size_t setting(const char* name, size_t standard) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : standard;
}

size_t memory() { return setting("EMULATED_CUDA_MEMORY", 4ull << 30); }

// never destroyed: other threads may call until the process is gone
std::mutex& mutex() {
  static auto& one = *new std::mutex;
  return one;
}

std::map<std::string, unsigned long>& counts() {
  static auto& all = *new std::map<std::string, unsigned long>;
  return all;
}

/// What has been launched, by kernel.
struct Launches {
  unsigned long count = 0, blocks = 0;
  double seconds = 0;
};

std::map<std::string, Launches>& launches() {
  static auto& all = *new std::map<std::string, Launches>;
  return all;
}

std::map<CUdeviceptr, size_t>& blocks() {
  static auto& all = *new std::map<CUdeviceptr, size_t>;
  return all;
}

size_t used = 0;

constexpr size_t PAGE = 4096;

/// Whole pages of memory that are closed to the host, in one reserved range.
class Arena {
 public:
  explicit Arena(size_t size) : size(size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* range = mmap(nullptr, size, PROT_NONE, flags, -1, 0);
    base = range == MAP_FAILED ? nullptr : static_cast<char*>(range);
    if (base) gaps[0] = size;
  }

  /// The first gap that is large enough; null if there is none.
  char* take(size_t bytes) {
    bytes = whole(bytes);
    for (auto gap = gaps.begin(); gap != gaps.end(); gap++) {
      if (gap->second < bytes) continue;
      auto [offset, length] = *gap;
      gaps.erase(gap);
      if (length > bytes) gaps[offset + bytes] = length - bytes;
      end = std::max(end, offset + bytes);
      return base + offset;
    }
    return nullptr;
  }

  void give_back(char* block, size_t bytes) {
    size_t offset = block - base;
    auto gap = gaps.emplace(offset, whole(bytes)).first;
    auto next = std::next(gap);
    if (next != gaps.end() && gap->first + gap->second == next->first) {
      gap->second += next->second;
      gaps.erase(next);
    }
    if (gap == gaps.begin()) return;
    auto before = std::prev(gap);
    if (before->first + before->second != gap->first) return;
    before->second += gap->second;
    gaps.erase(gap);
  }

  void open(bool on) { mprotect(base, end, on ? PROT_READ | PROT_WRITE : PROT_NONE); }

  bool has(const void* address) const { return base && size_t((const char*)address - base) < size; }

 private:
  static size_t whole(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

  char* base;
  size_t size;
  /// What has been used so far.
  size_t end = 0;
  std::map<size_t, size_t> gaps;
};

/// Says what the host has touched, and lets the process die of it.
void touched(int, siginfo_t* info, void*);

/// Null unless memory is protected.
Arena* arena() {
  static Arena* one = [] {
    if (setting("EMULATED_CUDA_PROTECT", 0) == 0) return static_cast<Arena*>(nullptr);
    struct sigaction action = {};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    return new Arena(memory());
  }();
  return one;
}

void touched(int, siginfo_t* info, void*) {
  const char text[] = "emulated: the host touches memory of the device\n";
  if (arena()->has(info->si_addr)) (void)!write(STDERR_FILENO, text, sizeof text - 1);
  signal(SIGSEGV, SIG_DFL);
}

/// Opens the memory of the device as long as it lives: while the device works.
struct Open {
  Open() {
    if (arena()) arena()->open(true);
  }
  ~Open() {
    if (arena()) arena()->open(false);
  }
};

/// After a kernel that failed, every call fails, as on a GPU.
CUresult lost = SUCCESS;

/// Sizes of the arguments of the kernels in a module, by name.
struct Module {
  std::map<std::string, size_t> entries;
};

/// Work that waits for a synchronisation, by stream, in the order of the calls.
std::map<void*, std::vector<std::function<void()>>>& waiting() {
  static auto& all = *new std::map<void*, std::vector<std::function<void()>>>;
  return all;
}

/// Does the work now, or at the next synchronisation of the stream.
void enqueue(void* stream, std::function<void()> work) {
  static bool late = setting("EMULATED_CUDA_LATE", 0) != 0;
  if (late)
    waiting()[stream].push_back(std::move(work));
  else {
    Open open;
    work();
  }
}

void finish(void* stream) {
  auto work = std::move(waiting()[stream]);
  waiting()[stream].clear();
  for (auto& one : work) {
    if (lost) return;
    Open open;
    one();
  }
}

struct AtExit {
  ~AtExit() {
    for (auto& [stream, work] : waiting()) finish(stream);
    if (getenv("EMULATED_CUDA_LOG")) {
      for (auto& [name, count] : counts())
        fprintf(stderr, "emulated %lu %s\n", count, name.c_str());
      for (auto& [name, of] : launches())
        fprintf(stderr, "emulated %lu launches, %lu blocks, %.3f s: %s\n", of.count, of.blocks,
                of.seconds, name.c_str());
    }
    if (setting("EMULATED_CUDA_LEAKS", 0) && !blocks().empty()) {
      fprintf(stderr, "emulated: %zu arrays with %zu bytes were not freed\n", blocks().size(),
              used);
      _exit(86);
    }
  }
} at_exit;

thread_local void* current_context = nullptr;
char contexts[16];

CUresult allocate(CUdeviceptr* pointer, size_t size) {
  if (size == 0) return INVALID_VALUE;
  if (used + size > memory()) return OUT_OF_MEMORY;
  void* block;
  if (arena()) {
    block = arena()->take(size);
    if (!block) return OUT_OF_MEMORY;
    // of exactly this size, so that a sanitizer sees the first byte too many
  } else if (posix_memalign(&block, 256, size)) {
    return OUT_OF_MEMORY;
  }
  {
    Open open;
    memset(block, 0xff, size);
  }
  *pointer = reinterpret_cast<CUdeviceptr>(block);
  blocks()[*pointer] = size;
  used += size;
  return SUCCESS;
}

CUresult release(CUdeviceptr pointer) {
  auto block = blocks().find(pointer);
  if (block == blocks().end()) return INVALID_VALUE;
  used -= block->second;
  if (arena())
    arena()->give_back(reinterpret_cast<char*>(pointer), block->second);
  else
    free(reinterpret_cast<void*>(pointer));
  blocks().erase(block);
  return SUCCESS;
}

void* at(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) CUresult
#define CALL                                  \
  std::lock_guard<std::mutex> guard(mutex()); \
  counts()[__func__]++;                       \
  if (lost) return lost

API cuInit(unsigned) {
  CALL;
  return int(setting("EMULATED_CUDA_INIT", SUCCESS));
}
API cuDriverGetVersion(int* version) {
  CALL;
  *version = int(setting("EMULATED_CUDA_VERSION", 12040));
  return SUCCESS;
}
API cuDeviceGetCount(int* count) {
  CALL;
  *count = int(setting("EMULATED_CUDA_DEVICES", 1));
  return SUCCESS;
}
API cuDeviceGet(int* device, int ordinal) {
  CALL;
  if (ordinal < 0 || ordinal >= int(setting("EMULATED_CUDA_DEVICES", 1))) return INVALID_DEVICE;
  *device = ordinal;
  return SUCCESS;
}
API cuDeviceGetName(char* name, int size, int device) {
  CALL;
  snprintf(name, size, "emulated GPU %d", device);
  return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t* bytes, int) {
  CALL;
  *bytes = memory();
  return SUCCESS;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
  CALL;
  int capability = int(setting("EMULATED_CUDA_CAPABILITY", 80));
  switch (attribute) {
    case WARP_SIZE: *value = 32; break;
    case PROCESSORS: *value = 2; break;
    case MAJOR: *value = capability / 10; break;
    case MINOR: *value = capability % 10; break;
    case MEMORY_POOLS: *value = 1; break;
    default: *value = 0;
  }
  return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void** context, int device) {
  CALL;
  *context = &contexts[device];
  return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) {
  CALL;
  return SUCCESS;
}
API cuCtxGetCurrent(void** context) {
  CALL;
  *context = current_context;
  return SUCCESS;
}
API cuCtxSetCurrent(void* context) {
  CALL;
  current_context = context;
  return SUCCESS;
}
API cuCtxSynchronize() {
  CALL;
  for (auto& [stream, work] : waiting()) finish(stream);
  return lost;
}
API cuDeviceGetDefaultMemPool(void** pool, int) {
  CALL;
  *pool = contexts;
  return SUCCESS;
}
API cuMemPoolSetAttribute(void*, int, void*) {
  CALL;
  return SUCCESS;
}
// The pool keeps nothing.
API cuMemPoolGetAttribute(void*, int, void* value) {
  CALL;
  *static_cast<unsigned long long*>(value) = 0;
  return SUCCESS;
}
API cuMemPoolTrimTo(void*, size_t) {
  CALL;
  return SUCCESS;
}
API cuStreamCreate(void** stream, unsigned) {
  CALL;
  *stream = malloc(1);
  return SUCCESS;
}
API cuStreamDestroy_v2(void* stream) {
  CALL;
  free(stream);
  return SUCCESS;
}
API cuStreamSynchronize(void* stream) {
  CALL;
  finish(stream);
  return lost;
}
API cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
  CALL;
  return allocate(pointer, size);
}
API cuMemAllocAsync(CUdeviceptr* pointer, size_t size, void*) {
  CALL;
  return allocate(pointer, size);
}
API cuMemFree_v2(CUdeviceptr pointer) {
  CALL;
  return release(pointer);
}
API cuMemFreeAsync(CUdeviceptr pointer, void* stream) {
  CALL;
  if (!blocks().count(pointer)) return INVALID_VALUE;
  enqueue(stream, [=] { release(pointer); });
  return SUCCESS;
}
API cuMemHostAlloc(void** memory, size_t size, unsigned) {
  CALL;
  *memory = malloc(size);
  return *memory ? SUCCESS : OUT_OF_MEMORY;
}
API cuMemHostGetDevicePointer_v2(CUdeviceptr* pointer, void* memory, unsigned) {
  CALL;
  *pointer = reinterpret_cast<CUdeviceptr>(memory);
  return SUCCESS;
}
API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, void* stream) {
  CALL;
  enqueue(stream, [=] { memset(at(to), value, size); });
  return SUCCESS;
}
// Pageable memory of the host may still be read after the call, as CUDA's documentation says.
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, void* stream) {
  CALL;
  enqueue(stream, [=] { memcpy(at(to), from, size); });
  return SUCCESS;
}
API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, void* stream) {
  CALL;
  enqueue(stream, [=] { memcpy(to, at(from), size); });
  return SUCCESS;
}
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, void* stream) {
  CALL;
  enqueue(stream, [=] { memcpy(at(to), at(from), size); });
  return SUCCESS;
}
API cuMemGetInfo_v2(size_t* available, size_t* total) {
  CALL;
  *total = memory();
  *available = memory() - used;
  return SUCCESS;
}

// The kernels and the sizes of their arguments, as the module's PTX declares them:
// `.entry NAME( .param .align 8 .b8 NAME_param_0[176] )`.
API cuModuleLoadData(void** result, const void* image) {
  CALL;
  std::string ptx = static_cast<const char*>(image);
  if (ptx.find(".version") == std::string::npos) return INVALID_IMAGE;
  auto module = new Module;
  for (size_t at = 0; (at = ptx.find(".entry ", at)) != std::string::npos;) {
    at += 7;
    size_t open = ptx.find('(', at), close = ptx.find(')', open), bracket = ptx.find('[', open);
    size_t size = bracket < close ? strtoul(&ptx[bracket + 1], nullptr, 10) : 0;
    module->entries[ptx.substr(at, open - at)] = size;
  }
  *result = module;
  return SUCCESS;
}
API cuModuleUnload(void* module) {
  CALL;
  delete static_cast<Module*>(module);
  return SUCCESS;
}
API cuModuleGetFunction(void** function, void* module, const char* name) {
  CALL;
  auto& entries = static_cast<Module*>(module)->entries;
  auto entry = entries.find(name);
  auto kernel = emulated::kernels().find(name);
  if (entry == entries.end() || kernel == emulated::kernels().end()) return NOT_FOUND;
  if (entry->second != kernel->second.size) {
    fprintf(stderr, "emulated: the argument of %s has %zu bytes in PTX, %zu in C++\n", name,
            entry->second, kernel->second.size);
    return INVALID_IMAGE;
  }
  *function = &kernel->second;
  return SUCCESS;
}
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void* stream, void**, void** extra) {
  CALL;
  auto& kernel = *static_cast<emulated::Kernel*>(function);
  bool fits =
      gx && gy && gz && gy <= 65535 && gz <= 65535 && bx && by && bz && bx * by * bz <= 1024;
  if (!fits || shared > 166912 || !extra) return INVALID_VALUE;
  // CU_LAUNCH_PARAM_BUFFER_POINTER, _BUFFER_SIZE, _END
  if (extra[0] != reinterpret_cast<void*>(1) || extra[2] != reinterpret_cast<void*>(2))
    return INVALID_VALUE;
  size_t size = *static_cast<size_t*>(extra[3]);
  if (size != kernel.size) {
    fprintf(stderr, "emulated: %s takes %zu bytes, got %zu\n", kernel.name, kernel.size, size);
    return INVALID_VALUE;
  }
  // aligned as the struct is, and of its own, so that a sanitizer sees reads beyond it
  std::shared_ptr<void> args(aligned_alloc(16, (size + 15) / 16 * 16), free);
  memcpy(args.get(), extra[1], size);
  launches()[kernel.name].count++;
  enqueue(stream, [=, &kernel] {
    auto start = std::chrono::steady_clock::now();
    dim3 grid = {gx, gy, gz}, block = {bx, by, bz};
    std::string error = emulated::run_grid(kernel, args.get(), grid, block, shared);
    std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    auto& of = launches()[kernel.name];
    of.blocks += gx * gy * gz, of.seconds += time.count();
    if (!error.empty()) {
      fprintf(stderr, "emulated: %s\n", error.c_str());
      lost = LAUNCH_FAILED;
    }
  });
  return SUCCESS;  // a GPU tells at the next call that waits
}
API cuGetErrorName(CUresult error, const char** text) {
  *text = error == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : "EMULATED";
  return SUCCESS;
}
API cuGetErrorString(CUresult error, const char** text) {
  *text = error == OUT_OF_MEMORY ? "out of memory" : "an error of the emulated driver";
  return SUCCESS;
}
