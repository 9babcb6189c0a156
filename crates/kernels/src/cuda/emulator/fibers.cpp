// Threads of a block as fibers: barriers, shuffles and votes are points where another one goes on.
// EMULATED_CUDA_SEED chooses the order.
#include "fibers.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <vector>
#ifdef FIBER_UCONTEXT
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ASAN 1
#endif

#ifndef FIBER_UCONTEXT
// Saves the callee's registers on the stack, the stack pointer in *from, and goes on with `to`.
extern "C" void fiber_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl fiber_switch
.hidden fiber_switch
.type fiber_switch,@function
fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size fiber_switch,.-fiber_switch
)");
#else
#error "write the switch for this processor, or compile with -DFIBER_UCONTEXT"
#endif
#endif

namespace emulated {
__thread const Place* place;

enum class State { ready, barrier, warp, done };
struct Snapshot {
  unsigned char lanes[32][32];
  int readers = 0;
};
struct Thread {
  Place place;
  unsigned number;
  State state;
  unsigned mask;
  const char* what;  // the collective it waits in
  unsigned char give[32];
  Snapshot* got;
#ifdef FIBER_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer;
#endif
  void* asan_stack = nullptr;
};

#if defined(ASAN)
constexpr size_t stack_bytes = 256 << 10;
#else
constexpr size_t stack_bytes = 64 << 10;
#endif

struct Block {
  std::vector<Thread> threads;
  std::vector<char*> stacks;  // kept from block to block
  const Kernel* kernel;
  const void* args;
  Thread* current;
  unsigned alive, at_barrier;
  std::vector<unsigned> waiting, living;  // lanes by warp
  std::vector<std::unique_ptr<Snapshot>> snapshots;
  std::map<const void*, void*> shared;
  void* dynamic;
  unsigned ready[32], ready_warps;  // lanes by warp; warps that have any
  unsigned random, policy, favourite;
  std::string error;
  bool given_up = false;
#ifdef FIBER_UCONTEXT
  ucontext_t host;
#else
  void* host;
#endif
  const void* host_bottom = nullptr;
  size_t host_size = 0;
  void* host_asan = nullptr;
};
static __thread Block* block_of_thread;
#define block (*block_of_thread)

unsigned lane() { return block.current->number & 31; }
unsigned living() { return block.living[block.current->number / 32]; }

static void set_ready(unsigned t) {
  block.threads[t].state = State::ready;
  block.ready[t / 32] |= 1u << (t % 32), block.ready_warps |= 1u << (t / 32);
}
static unsigned any() {  // xorshift
  unsigned& r = block.random;
  r ^= r << 13, r ^= r >> 17, r ^= r << 5;
  return r;
}
static unsigned any_bit(unsigned set) {
  unsigned turn = any() & 31, turned = turn ? set >> turn | set << (32 - turn) : set;
  return (__builtin_ctz(turned) + turn) & 31;
}
// The next thread, by policy: 0 warps in turn; 1 a warp as far as it gets, then any other; 2 any
// thread; 3 the last warp as far as it gets.
static Thread* pick() {
  if (!block.ready_warps) return nullptr;
  unsigned warp, lane;
  unsigned later = block.favourite >= 31 ? 0 : block.ready_warps & (~0u << (block.favourite + 1));
  if (block.policy == 0)
    warp = block.ready[block.favourite] ? block.favourite
                                        : __builtin_ctz(later ? later : block.ready_warps);
  else if (block.policy == 1)
    warp = block.ready[block.favourite] ? block.favourite : any_bit(block.ready_warps);
  else if (block.policy == 2)
    warp = any_bit(block.ready_warps);
  else
    warp = 31 - __builtin_clz(block.ready_warps);
  block.favourite = warp;
  lane = block.policy == 2   ? any_bit(block.ready[warp])
         : block.policy == 3 ? 31 - __builtin_clz(block.ready[warp])
                             : __builtin_ctz(block.ready[warp]);
  if (!(block.ready[warp] &= ~(1u << lane))) block.ready_warps &= ~(1u << warp);
  return &block.threads[warp * 32 + lane];
}

// Goes from thread `from` (null: the host) to `to` (null: the host).
static void go(Thread* from, Thread* to, [[maybe_unused]] bool ends = false) {
  block.current = to;
  if (to) place = &to->place;
#if defined(ASAN)
  __sanitizer_start_switch_fiber(ends   ? nullptr
                                 : from ? &from->asan_stack
                                        : &block.host_asan,
                                 to ? block.stacks[to->number] : block.host_bottom,
                                 to ? stack_bytes : block.host_size);
#endif
#ifdef FIBER_UCONTEXT
  swapcontext(from ? &from->context : &block.host, to ? &to->context : &block.host);
#else
  fiber_switch(from ? &from->stack_pointer : &block.host, to ? to->stack_pointer : block.host);
#endif
#if defined(ASAN)
  __sanitizer_finish_switch_fiber(from ? from->asan_stack : block.host_asan, nullptr, nullptr);
#endif
}

static void stop(
    const std::string& error) {  // leaves the block as it is: the context is lost, as on a card
  if (block.error.empty()) block.error = error;
  block.given_up = true;
  go(block.current, nullptr);
  abort();
}

static void wait_on(Thread* me) {
  Thread* next = pick();
  if (!next) {
    std::string text = "deadlock:";
    for (auto& t : block.threads)
      if (t.state == State::barrier || t.state == State::warp) {
        text += " thread " + std::to_string(t.number) + " waits in " + t.what;
        if (text.size() > 300) break;
      }
    stop(text);
  }
  if (next != me)
    go(me, next);
  else {
    block.current = me;
  }
}

static void release_barrier() {
  if (block.at_barrier == 0 || block.at_barrier < block.alive) return;
  block.at_barrier = 0;
  for (auto& t : block.threads)
    if (t.state == State::barrier) set_ready(t.number);
}

void barrier() {
  Thread* me = block.current;
  me->state = State::barrier, me->what = "__syncthreads";
  block.at_barrier++;
  release_barrier();
  wait_on(me);
}

static void release_warp(unsigned warp, unsigned mask, const char* what) {
  unsigned wanted = mask & block.living[warp];
  if (!wanted || (block.waiting[warp] & wanted) != wanted) return;
  Snapshot* s = nullptr;
  for (auto& one : block.snapshots)
    if (one->readers == 0) {
      s = one.get();
      break;
    }
  if (!s) {
    block.snapshots.push_back(std::make_unique<Snapshot>());
    s = block.snapshots.back().get();
  }
  for (unsigned l = 0; l < 32; l++)
    if (wanted >> l & 1) {
      Thread& t = block.threads[warp * 32 + l];
      if (t.mask != mask || (t.what != what && strcmp(t.what, what)))
        stop(std::string("lanes of one warp meet in ") + what + " and " + t.what +
             ", or with other masks");
      memcpy(s->lanes[l], t.give, 32);
      t.got = s, s->readers++;
      set_ready(t.number);
    }
  block.waiting[warp] &= ~wanted;
}

const unsigned char* collective(unsigned mask, const char* what, const void* give, size_t bytes) {
  Thread* me = block.current;
  unsigned warp = me->number / 32, lane = me->number % 32;
  if (!(mask >> lane & 1)) stop(std::string("a lane that is not in its own mask: ") + what);
  me->state = State::warp, me->mask = mask, me->what = what;
  if (bytes) memcpy(me->give, give, bytes);
  block.waiting[warp] |= 1u << lane;
  release_warp(warp, mask, what);
  wait_on(me);
  // The snapshot is read before the lane's next collective; nobody else runs in between.
  me->got->readers--;
  return me->got->lanes[0];
}

void* shared(const void* site, size_t bytes) {
  void*& at = block.shared[site];
  if (!at) {
    at = malloc(bytes);
    memset(at, 0xff, bytes);
  }  // 0xff: NaN in every float type
  return at;
}
void* dynamic_shared() { return block.dynamic; }

std::map<std::string, Kernel>& kernels() {
  static auto& all = *new std::map<std::string, Kernel>;
  return all;
}
void add(Kernel kernel) { kernels()[kernel.name] = kernel; }

static void thread_main() {
#if defined(ASAN)
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (!block.host_bottom)
    block.host_bottom = bottom, block.host_size = size;  // the first comes from the host
#endif
  block.kernel->call(block.args);
  Thread* me = block.current;
  me->state = State::done;
  unsigned warp = me->number / 32;
  block.alive--, block.living[warp] &= ~(1u << (me->number % 32));
  release_barrier();  // the living may have waited for this one only
  for (unsigned l = 0; l < 32; l++)
    if (block.waiting[warp] >> l & 1) {
      Thread& t = block.threads[warp * 32 + l];
      release_warp(warp, t.mask, t.what);
    }
  if (block.alive == 0) go(me, nullptr, true);
  Thread* next = pick();
  if (!next) {
    me->state = State::done;
    wait_on(me);
  }
  go(me, next, true);
  abort();
}

static std::string run_block(const Kernel& kernel, const void* args, dim3 grid, dim3 at, dim3 size,
                             unsigned dynamic_bytes, unsigned seed) {
  unsigned count = size.x * size.y * size.z;
  block.kernel = &kernel, block.args = args, block.error.clear();
  block.threads.resize(count), memset(block.ready, 0, sizeof block.ready), block.ready_warps = 0;
  block.alive = count, block.at_barrier = 0;
  block.waiting.assign((count + 31) / 32, 0), block.living.assign((count + 31) / 32, 0);
  block.random = seed * 2654435761u + 1, block.policy = seed % 4,
  block.favourite = seed % 4 == 0 ? 0 : any() % ((count + 31) / 32);
  block.dynamic = dynamic_bytes ? malloc(dynamic_bytes) : nullptr;
  if (block.dynamic) memset(block.dynamic, 0xff, dynamic_bytes);
  block.host_bottom = nullptr;
  while (block.stacks.size() < count) {  // each with a guard page below it
    char* at = static_cast<char*>(mmap(nullptr, 4096 + stack_bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (at == MAP_FAILED || mprotect(at, 4096, PROT_NONE))
      return "no memory for the stacks of the threads";
    block.stacks.push_back(at + 4096);
  }
  for (unsigned i = 0; i < count; i++) {
    Thread& t = block.threads[i];
    t.place = {{i % size.x, i / size.x % size.y, i / size.x / size.y}, at, size, grid},
    t.number = i;
    block.living[i / 32] |= 1u << (i % 32);
#ifdef FIBER_UCONTEXT
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = block.stacks[i], t.context.uc_stack.ss_size = stack_bytes,
    t.context.uc_link = nullptr;
    makecontext(&t.context, thread_main, 0);
#else
    // not at the same place of each page, since that would be the same set of the cache
    size_t shift = i * 192 % 4096;
    void** top = reinterpret_cast<void**>(block.stacks[i] + stack_bytes - shift);
    *--top = nullptr;  // a return address of nowhere, and the alignment of a function's entry
    *--top = reinterpret_cast<void*>(thread_main);
    for (int r = 0; r < 6; r++) *--top = nullptr;
    t.stack_pointer = top;
#endif
#if defined(ASAN)
    // A fiber that ended left the shadow of its outermost frames behind, one that was given up all
    // of it.
    size_t top_bytes = block.given_up ? stack_bytes : 2 * 4096;
    __asan_unpoison_memory_region(block.stacks[i] + stack_bytes - top_bytes, top_bytes);
#endif
    set_ready(i);
  }
  block.given_up = false;
  go(nullptr, pick());
  for (auto& [site, at] : block.shared) free(at);
  block.shared.clear();
  free(block.dynamic);
  block.snapshots.clear();
  return block.error;
}

std::string run_grid(const Kernel& kernel, const void* args, dim3 grid, dim3 size,
                     unsigned dynamic_bytes) {
  // stacks are kept, whichever host thread launches
  static auto& spare = *new std::vector<Block*>;
  if (spare.empty()) spare.push_back(new Block);
  block_of_thread = spare.back(), spare.pop_back();
  const char* text = getenv("EMULATED_CUDA_SEED");
  unsigned seed = text ? atoi(text) : 0;
  std::string error;
  unsigned long long count = 1ull * grid.x * grid.y * grid.z;
  for (unsigned long long b = 0; b < count && error.empty(); b++) {
    unsigned long long at = seed % 2 ? count - 1 - b : b;  // blocks in another order too
    dim3 index = {unsigned(at % grid.x), unsigned(at / grid.x % grid.y),
                  unsigned(at / grid.x / grid.y)};
    error = run_block(kernel, args, grid, index, size, dynamic_bytes, seed + 4 * unsigned(at));
    if (!error.empty())
      error = std::string(kernel.name) + ", block " + std::to_string(at) + ": " + error;
  }
  spare.push_back(block_of_thread);
  return error;
}
}  // namespace emulated
