// The CUDA driver's interface on the CPU, for tests: memory of a device is malloc, and work is done
// within the call that starts it, or late. Fresh memory is filled with NaN. Devices are kept apart:
// calls need the current context of the stream's device. Environment variables choose what the
// machine has:
//   EMULATED_CUDA_INIT        what cuInit returns (0)
//   EMULATED_CUDA_VERSION     the supported CUDA version, 1000 * major + 10 * minor (12040)
//   EMULATED_CUDA_DEVICES     how many GPUs there are (1)
//   EMULATED_CUDA_CAPABILITY  their compute capability, 10 * major + minor (80); with commas, that
//                             of each
//   EMULATED_CUDA_MEMORY      bytes of memory of each (4 GiB)
//   EMULATED_CUDA_LOG         prints calls and bytes of each function, at the end
//   EMULATED_CUDA_FAIL        a function that fails, or a kernel that ends its context
//   EMULATED_CUDA_LATE        1: copies, kernels and frees wait for the next synchronisation;
//                             2: streams are never synchronised, to show what a missing call does
//   EMULATED_CUDA_PROTECT     1: the host cannot touch memory of a device, nor can another device
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
#include <set>
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
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719,
  UNKNOWN = 999
};

/// `cuDeviceGetAttribute`.
enum Attribute { WARP_SIZE = 10, PROCESSORS = 16, MAJOR = 75, MINOR = 76, MEMORY_POOLS = 115 };

/// `cuMemPoolGetAttribute`.
enum PoolAttribute { RELEASE_THRESHOLD = 4, RESERVED = 5, USED = 7 };

size_t setting(const char* name, size_t standard) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : standard;
}

size_t memory() { return setting("EMULATED_CUDA_MEMORY", 4ull << 30); }

int device_count() { return int(setting("EMULATED_CUDA_DEVICES", 1)); }

/// The compute capability of a device: that at its place in the list, or the last one.
int capability(int device) {
  const char* text = getenv("EMULATED_CUDA_CAPABILITY");
  if (!text) return 80;
  for (const char* comma; device-- > 0 && (comma = strchr(text, ','));) text = comma + 1;
  return atoi(text);
}

/// Whether this function or kernel is to fail.
bool fails(const char* name) {
  const char* text = getenv("EMULATED_CUDA_FAIL");
  return text && !strcmp(text, name);
}

/// Whether work waits for a synchronisation, and whether it waits for ever.
bool late() {
  static bool is = setting("EMULATED_CUDA_LATE", 0) != 0;
  return is;
}
bool never() {
  static bool is = setting("EMULATED_CUDA_LATE", 0) == 2;
  return is;
}

// never destroyed: other threads may call until the process is gone
std::mutex& mutex() {
  static auto& one = *new std::mutex;
  return one;
}

/// Calls of a function, and the bytes that it has copied.
struct Calls {
  unsigned long count = 0, bytes = 0;
};

std::map<std::string, Calls>& calls() {
  static auto& all = *new std::map<std::string, Calls>;
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

/// Says that memory of a device was touched, and lets the process die of it.
void touched(int, siginfo_t* info, void*);

/// A device, and its primary context.
struct Device {
  int index;
  /// Bytes of the blocks in use.
  size_t used = 0;
  /// Sizes of the blocks that the pool keeps, and their sum.
  std::multiset<size_t> kept;
  size_t kept_bytes = 0;
  /// What the pool may keep at a synchronisation.
  unsigned long long threshold = 0;
  /// After a kernel that failed, every call of the context fails, as on a GPU.
  CUresult lost = SUCCESS;
  /// Null unless memory is protected.
  Arena* arena = nullptr;

  /// Lets the pool keep `most` bytes at most.
  void trim(size_t most) {
    while (kept_bytes > most) {
      kept_bytes -= *kept.begin();
      kept.erase(kept.begin());
    }
  }
};

std::vector<Device>& devices() {
  static auto& all = *[] {
    auto all = new std::vector<Device>;
    bool protect = setting("EMULATED_CUDA_PROTECT", 0) != 0;
    for (int index = 0; index < device_count(); index++) {
      Device device;
      device.index = index;
      if (protect) device.arena = new Arena(memory());
      all->push_back(std::move(device));
    }
    struct sigaction action = {};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO;
    if (protect) sigaction(SIGSEGV, &action, nullptr);
    return all;
  }();
  return all;
}

void touched(int, siginfo_t* info, void*) {
  const char text[] = "emulated: the host, or another device, touches memory of a device\n";
  for (auto& device : devices())
    if (device.arena->has(info->si_addr)) (void)!write(STDERR_FILENO, text, sizeof text - 1);
  signal(SIGSEGV, SIG_DFL);
}

/// Opens the memory of a device as long as it lives: while the device works.
struct Open {
  Arena* arena;
  explicit Open(Device& device) : arena(device.arena) {
    if (arena) arena->open(true);
  }
  ~Open() {
    if (arena) arena->open(false);
  }
};

/// A block of memory. That of the pool is kept for later blocks when it is freed.
struct Block {
  size_t size;
  Device* device;
  bool of_pool;
};

std::map<CUdeviceptr, Block>& blocks() {
  static auto& all = *new std::map<CUdeviceptr, Block>;
  return all;
}

/// A kernel in a module of one device.
struct Function {
  emulated::Kernel* kernel;
  Device* device;
};

/// Sizes of the arguments of the kernels in a module, by name, and those that were asked for.
struct Module {
  Device* device;
  std::map<std::string, size_t> entries;
  std::map<std::string, Function> functions;
};

/// A stream, with the work that waits for a synchronisation, in the order of the calls.
struct Stream {
  Device* device;
  std::vector<std::function<void()>> waiting;

  /// Does the work now, or at the next synchronisation.
  void enqueue(std::function<void()> work) {
    if (late()) {
      waiting.push_back(std::move(work));
    } else {
      Open open(*device);
      work();
    }
  }

  void finish() {
    auto work = std::move(waiting);
    waiting.clear();
    for (auto& one : work) {
      if (device->lost) return;
      Open open(*device);
      one();
    }
  }
};

std::set<Stream*>& streams() {
  static auto& all = *new std::set<Stream*>;
  return all;
}

struct AtExit {
  ~AtExit() {
    for (auto* stream : streams())
      if (!never()) stream->finish();
    if (getenv("EMULATED_CUDA_LOG")) {
      for (auto& [name, of] : calls())
        fprintf(stderr, "emulated %lu %s, %lu bytes\n", of.count, name.c_str(), of.bytes);
      for (auto& [name, of] : launches())
        fprintf(stderr, "emulated %lu launches, %lu blocks, %.3f s: %s\n", of.count, of.blocks,
                of.seconds, name.c_str());
    }
    if (setting("EMULATED_CUDA_LEAKS", 0) && !blocks().empty()) {
      size_t bytes = 0;
      for (auto& [_, block] : blocks()) bytes += block.size;
      fprintf(stderr, "emulated: %zu arrays with %zu bytes were not freed\n", blocks().size(),
              bytes);
      _exit(86);
    }
  }
} at_exit;

/// The device whose context is current on this thread.
thread_local Device* current = nullptr;

CUresult allocate(CUdeviceptr* pointer, size_t size, bool of_pool) {
  auto& device = *current;
  if (size == 0) return INVALID_VALUE;
  // the pool gives a block of just this size again; others stay until they are trimmed
  auto again = of_pool ? device.kept.find(size) : device.kept.end();
  if (again != device.kept.end()) {
    device.kept.erase(again);
    device.kept_bytes -= size;
  } else {
    if (device.used + device.kept_bytes + size > memory()) return OUT_OF_MEMORY;
    calls()["blocks from the system"].count++;
    calls()["blocks from the system"].bytes += size;
  }
  void* block;
  if (device.arena) {
    block = device.arena->take(size);
    if (!block) return OUT_OF_MEMORY;
    // of exactly this size, so that a sanitizer sees the first byte too many
  } else if (posix_memalign(&block, 256, size)) {
    return OUT_OF_MEMORY;
  }
  {
    Open open(device);
    memset(block, 0xff, size);
  }
  *pointer = reinterpret_cast<CUdeviceptr>(block);
  blocks()[*pointer] = {size, &device, of_pool};
  device.used += size;
  return SUCCESS;
}

void release(CUdeviceptr pointer) {
  auto block = blocks().find(pointer);
  auto [size, device, of_pool] = block->second;
  device->used -= size;
  if (of_pool) {
    device->kept.insert(size);
    device->kept_bytes += size;
  }
  if (device->arena)
    device->arena->give_back(reinterpret_cast<char*>(pointer), size);
  else
    free(reinterpret_cast<void*>(pointer));
  blocks().erase(block);
}

void* at(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }

/// Whether these bytes are in one block of the device.
bool is_inside(CUdeviceptr pointer, size_t size, const Device* device) {
  auto after = blocks().upper_bound(pointer);
  if (after == blocks().begin()) return false;
  auto& [start, block] = *std::prev(after);
  return block.device == device && pointer + size <= start + block.size;
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) CUresult
#define CALL                                  \
  std::lock_guard<std::mutex> guard(mutex()); \
  calls()[__func__].count++;                  \
  if (fails(__func__)) return UNKNOWN
#define CONTEXT                         \
  CALL;                                 \
  if (!current) return INVALID_CONTEXT; \
  if (current->lost) return current->lost
#define STREAM(handle)                                 \
  CONTEXT;                                             \
  auto* stream = static_cast<Stream*>(handle);         \
  if (!streams().count(stream)) return INVALID_HANDLE; \
  if (stream->device != current) return INVALID_CONTEXT
#define COPIED(size) calls()[__func__].bytes += size

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
  *count = device_count();
  return SUCCESS;
}
API cuDeviceGet(int* device, int ordinal) {
  CALL;
  if (ordinal < 0 || ordinal >= device_count()) return INVALID_DEVICE;
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
API cuDeviceGetAttribute(int* value, int attribute, int device) {
  CALL;
  switch (attribute) {
    case WARP_SIZE: *value = 32; break;
    case PROCESSORS: *value = 2; break;
    case MAJOR: *value = capability(device) / 10; break;
    case MINOR: *value = capability(device) % 10; break;
    case MEMORY_POOLS: *value = 1; break;
    default: *value = 0;
  }
  return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void** context, int device) {
  CALL;
  *context = &devices()[device];
  return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) {
  CALL;
  return SUCCESS;
}
API cuCtxGetCurrent(void** context) {
  CALL;
  *context = current;
  return SUCCESS;
}
API cuCtxSetCurrent(void* context) {
  CALL;
  current = static_cast<Device*>(context);
  return SUCCESS;
}
API cuCtxSynchronize() {
  CONTEXT;
  for (auto* stream : streams())
    if (stream->device == current) stream->finish();
  current->trim(current->threshold);
  return current->lost;
}
API cuDeviceGetDefaultMemPool(void** pool, int device) {
  CALL;
  *pool = &devices()[device];
  return SUCCESS;
}
API cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
  CALL;
  if (attribute != RELEASE_THRESHOLD) return INVALID_VALUE;
  static_cast<Device*>(pool)->threshold = *static_cast<unsigned long long*>(value);
  return SUCCESS;
}
API cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
  CALL;
  auto& device = *static_cast<Device*>(pool);
  auto& bytes = *static_cast<unsigned long long*>(value);
  switch (attribute) {
    case RELEASE_THRESHOLD: bytes = device.threshold; break;
    case RESERVED: bytes = device.used + device.kept_bytes; break;
    case USED: bytes = device.used; break;
    default: return INVALID_VALUE;
  }
  return SUCCESS;
}
API cuMemPoolTrimTo(void* pool, size_t least) {
  CALL;
  auto& device = *static_cast<Device*>(pool);
  device.trim(std::max(least, device.used) - device.used);
  return SUCCESS;
}
API cuStreamCreate(void** stream, unsigned) {
  CONTEXT;
  *stream = *streams().insert(new Stream{current, {}}).first;
  return SUCCESS;
}
API cuStreamDestroy_v2(void* handle) {
  STREAM(handle);
  streams().erase(stream);
  delete stream;
  return SUCCESS;
}
API cuStreamSynchronize(void* handle) {
  STREAM(handle);
  if (never()) return SUCCESS;
  stream->finish();
  current->trim(current->threshold);
  return current->lost;
}
API cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
  CONTEXT;
  return allocate(pointer, size, false);
}
API cuMemAllocAsync(CUdeviceptr* pointer, size_t size, void* handle) {
  STREAM(handle);
  return allocate(pointer, size, true);
}
API cuMemFree_v2(CUdeviceptr pointer) {
  CONTEXT;
  if (!blocks().count(pointer)) return INVALID_VALUE;
  release(pointer);
  return SUCCESS;
}
API cuMemFreeAsync(CUdeviceptr pointer, void* handle) {
  STREAM(handle);
  if (!blocks().count(pointer)) return INVALID_VALUE;
  stream->enqueue([=] { release(pointer); });
  return SUCCESS;
}
API cuMemHostAlloc(void** memory, size_t size, unsigned) {
  CONTEXT;
  *memory = malloc(size);
  return *memory ? SUCCESS : OUT_OF_MEMORY;
}
API cuMemHostGetDevicePointer_v2(CUdeviceptr* pointer, void* memory, unsigned) {
  CONTEXT;
  *pointer = reinterpret_cast<CUdeviceptr>(memory);
  return SUCCESS;
}
API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, void* handle) {
  STREAM(handle);
  if (!is_inside(to, size, current)) return INVALID_VALUE;
  stream->enqueue([=] { memset(at(to), value, size); });
  return SUCCESS;
}
// Pageable memory of the host may still be read after the call, as CUDA's documentation says.
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, void* handle) {
  STREAM(handle);
  if (!is_inside(to, size, current)) return INVALID_VALUE;
  COPIED(size);
  stream->enqueue([=] { memcpy(at(to), from, size); });
  return SUCCESS;
}
API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, void* handle) {
  STREAM(handle);
  if (!is_inside(from, size, current)) return INVALID_VALUE;
  COPIED(size);
  stream->enqueue([=] { memcpy(to, at(from), size); });
  return SUCCESS;
}
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, void* handle) {
  STREAM(handle);
  if (!is_inside(to, size, current) || !is_inside(from, size, current)) return INVALID_VALUE;
  COPIED(size);
  stream->enqueue([=] { memcpy(at(to), at(from), size); });
  return SUCCESS;
}
API cuMemGetInfo_v2(size_t* available, size_t* total) {
  CONTEXT;
  *total = memory();
  *available = memory() - current->used - current->kept_bytes;
  return SUCCESS;
}

// The kernels and the sizes of their arguments, as the module's PTX declares them:
// `.entry NAME( .param .align 8 .b8 NAME_param_0[176] )`.
API cuModuleLoadData(void** result, const void* image) {
  CONTEXT;
  std::string ptx = static_cast<const char*>(image);
  if (ptx.find(".version") == std::string::npos) return INVALID_IMAGE;
  auto module = new Module{current, {}, {}};
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
  CONTEXT;
  delete static_cast<Module*>(module);
  return SUCCESS;
}
API cuModuleGetFunction(void** function, void* handle, const char* name) {
  CONTEXT;
  auto& module = *static_cast<Module*>(handle);
  if (module.device != current) return INVALID_HANDLE;
  auto& entries = module.entries;
  auto entry = entries.find(name);
  auto kernel = emulated::kernels().find(name);
  if (entry == entries.end() || kernel == emulated::kernels().end()) return NOT_FOUND;
  if (entry->second != kernel->second.size) {
    fprintf(stderr, "emulated: the argument of %s has %zu bytes in PTX, %zu in C++\n", name,
            entry->second, kernel->second.size);
    return INVALID_IMAGE;
  }
  *function = &module.functions.emplace(name, Function{&kernel->second, current}).first->second;
  return SUCCESS;
}
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void* handle, void**, void** extra) {
  STREAM(handle);
  if (static_cast<Function*>(function)->device != current) return INVALID_HANDLE;
  auto& kernel = *static_cast<Function*>(function)->kernel;
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
  stream->enqueue([=, &kernel] {
    auto start = std::chrono::steady_clock::now();
    dim3 grid = {gx, gy, gz}, block = {bx, by, bz};
    std::string error = fails(kernel.name)
                            ? std::string(kernel.name) + " was told to fail"
                            : emulated::run_grid(kernel, args.get(), grid, block, shared);
    std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    auto& of = launches()[kernel.name];
    of.blocks += gx * gy * gz, of.seconds += time.count();
    if (!error.empty()) {
      fprintf(stderr, "emulated: %s\n", error.c_str());
      stream->device->lost = LAUNCH_FAILED;
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
