// boost::lockfree::spsc_queue in the `core` case: arrays pushed, consumed in place, in shared memory.
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "core_sized.hpp"

// One megabyte of payloads, as the others have by default. The capacity is fixed at compile time.
constexpr uint64_t room_bytes = 1 << 20;

template <uint64_t Size> struct Boost final : Any {
    using Record = std::array<char, Size>;
    boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<room_bytes / Size>> queue;

    static Any *made(const core_plan *plan)
    {
        return plan->ring_bytes == room_bytes ? new (shared_pages(sizeof(Boost))) Boost : nullptr;
    }

    uint64_t write(const char *joined, uint64_t count) override { return queue.push(reinterpret_cast<const Record *>(joined), count); }

    // Everything there is: consume_all() gives the space back once for all of it.
    uint64_t read(uint64_t, payload_sum *sum) override
    {
        return queue.consume_all([sum](const Record &record) { payload_seen(sum, record.data(), Size); });
    }
};

int main(int argc, char **argv) { return sized_main<Boost>(argc, argv, 0); }
