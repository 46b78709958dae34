/* A computer that sleeps when a test says so, for whoever is loaded with it before the C library: CLOCK_BOOTTIME runs
 * ahead by the nanoseconds that stand in the file SLEEP_FILE, for all such processes at the same moment, and
 * CLOCK_MONOTONIC has stood still. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static volatile const int64_t *slept_ns;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SLEEP_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) slept_ns = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime) real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(clock, now);
    if (clock != CLOCK_BOOTTIME || !slept_ns) return result;
    int64_t all_ns = now->tv_nsec + *slept_ns % 1000000000;
    now->tv_sec += *slept_ns / 1000000000 + all_ns / 1000000000;
    now->tv_nsec = all_ns % 1000000000;
    return result;
}
