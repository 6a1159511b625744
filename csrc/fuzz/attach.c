/* A hostile segment, from its name on: the harness attaches, looks, takes both roles, uses them and gives them up.
 *
 *   input   u8 size of the file, u8 actions, u8 how many of 8 * {u16 place in the header, u64 value}, the bytes of the ring */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile_ring.h"
#include "../tests/open_ring.h"
#include "../tests/open_sender.h"
#include "../tests/send_joined.h"

#define WORDS 8
#define ROWS 64
#define WAIT_NS 1000

enum { TAKE_CONSUMER = 1, TAKE_PRODUCER = 2, BLANK_HEADER = 4, SLEEP = 8, SEND_LARGE = 32 };

struct object {
    char name[32];
    kr_map *made; /* keeps the file open */
    char *bytes;  /* mapped at the largest size */
    uint64_t page, size;
    struct kr_header honest;
};

static struct object *object(void)
{
    static struct object made;
    kr_failure why = {0};
    if (made.made)
        return &made;
    made.page = kr_page_bytes();
    hostile_object(made.name);
    made.made = kr_map_create(made.name, made.page, &why);
    MUST(made.made);
    made.size = 2 * made.page;
    made.honest = *made.made->header;
    made.bytes = mmap(NULL, 8 * made.page, PROT_READ | PROT_WRITE, MAP_SHARED, made.made->segment, 0);
    MUST(made.bytes != MAP_FAILED);
    return &made;
}

static void resize(struct object *object, unsigned choice)
{
    const uint64_t sizes[8] = {2 * object->page, 0, 100, object->page, 3 * object->page, 5 * object->page, 2 * object->page - 1, 8 * object->page};
    uint64_t size = sizes[choice % 8];
    if (size != object->size)
        MUST(!ftruncate(object->made->segment, (off_t)size));
    object->size = size;
}

static void lie(struct object *object, struct input *input, unsigned doing, unsigned words)
{
    uint64_t room = object->size;
    char header[4096] = {0};
    if (!(doing & BLANK_HEADER))
        memcpy(header, &object->honest, sizeof object->honest);
    for (unsigned i = 0; i < words % (WORDS + 1); i++) {
        uint64_t where = input_number(input, 2) & 4095, value = input_number(input, 8);
        memcpy(header + where, &value, where > sizeof header - 8 ? sizeof header - where : 8);
    }
    memset(object->bytes, 0, room);
    memcpy(object->bytes, header, room < sizeof header ? room : sizeof header);
    if (room > object->page)
        memcpy(object->bytes + object->page, input->at, input_left(input) < room - object->page ? input_left(input) : room - object->page);
}

static void consume(kr_map *map, char *area, unsigned doing)
{
    static char columns[25 * ROWS] __attribute__((aligned(16)));
    kr_failure why = {0};
    kr_role_info info;
    kr_batch batch;
    kr_consumer *consumer = kr_consumer_open(map, area, &why);
    if (!consumer)
        return;
    for (int i = 0; i < 4; i++) {
        int64_t count = kr_consumer_drain(consumer, ROWS, UINT64_MAX, columns, &batch);
        if (count <= 0)
            break;
        kr_batch_resp(area + batch.index, columns, ROWS, (uint64_t)count, NULL, 0);
        MUST(!kr_consumer_release(consumer, batch.position + batch.span, (uint64_t)count, 1));
        if ((doing & SLEEP) && kr_consumer_wait(consumer, WAIT_NS, WAIT_NS) < 0)
            break;
    }
    if (doing & SLEEP)
        kr_consumer_wait_fd(consumer);
    kr_consumer_peer(consumer, &info);
    kr_consumer_set_word(consumer, 8, 1);
    kr_consumer_free(consumer);
}

static void produce(kr_map *map, char *area, unsigned doing)
{
    static const char bytes[40960];
    kr_failure why = {0};
    kr_role_info info;
    kr_sender *sender = kr_sender_open(map, area, &why);
    if (!sender)
        return;
    for (uint32_t length = 1; length < 3000; length *= 3)
        send_frame(sender, length, bytes, &length, 1);
    if (doing & SEND_LARGE)
        send_plain(sender, 2, 0, bytes, sizeof bytes);
    kr_pump(sender, 0);
    if (doing & SLEEP) {
        kr_producer_wait(kr_sender_producer(sender), 100, WAIT_NS);
        kr_producer_wait_fd(kr_sender_producer(sender), 100);
    }
    kr_producer_peer(kr_sender_producer(sender), &info);
    kr_sender_free(sender);
}

static void look(kr_map *map)
{
    kr_stats stats;
    kr_resume_point point;
    kr_times times;
    kr_map_stats(map, &stats);
    kr_map_resume(map, &point);
    kr_map_times(map, &times);
    kr_process_alive(stats.creator_pid, stats.creator_start);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, bytes + size};
    struct object *lying = object();
    kr_failure why = {0};
    resize(lying, (unsigned)input_number(&input, 1));
    unsigned doing = (unsigned)input_number(&input, 1), words = (unsigned)input_number(&input, 1);
    lie(lying, &input, doing, words);
    kr_map *map = kr_map_attach(lying->name, &why);
    MUST((map == NULL) == (why.code != 0));
    if (!map)
        return 0;
    MUST(kr_map_capacity(map) + lying->page == lying->size);
    look(map);
    char *area = kr_area_map(map, &why);
    MUST(area);
    if (doing & TAKE_PRODUCER)
        produce(map, area, doing);
    if (doing & TAKE_CONSUMER)
        consume(map, area, doing);
    kr_area_free(area);
    kr_map_close(map);
    return 0;
}
