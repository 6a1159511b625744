/* One side stops in the middle of a call, at every machine instruction of it, and the other side moves there.
 *
 * For any order that the compiler gave the loads and stores of sleep and wake, the other side moves between each two of
 * them. This test does not see what a processor reorders. */
#include "check.h"
#include "scratch_inbox.h"
#include "stepped.h"
#include "send_joined.h"

#define A_MOMENT 1 /* nanosecond: a wait that gets ready for its sleep, and looks, and is over */

struct scene {
    void (*before)(struct scratch_ring *);
    int (*act)(struct scratch_ring *); /* this call is stepped */
    int (*move)(struct scratch_ring *);
    void (*check)(struct scratch_ring *, int acted, int moved);
};

struct play {
    const struct scene *scene;
    struct scratch_ring ring;
    int moved;
};

static int act(void *argument)
{
    struct play *play = argument;
    return play->scene->act(&play->ring);
}

static void move(void *argument)
{
    struct play *play = argument;
    play->moved = play->scene->move(&play->ring);
}

static void once(struct play *play, struct stepped *call)
{
    CHECK(!call->slept_for_ever);
    play->scene->check(&play->ring, call->answer, play->moved);
}

/* Plays a scene with the move after the call, and then before each instruction in turn. */
static void play(const struct scene *scene)
{
    static struct play play;
    struct stepped call = {.act = act, .move = move, .argument = &play};
    play.scene = scene;
    scratch_open_sender(&play.ring, 4096);
    if (scene->before)
        scene->before(&play.ring);
    unsigned steps = stepped_trace(&call);
    once(&play, &call);
    for (unsigned at = 0; at < steps; at++) {
        if (scene->before)
            scene->before(&play.ring);
        stepped_call(&call, at);
        once(&play, &call);
    }
    scratch_close(&play.ring);
}
#define PLAY(...) play(&(struct scene){__VA_ARGS__})

static int write_one(struct scratch_ring *ring) { return scratch_write(ring, 1); }
static int write_two(struct scratch_ring *ring) { return scratch_write(ring, 2); }
static void have_two(struct scratch_ring *ring) { CHECK_EQ(write_two(ring), 2); }

static void have_no_space(struct scratch_ring *ring)
{
    static const char bytes[4080];
    CHECK_EQ(kr_producer_write(ring->producer, bytes, sizeof bytes), 1);
}

static int take_twice(struct scratch_ring *ring) { return scratch_take(ring) + scratch_take(ring); }

static void take_all(struct scratch_ring *ring)
{
    while (scratch_take(ring))
        ;
}

/* The consumer is in the middle of its call. */

static int wait_for_records(struct scratch_ring *ring) { return kr_consumer_wait(ring->consumer, -1, 0); }

static void ask_before(struct scratch_ring *ring)
{
    CHECK_EQ(kr_consumer_wait(ring->consumer, A_MOMENT, 0), KR_WAIT_TIMEOUT);
}

static void one_is_there(struct scratch_ring *ring, int acted, int moved)
{
    CHECK_EQ(moved, 1);
    CHECK_EQ(acted, KR_WAIT_READY);
    CHECK_EQ(scratch_take(ring), 1);
}

static void a_record_published_at_any_step_ends_the_wait(void)
{
    PLAY(NULL, wait_for_records, write_one, one_is_there);
    PLAY(ask_before, wait_for_records, write_one, one_is_there);
}

static void reopen_producer(struct scratch_ring *ring)
{
    kr_sender_free(ring->sender);
    scratch_take_sender(ring);
    take_all(ring);
}

static int write_and_close(struct scratch_ring *ring)
{
    int wrote = write_one(ring);
    kr_sender_close(ring->sender);
    return wrote;
}

static void a_record_before_the_end_is_never_missed(void)
{
    PLAY(reopen_producer, wait_for_records, write_and_close, one_is_there);
}

static void watch(struct scratch_ring *ring)
{
    take_all(ring);
    CHECK(kr_consumer_wait_fd(ring->consumer) >= 0);
}

static void watch_two(struct scratch_ring *ring)
{
    watch(ring);
    have_two(ring);
}

static int see_again(struct scratch_ring *ring)
{
    CHECK(scratch_drain(ring, 2, UINT64_MAX) > 0);
    return kr_consumer_release(ring->consumer, ring->batch.position, 0, 1);
}

/* The descriptor as an event loop uses it: no call in between repairs it. */
static void is_readable(struct scratch_ring *ring, int acted, int moved)
{
    (void)acted, (void)moved;
    while (scratch_has_records(ring)) {
        CHECK(scratch_readable(ring->consumer->peer.wait_fd));
        CHECK_EQ(scratch_take(ring), 1);
    }
    CHECK_EQ(write_one(ring), 1); /* and the next one rings again */
    CHECK(scratch_readable(ring->consumer->peer.wait_fd));
}

static void a_record_published_at_any_step_of_a_drain_rings_the_descriptor(void)
{
    PLAY(watch, scratch_take, write_one, is_readable);
    PLAY(watch_two, scratch_take, write_one, is_readable);
    PLAY(watch_two, take_twice, write_one, is_readable);
    PLAY(watch_two, see_again, write_one, is_readable);
}

static int ask_for_space(struct scratch_ring *ring) { return kr_producer_wait(ring->producer, 4080, A_MOMENT); }
static int watch_for_space(struct scratch_ring *ring) { return kr_producer_wait_fd(ring->producer, 4080); }

static void space_was_rung(struct scratch_ring *ring, int acted, int moved)
{
    (void)acted;
    if (moved == KR_WAIT_TIMEOUT)
        CHECK(scratch_bell_rung(ring->map->space_bell));
    else
        CHECK_EQ(moved, KR_WAIT_READY);
}

static void space_is_readable(struct scratch_ring *ring, int acted, int moved)
{
    (void)ring, (void)acted;
    CHECK(scratch_readable(moved));
}

static void asking_for_space_at_any_step_of_a_release_is_heard(void)
{
    PLAY(have_no_space, scratch_take, ask_for_space, space_was_rung);
    PLAY(have_no_space, scratch_take, watch_for_space, space_is_readable);
}

/* The producer is in the middle of its call. */

static int ask_for_records(struct scratch_ring *ring) { return kr_consumer_wait(ring->consumer, A_MOMENT, 0); }

static void records_were_rung(struct scratch_ring *ring, int acted, int moved)
{
    (void)acted;
    if (moved == KR_WAIT_TIMEOUT)
        CHECK(scratch_bell_rung(ring->map->data_bell));
    else
        CHECK_EQ(moved, KR_WAIT_READY);
    take_all(ring);
}

static void asking_for_records_at_any_step_of_a_publish_is_heard(void)
{
    PLAY(NULL, write_one, ask_for_records, records_were_rung);
    PLAY(ask_before, write_one, ask_for_records, records_were_rung);
}

static void a_drain_at_any_step_of_a_publish_leaves_the_descriptor_right(void)
{
    PLAY(watch, write_two, scratch_take, is_readable);
    PLAY(watch, write_two, take_twice, is_readable);
    PLAY(watch_two, write_two, scratch_take, is_readable);
    PLAY(watch_two, write_two, take_twice, is_readable);
}

static int commit_and_close(struct scratch_ring *ring)
{
    CHECK(kr_chunk_reserve(ring->sender, 8) >= 0);
    CHECK_EQ(kr_producer_commit(ring->producer, 8), 0);
    kr_sender_close(ring->sender);
    return 0;
}

static void the_end_was_rung(struct scratch_ring *ring, int acted, int moved)
{
    (void)acted;
    if (moved == KR_WAIT_TIMEOUT)
        CHECK(scratch_bell_rung(ring->map->data_bell));
    if (moved == KR_WAIT_GONE)
        CHECK(!scratch_has_records(ring));
    CHECK_EQ(wait_for_records(ring), scratch_has_records(ring) ? KR_WAIT_READY : KR_WAIT_GONE);
}

static void asking_for_records_at_any_step_of_the_end_is_heard(void)
{
    PLAY(reopen_producer, write_and_close, ask_for_records, the_end_was_rung);
    PLAY(reopen_producer, commit_and_close, ask_for_records, the_end_was_rung);
}

static int wait_for_space(struct scratch_ring *ring) { return kr_producer_wait(ring->producer, 4080, -1); }

static void there_is_space(struct scratch_ring *ring, int acted, int moved)
{
    (void)ring;
    CHECK_EQ(moved, 1);
    CHECK_EQ(acted, KR_WAIT_READY);
}

static void have_overflow(struct scratch_ring *ring)
{
    have_no_space(ring);
    CHECK_EQ(send_plain(ring->sender, 1, 0, "", 0), KR_SEND_OVERFLOW);
}

static int pump(struct scratch_ring *ring) { return kr_pump(ring->sender, -1); }

static void all_is_moved(struct scratch_ring *ring, int acted, int moved)
{
    CHECK_EQ(moved, 1);
    CHECK_EQ(acted, KR_PUMP_DONE);
    CHECK_EQ(scratch_take(ring), 1);
}

static void space_given_back_at_any_step_ends_the_wait(void)
{
    PLAY(have_no_space, wait_for_space, scratch_take, there_is_space);
    PLAY(have_overflow, pump, scratch_take, all_is_moved);
}

static const struct check_case cases[] = {
    CASE(a_record_published_at_any_step_ends_the_wait),
    CASE(a_record_before_the_end_is_never_missed),
    CASE(a_record_published_at_any_step_of_a_drain_rings_the_descriptor),
    CASE(asking_for_space_at_any_step_of_a_release_is_heard),
    CASE(asking_for_records_at_any_step_of_a_publish_is_heard),
    CASE(a_drain_at_any_step_of_a_publish_leaves_the_descriptor_right),
    CASE(asking_for_records_at_any_step_of_the_end_is_heard),
    CASE(space_given_back_at_any_step_ends_the_wait),
};
CHECK_MAIN(cases)
