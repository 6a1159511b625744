/* The bounds of `core` and `snapshot`: one thread that does nothing but memcpy, in pieces of one size, from a buffer to
 * another one, each used again from its start when it is full.
 *
 *   memcpy PIECE_BYTES PIECES FROM_BYTES TO_BYTES records|bytes    the last one is the unit of the work */
#include <string.h>

#include "sides.h"

int main(int argc, char **argv)
{
    uint64_t size = argument(argc, argv, 1), pieces = argument(argc, argv, 2);
    uint64_t sources = argument(argc, argv, 3) / size, places = argument(argc, argv, 4) / size;
    int counts_bytes = argc > 5 && !strcmp(argv[5], "bytes");
    if (size % 8 || !places || !sources)
        fail("pieces are multiples of 8 bytes, and one fits each buffer");
    char *from = shared_pages(sources * size), *to = shared_pages(places * size);
    for (uint64_t i = 0; i < sources; i++)
        payload_fill(from + i * size, size, i);
    memset(to, 1, places * size); /* every page is touched before the time begins */
    keep_to_core(1);
    uint64_t begin = clock_ns();
    for (uint64_t i = 0, source = 0, place = 0; i < pieces; i++) {
        memcpy(to + place, from + source, size);
        __asm__ volatile("" : : "r"(to) : "memory"); /* the compiler must make every copy */
        source = source + size == sources * size ? 0 : source + size;
        place = place + size == places * size ? 0 : place + size;
    }
    double seconds = (double)(clock_ns() - begin) / 1e9;
    for (uint64_t i = pieces > places ? pieces - places : 0; i < pieces; i++)
        if (memcmp(to + i % places * size, from + i % sources * size, size))
            return wrong_answer("memcpy: the copy differs");
    double rate = (double)pieces * (double)size / seconds;
    print_result(seconds, counts_bytes ? pieces * size : pieces, "\"payload_bytes_per_s\": %.0f", rate);
    return 0;
}
