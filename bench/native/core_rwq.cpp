// moodycamel's readerwriterqueue in the `core` case: its blocks lie on the heap, so the two sides are threads.
#include <array>
#include <readerwriterqueue.h>

#include "sides.h"

namespace {

struct Any {
    virtual ~Any() = default;
    virtual uint64_t write(const char *joined, uint64_t count) = 0;
    virtual uint64_t read(uint64_t most, payload_sum *sum) = 0;
};

template <uint64_t Size> struct Sized final : Any {
    using Record = std::array<char, Size>;
    moodycamel::ReaderWriterQueue<Record> ring;

    explicit Sized(uint64_t records) : ring(records) {}

    // try_enqueue never allocates; there is no call for several.
    uint64_t write(const char *joined, uint64_t count) override
    {
        auto *records = reinterpret_cast<const Record *>(joined);
        uint64_t taken = 0;
        while (taken < count && ring.try_enqueue(records[taken]))
            taken++;
        return taken;
    }

    // peek and pop leave the record where it is; try_dequeue would copy it out.
    uint64_t read(uint64_t most, payload_sum *sum) override
    {
        uint64_t taken = 0;
        while (taken < most) {
            Record *record = ring.peek();
            if (!record)
                break;
            payload_seen(sum, record->data(), Size);
            ring.pop();
            taken++;
        }
        return taken;
    }
};

void *prepare(const core_plan *plan)
{
    uint64_t records = plan->ring_bytes / plan->size;
    switch (plan->size) {
    case 16: return static_cast<Any *>(new Sized<16>(records));
    case 88: return static_cast<Any *>(new Sized<88>(records));
    case 1024: return static_cast<Any *>(new Sized<1024>(records));
    case 65536: return static_cast<Any *>(new Sized<65536>(records));
    }
    return nullptr;
}

void *same(void *prepared, const core_plan *) { return prepared; }
uint64_t write_records(void *end, const char *joined, uint64_t count) { return static_cast<Any *>(end)->write(joined, count); }
uint64_t read_records(void *end, uint64_t most, payload_sum *sum) { return static_cast<Any *>(end)->read(most, sum); }
void done(void *prepared) { delete static_cast<Any *>(prepared); }

} // namespace

int main(int argc, char **argv)
{
    static const core_contender contender = {
        "readerwriterqueue", 1, "try_enqueue, peek and pop", prepare, same, same, write_records, read_records, done,
    };
    return core_main(argc, argv, &contender);
}
