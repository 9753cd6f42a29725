#include "netns_thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>

#include "fd.h"

namespace {

// Lives on the stack of the caller, who waits until it is done.
struct Task {
  int netns_fd;
  const std::function<void()>& work;
  int error = 0;
  bool done = false;
};

class NetnsThread {
 public:
  int Run(Task& task) {
    std::unique_lock lock(mutex_);
    if (!started_) {
      int error = Start();
      if (error != 0) return error;
      started_ = true;
    }
    queue_.push_back(&task);
    arrived_.notify_one();
    finished_.wait(lock, [&task] { return task.done; });
    return task.error;
  }

 private:
  // The home namespace is opened here rather than on the thread, so that a failure reaches the caller; it is the same
  // one, since a new thread starts in the namespace of its creator and nobody but this thread ever leaves it.
  int Start() {
    home_ = OwnedFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!home_.valid()) return errno;

    // The thread must not take the signals that libuv waits for.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, nullptr, &NetnsThread::Main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) return error;
    pthread_setname_np(thread, "culvert-netns");
    pthread_detach(thread);
    return 0;
  }

  static void* Main(void* self) {
    static_cast<NetnsThread*>(self)->Loop();
    return nullptr;
  }

  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [this] { return !queue_.empty(); });
      Task* task = queue_.front();
      queue_.pop_front();
      lock.unlock();
      int error = Visit(*task);
      lock.lock();
      // The task is gone from here on: its owner may wake and return as soon as the lock is free.
      task->error = error;
      task->done = true;
      finished_.notify_all();
    }
  }

  int Visit(Task& task) {
    if (setns(task.netns_fd, CLONE_NEWNET) != 0) return errno;
    task.work();
    if (setns(home_.get(), CLONE_NEWNET) != 0) {
      std::fprintf(stderr, "culvert: the namespace thread cannot return to its own network namespace: %s; aborting\n",
                   std::strerror(errno));
      std::abort();
    }
    return 0;
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable finished_;
  std::deque<Task*> queue_;
  OwnedFd home_;
  bool started_ = false;
};

}  // namespace

int RunInNetns(int netns_fd, const std::function<void()>& work) {
  // Never destroyed: the thread waits on it until the process is gone.
  static auto* thread = new NetnsThread;
  Task task{.netns_fd = netns_fd, .work = work};
  return thread->Run(task);
}
