/* The wall clock of a program that this is preloaded into, so many seconds ahead as a file says. Timers, which go by
   the monotonic clock, stay as they are: it is as if somebody had set the clock. */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *time)
{
	int result = syscall(SYS_clock_gettime, id, time);
	const char *path = getenv("CLOCK_AHEAD");
	int file = id == CLOCK_REALTIME && path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char seconds[32] = "";

	if (file >= 0) {
		if (read(file, seconds, sizeof seconds - 1) > 0)
			time->tv_sec += atol(seconds);
		close(file);
	}
	return result;
}
