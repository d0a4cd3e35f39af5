#include "cpu/turns.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "cpu/thread_pool.h"

namespace weft::cpu {
namespace {

// One who waits, on the stack of its thread.
struct Waiter {
  int wanted = 0;
  int cores = 0;  // what it got
  Waiter* next = nullptr;
  std::condition_variable called;
};

class Queue {
 public:
  Queue() : cores_(usable_cores()), free_(cores_) {}
  int enter(int threads);
  void leave(int cores);

 private:
  int take(int wanted);
  void call_next();

  std::mutex mutex_;
  const int cores_;
  int free_;
  int n_waiting_ = 0;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

void replace_queue_in_child();

Queue* first_queue() {
  pthread_atfork(nullptr, nullptr, replace_queue_in_child);
  return new Queue;
}

// As with the pool of threads: a child's first thread must not wait for those of its parent.
std::atomic<Queue*> current_queue{first_queue()};

void replace_queue_in_child() { current_queue.store(new Queue); }

int Queue::enter(int threads) {
  const int wanted = std::clamp(threads, 1, cores_);
  std::unique_lock lock(mutex_);
  if (first_ == nullptr && free_ > 0) return take(wanted);
  Waiter self;
  self.wanted = wanted;
  (last_ == nullptr ? first_ : last_->next) = &self;
  last_ = &self;
  ++n_waiting_;
  self.called.wait(lock, [&] { return self.cores > 0; });
  return self.cores;
}

// One who comes to free cores leaves some to those who wait.
int Queue::take(int wanted) {
  const int cores = std::clamp(free_ / (1 + n_waiting_), 1, wanted);
  free_ -= cores;
  return cores;
}

void Queue::call_next() {
  while (first_ != nullptr && free_ > 0) {
    Waiter* const waiter = first_;
    first_ = waiter->next;
    if (first_ == nullptr) last_ = nullptr;
    --n_waiting_;
    waiter->cores = take(waiter->wanted);
    waiter->called.notify_one();  // under the mutex: the waiter lives until it gets it
  }
}

void Queue::leave(int cores) {
  const std::lock_guard lock(mutex_);
  free_ += cores;
  call_next();
}

}  // namespace

// Whoever got all that it could have keeps its number of threads, be there more than cores.
Turn::Turn(int threads) : cores_(current_queue.load()->enter(threads)), threads_(threads) {
  if (cores_ < std::min(threads, usable_cores())) threads_ = cores_;
}

Turn::~Turn() { current_queue.load()->leave(cores_); }

}  // namespace weft::cpu
