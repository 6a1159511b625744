// A C++ queue in the `core` case. Its record is an array whose size it knows at compile time.
#include <array>

#include "sides.h"

struct Any {
    virtual uint64_t write(const char *joined, uint64_t count) = 0;
    virtual uint64_t read(uint64_t most, payload_sum *sum) = 0;
};

// `Sized<SIZE>::made(plan)` makes the queue for records of that size, or returns null.
template <template <uint64_t> class Sized> void *prepare(const core_plan *plan)
{
    switch (plan->size) {
    case 16: return Sized<16>::made(plan);
    case 88: return Sized<88>::made(plan);
    case 1024: return Sized<1024>::made(plan);
    case 65536: return Sized<65536>::made(plan);
    }
    return nullptr;
}

inline uint64_t write_records(void *end, const char *joined, uint64_t count) { return static_cast<Any *>(end)->write(joined, count); }
inline uint64_t read_records(void *end, uint64_t most, payload_sum *sum) { return static_cast<Any *>(end)->read(most, sum); }

template <template <uint64_t> class Sized> int sized_main(int argc, char **argv, int threads)
{
    core_contender contender = {threads, prepare<Sized>, nullptr, nullptr, write_records, read_records, nullptr};
    return core_main(argc, argv, &contender);
}
