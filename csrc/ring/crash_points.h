/* Where a process may be made to die: nothing, except in the build of tests/test_crash_points.c, which lists them. */
#ifndef KR_CRASH_POINTS_H
#define KR_CRASH_POINTS_H

#ifdef KR_CRASH_POINTS
void kr_crash_point(unsigned number);
#define KR_POINT(number) kr_crash_point(number)
#else
#define KR_POINT(number) ((void)0)
#endif

#endif
