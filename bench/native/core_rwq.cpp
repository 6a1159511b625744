// moodycamel's readerwriterqueue in the `core` case. Its blocks are on the heap, so the two sides are threads.
#include <readerwriterqueue.h>

#include "core_sized.hpp"

template <uint64_t Size> struct Moodycamel final : Any {
    using Record = std::array<char, Size>;
    moodycamel::ReaderWriterQueue<Record> queue;

    explicit Moodycamel(uint64_t records) : queue(records) {}

    static Any *made(const core_plan *plan) { return new Moodycamel(plan->ring_bytes / Size); }

    // try_enqueue never allocates. There is no call for several records.
    uint64_t write(const char *joined, uint64_t count) override
    {
        auto *records = reinterpret_cast<const Record *>(joined);
        uint64_t taken = 0;
        while (taken < count && queue.try_enqueue(records[taken]))
            taken++;
        return taken;
    }

    // peek and pop leave the record in place. try_dequeue would copy it out.
    uint64_t read(uint64_t most, payload_sum *sum) override
    {
        uint64_t seen = 0;
        for (Record *record; seen < most && (record = queue.peek()); seen++) {
            payload_seen(sum, record->data(), Size);
            queue.pop();
        }
        return seen;
    }
};

int main(int argc, char **argv) { return sized_main<Moodycamel>(argc, argv, 1); }
