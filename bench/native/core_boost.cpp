// boost::lockfree::spsc_queue in the `core` case: arrays pushed, consumed in place, in shared memory.
#include <array>
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "sides.h"

namespace {

// One megabyte of payloads, like the others by default: the capacity is fixed when it is compiled.
constexpr uint64_t room_bytes = 1 << 20;

struct Any {
    virtual uint64_t write(const char *joined, uint64_t count) = 0;
    virtual uint64_t read(uint64_t most, payload_sum *sum) = 0;
};

template <uint64_t Size> struct Sized final : Any {
    using Record = std::array<char, Size>;
    boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<room_bytes / Size>> ring;

    uint64_t write(const char *joined, uint64_t count) override
    {
        return ring.push(reinterpret_cast<const Record *>(joined), count);
    }

    // Everything there is, as consume_all() gives the space back once for all of it.
    uint64_t read(uint64_t, payload_sum *sum) override
    {
        return ring.consume_all([sum](const Record &record) { payload_seen(sum, record.data(), Size); });
    }
};

template <uint64_t Size> Any *made()
{
    return new (shared_pages(sizeof(Sized<Size>))) Sized<Size>;
}

void *prepare(const core_plan *plan)
{
    if (plan->ring_bytes != room_bytes)
        return nullptr;
    switch (plan->size) {
    case 16: return made<16>();
    case 88: return made<88>();
    case 1024: return made<1024>();
    case 65536: return made<65536>();
    }
    return nullptr;
}

void *same(void *prepared, const core_plan *) { return prepared; }
uint64_t write_records(void *end, const char *joined, uint64_t count) { return static_cast<Any *>(end)->write(joined, count); }
uint64_t read_records(void *end, uint64_t most, payload_sum *sum) { return static_cast<Any *>(end)->read(most, sum); }
void done(void *) {}

} // namespace

int main(int argc, char **argv)
{
    static const core_contender contender = {
        "boost spsc_queue", 0, "push(array), consume_all in place", prepare, same, same, write_records, read_records, done,
    };
    return core_main(argc, argv, &contender);
}
