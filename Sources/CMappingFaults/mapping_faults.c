#define _GNU_SOURCE
#include "CMappingFaults.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// The table of mappings: a list of entries that only grows, so that the signal handler can walk it at any time. An entry
// is used again after its mapping is gone; its version, which is odd while it changes, tells readers that it did.
struct sp_mapping {
  struct sp_mapping *next;
  atomic_uint_fast64_t version;
  // No address lies in an entry that is free: its end is 0.
  atomic_uintptr_t start, end;
  atomic_bool lost;
  // The rest is the mapping's owner's.
  char *path;
  // The offset of the last byte that is not zero, and that byte; SIZE_MAX without one in the last page. A file that was
  // cut short within its last page has zeros there, and nobody gets a signal.
  size_t marker;
  unsigned char marker_value;
  struct sp_mapping *next_free;
};

static _Atomic(struct sp_mapping *) mappings;
// Under the lock.
static struct sp_mapping *free_mappings;
static _Atomic(const char *) first_lost;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// The handler that was there before ours.
static struct sigaction previous;
static atomic_bool handled;
// sysconf need not be safe in a signal handler.
static uintptr_t page_size;

static void mark_lost(struct sp_mapping *mapping) {
  atomic_store_explicit(&mapping->lost, true, memory_order_release);
  const char *none = NULL;
  atomic_compare_exchange_strong(&first_lost, &none, mapping->path);
}

// Replaces the pages of a mapping from the one with the address on. Only async-signal-safe calls and atomics.
static bool replace(struct sp_mapping *mapping, uintptr_t address, uintptr_t end) {
  uintptr_t start = address & ~(page_size - 1);
  size_t count = ((end + page_size - 1) & ~(page_size - 1)) - start;
  // Marked first: whoever sees the zeros sees the mark.
  mark_lost(mapping);
  return mmap((void *)start, count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)
      != MAP_FAILED;
}

static bool repair(uintptr_t address) {
  for (struct sp_mapping *mapping = atomic_load(&mappings); mapping != NULL; mapping = mapping->next) {
    uint_fast64_t version = atomic_load(&mapping->version);
    uintptr_t start = atomic_load(&mapping->start), end = atomic_load(&mapping->end);
    if (version & 1 || version != atomic_load(&mapping->version)) continue;
    // Whoever reads a mapping keeps its entry as it is, so the one that is looked for does not change meanwhile.
    if (address >= start && address < end) return replace(mapping, address, end);
  }
  return false;
}

// Lets happen what would without this handler.
static void pass_on(int signal, siginfo_t *info, void *context) {
  bool sent = info->si_code <= 0;
  if (previous.sa_handler == SIG_IGN && sent) return;
  if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
    // The instruction faults again when this handler returns; a signal that somebody sent is sent again.
    struct sigaction none = {.sa_handler = SIG_DFL};
    sigaction(signal, &none, NULL);
    if (sent) raise(signal);
  } else if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(signal, info, context);
  } else {
    previous.sa_handler(signal);
  }
}

static void handle(int signal, siginfo_t *info, void *context) {
  int error = errno;
  // A code above 0 is the kernel's, about an address.
  if (!(info->si_code > 0 && repair((uintptr_t)info->si_addr))) pass_on(signal, info, context);
  errno = error;
}

void sp_mapping_faults_handle(bool on) {
  pthread_mutex_lock(&lock);
  if (on && !handled) {
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    // `previous` is there before the handler can run.
    handled = sigaction(SIGBUS, NULL, &previous) == 0 && sigaction(SIGBUS, &action, NULL) == 0;
  } else if (!on && handled) {
    struct sigaction current;
    // A handler that was installed after ours stays, and may still pass signals on to ours.
    if (sigaction(SIGBUS, NULL, &current) == 0 && current.sa_flags & SA_SIGINFO && current.sa_sigaction == handle) {
      sigaction(SIGBUS, &previous, NULL);
      handled = false;
    }
  }
  pthread_mutex_unlock(&lock);
}

// Called under the lock. The version and the addresses are ordered as they stand here: readers that see a new one of them
// see the version change.
static void set(struct sp_mapping *mapping, uintptr_t start, uintptr_t end) {
  atomic_fetch_add(&mapping->version, 1);
  atomic_store(&mapping->start, start);
  atomic_store(&mapping->end, end);
  atomic_fetch_add(&mapping->version, 1);
}

sp_mapping *sp_mapping_watch(const void *address, size_t byte_count, const char *path) {
  char *copy = strdup(path);
  if (copy == NULL) return NULL;
  pthread_mutex_lock(&lock);
  struct sp_mapping *mapping = free_mappings;
  if (mapping != NULL) {
    free_mappings = mapping->next_free;
  } else {
    mapping = calloc(1, sizeof *mapping);
    if (mapping == NULL) {
      pthread_mutex_unlock(&lock);
      free(copy);
      return NULL;
    }
    mapping->next = atomic_load(&mappings);
    atomic_store(&mappings, mapping);
  }
  mapping->path = copy;
  atomic_store(&mapping->lost, false);
  set(mapping, (uintptr_t)address, (uintptr_t)address + byte_count);
  pthread_mutex_unlock(&lock);
  // Watched by now, as the pages may be gone already.
  const volatile unsigned char *bytes = address;
  size_t start = byte_count == 0 ? 0 : (byte_count - 1) / (size_t)sysconf(_SC_PAGESIZE) * (size_t)sysconf(_SC_PAGESIZE);
  mapping->marker = SIZE_MAX;
  // Nobody would survive it if the page were gone.
  if (!atomic_load(&handled)) return mapping;
  for (size_t i = byte_count; i > start && mapping->marker == SIZE_MAX; i--) {
    mapping->marker_value = bytes[i - 1];
    if (mapping->marker_value != 0) mapping->marker = i - 1;
  }
  return mapping;
}

void sp_mapping_forget(sp_mapping *mapping) {
  pthread_mutex_lock(&lock);
  set(mapping, 0, 0);
  // A lost path stays for `sp_mapping_first_lost`.
  if (atomic_load(&first_lost) != mapping->path) free(mapping->path);
  mapping->path = NULL;
  mapping->next_free = free_mappings;
  free_mappings = mapping;
  pthread_mutex_unlock(&lock);
}

bool sp_mapping_is_whole(sp_mapping *mapping) {
  if (mapping->marker != SIZE_MAX && atomic_load(&handled)) {
    const volatile unsigned char *bytes = (const volatile unsigned char *)atomic_load(&mapping->start);
    // Where the page is gone, this is the read that finds out.
    if (bytes[mapping->marker] != mapping->marker_value) mark_lost(mapping);
  }
  return !atomic_load_explicit(&mapping->lost, memory_order_acquire);
}

const char *sp_mapping_first_lost(void) { return atomic_load(&first_lost); }
