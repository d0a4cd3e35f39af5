#include "cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <list>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "weft/arrays.h"
#include "weft/targets.h"

namespace weft::cpu {
namespace {

// A loop in progress. It lives on its caller's stack until no thread is inside.
struct Job {
  const ChunkedLoop& loop;
  std::atomic<std::int64_t> next_chunk{0};
  int joined = 1;  // workers that ever came, the caller included; guarded by the pool's mutex
  // The pool's threads that are at it now; changed with the pool's mutex held.
  std::atomic<int> inside{0};
  std::int64_t failed_chunk = std::numeric_limits<std::int64_t>::max();
  Status status;

  explicit Job(const ChunkedLoop& chunked_loop) : loop(chunked_loop) {}
};

constexpr auto kPatience = std::chrono::microseconds(200);

// Waits awake for a condition; false if it does not come true for longer than a serial stage takes.
template <typename Condition>
bool spin_until(const Condition& condition) {
  const auto start = std::chrono::steady_clock::now();
  while (!condition()) {
    for (int i = 0; i < 32; ++i) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    if (std::chrono::steady_clock::now() - start > kPatience) return condition();
  }
  return true;
}

class ThreadPool {
 public:
  static ThreadPool& instance();
  Status run(const ChunkedLoop& loop);
  void wake(int threads);
  void allow_sleep() { n_awake_.fetch_sub(1); }

 private:
  void start_threads(int wanted);
  void serve();
  void work(Job& job, int worker) noexcept;
  Job* find_job();
  Job* await_job(std::unique_lock<std::mutex>& lock);
  void await_workers(std::unique_lock<std::mutex>& lock, const Job& job);

  std::mutex mutex_;
  std::condition_variable job_added_;
  std::condition_variable worker_left_;
  std::list<Job*> jobs_;
  std::atomic<std::uint64_t> n_added_{0};  // jobs ever added
  std::atomic<int> n_awake_{0};            // searches that want threads awake
  std::uint64_t n_woken_ = 0;              // such searches ever begun; guarded by the mutex
  int n_threads_ = 0;
};

// Only the forking thread exists in the child, and the parent's mutex may be locked there for ever:
// the child leaves the parent's pool alone and makes its own.
void replace_pool_in_child();

ThreadPool* first_pool() {
  pthread_atfork(nullptr, nullptr, replace_pool_in_child);
  return new ThreadPool;
}

// Made when the module is loaded, without threads, and never destroyed: its threads may outlive
// the destructors of static objects.
std::atomic<ThreadPool*> current_pool{first_pool()};

void replace_pool_in_child() { current_pool.store(new ThreadPool); }

ThreadPool& ThreadPool::instance() { return *current_pool.load(); }

// Signals belong to the threads of the program.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

// A thread that the system refuses is done without: the caller does the work itself.
void ThreadPool::start_threads(int wanted) {
  const BlockedSignals blocked;
  for (; n_threads_ < wanted; ++n_threads_) {
    try {
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      return;
    } catch (const std::bad_alloc&) {
      return;
    }
  }
}

Status ThreadPool::run(const ChunkedLoop& loop) {
  Job job(loop);
  std::list<Job*> entry = {&job};
  {
    const std::lock_guard lock(mutex_);
    start_threads(loop.workers - 1);
    jobs_.splice(jobs_.end(), entry);
    n_added_.fetch_add(1);
  }
  job_added_.notify_all();
  work(job, 0);
  std::unique_lock lock(mutex_);
  jobs_.remove(&job);
  await_workers(lock, job);
  return std::move(job.status);
}

// Chunks are short: whoever is still at one will mostly be done sooner than a sleeper wakes.
void ThreadPool::await_workers(std::unique_lock<std::mutex>& lock, const Job& job) {
  const auto done = [&] { return job.inside.load() == 0; };
  if (done()) return;
  lock.unlock();
  spin_until(done);
  lock.lock();
  worker_left_.wait(lock, done);
}

// A loop that has room for another worker and work left for it.
Job* ThreadPool::find_job() {
  for (Job* job : jobs_) {
    if (job->joined < job->loop.workers && job->next_chunk.load() < job->loop.n_chunks) return job;
  }
  return nullptr;
}

// Waking takes as long as a search's first stage, in which nothing is shared out: a search calls
// the sleepers when it begins, and they look for its jobs awake.
void ThreadPool::wake(int threads) {
  {
    const std::lock_guard lock(mutex_);
    start_threads(threads - 1);
    n_awake_.fetch_add(1);
    ++n_woken_;
  }
  job_added_.notify_all();
}

// The next job to join; looks for it awake while a search wants that.
Job* ThreadPool::await_job(std::unique_lock<std::mutex>& lock) {
  Job* job = find_job();
  while (job == nullptr) {
    const std::uint64_t seen = n_added_.load();
    const std::uint64_t woken = n_woken_;
    const auto changed = [&] { return n_added_.load() != seen || n_awake_.load() == 0; };
    lock.unlock();
    const bool patient = n_awake_.load() > 0 && spin_until(changed);
    lock.lock();
    job = find_job();
    if (patient) continue;
    job_added_.wait(lock, [&] {
      job = find_job();
      return job != nullptr || n_woken_ != woken;
    });
  }
  return job;
}

void ThreadPool::serve() {
  std::unique_lock lock(mutex_);
  while (true) {
    Job* const job = await_job(lock);
    const int worker = job->joined++;
    ++job->inside;
    lock.unlock();
    work(*job, worker);
    lock.lock();
    --job->inside;
    worker_left_.notify_all();
  }
}

void ThreadPool::work(Job& job, int worker) noexcept {
  while (true) {
    const std::int64_t chunk = job.next_chunk.fetch_add(1);
    if (chunk >= job.loop.n_chunks) return;
    Status status = job.loop.call(job.loop.context, chunk, worker);
    if (status.ok()) continue;
    const std::lock_guard lock(mutex_);
    if (chunk < job.failed_chunk) {
      job.failed_chunk = chunk;
      job.status = std::move(status);
    }
  }
}

}  // namespace

AwakePool::AwakePool(int threads) : counted_(threads > 1) {
  if (counted_) ThreadPool::instance().wake(threads);
}

AwakePool::~AwakePool() {
  if (counted_) ThreadPool::instance().allow_sleep();
}

namespace {

Status run_here(const ChunkedLoop& loop) {
  Status first;
  for (std::int64_t chunk = 0; chunk < loop.n_chunks; ++chunk) {
    Status status = loop.call(loop.context, chunk, 0);
    if (first.ok() && !status.ok()) first = std::move(status);
  }
  return first;
}

}  // namespace

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(CPU_COUNT(&cores), 1);
  return static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U));
}

Status run_on_pool(const ChunkedLoop& loop) {
  if (loop.workers <= 1) return run_here(loop);
  return ThreadPool::instance().run(loop);
}

Status resolve_threads(int threads, int* resolved) {
  if (threads < 0 || threads > kMaxThreads) {
    return Status::invalid_value("threads: must lie in [0, " + std::to_string(kMaxThreads) +
                                 "], got " + std::to_string(threads));
  }
  *resolved = threads;
  return threads > 0 ? Status() : default_threads(resolved);
}

}  // namespace weft::cpu

namespace weft {

Status default_threads(int* threads) {
  const char* wanted = std::getenv("WEFT_THREADS");
  if (wanted == nullptr || *wanted == '\0') {
    *threads = std::min(cpu::usable_cores(), kMaxThreads);
    return {};
  }
  char* end = nullptr;
  const long number = std::strtol(wanted, &end, 10);
  if (*end != '\0' || number < 1 || number > kMaxThreads) {
    return Status::invalid_value("WEFT_THREADS: must be a number of 1 to " +
                                 std::to_string(kMaxThreads) + ", is '" + wanted + "'");
  }
  *threads = static_cast<int>(number);
  return {};
}

}  // namespace weft
