/* One side is killed before every machine instruction of a call. The other side and a successor find a valid ring. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scratch_inbox.h"
#include "stepped.h"
#include "send_joined.h"

#define A_MOMENT 1 /* nanosecond */

struct scene {
    int role;                               /* of the victim, which is another process */
    void (*before)(struct scratch_ring *);  /* in the victim */
    void (*prepare)(struct scratch_ring *); /* then in this process */
    int (*act)(struct scratch_ring *);      /* in the victim, killed at an instruction of it */
    void (*check)(struct scratch_ring *);   /* in this process */
};

struct play {
    const struct scene *scene;
    struct scratch_ring ring;
    unsigned at;
};

static int act(void *argument)
{
    struct play *play = argument;
    return play->scene->act(&play->ring);
}

static void do_nothing(void *argument) { (void)argument; }
static void nothing(struct scratch_ring *ring) { (void)ring; }
static void die(void *argument)
{
    (void)argument;
    kill(getpid(), SIGKILL);
}

static void take_role(struct scratch_ring *ring, int role)
{
    if (role == KR_ROLE_PRODUCER)
        scratch_take_sender(ring);
    else
        scratch_take_consumer(ring);
}

/* Finds the instructions, in this process with both roles. */
static unsigned trace(struct play *play)
{
    struct stepped call = {.act = act, .move = do_nothing, .argument = play};
    scratch_create(&play->ring, 4096);
    take_role(&play->ring, play->scene->role);
    take_role(&play->ring, !play->scene->role);
    play->scene->before(&play->ring);
    play->scene->prepare(&play->ring);
    unsigned steps = stepped_trace(&call);
    scratch_close(&play->ring);
    scratch_remove_all();
    return steps;
}

static void victim(void *argument)
{
    struct play *play = argument, own = {.scene = play->scene};
    struct stepped call = {.act = act, .move = die, .argument = &own};
    scratch_attach(&own.ring, play->ring.name);
    take_role(&own.ring, play->scene->role);
    play->scene->before(&own.ring);
    child_say('r');
    child_hear();
    stepped_call(&call, play->at);
}

static void play(const struct scene *scene)
{
    static struct play play;
    struct child child;
    play.scene = scene;
    unsigned steps = trace(&play);
    for (play.at = 0; play.at < steps; play.at++) {
        scratch_create(&play.ring, 4096);
        take_role(&play.ring, !scene->role);
        child_start(&child, victim, &play);
        CHECK_EQ(child_listen(&child), 'r');
        scene->prepare(&play.ring);
        child_tell(&child, 'g');
        CHECK_EQ(child_listen(&child), 0);
        int status = child_reap(&child);
        CHECK_EQ(status, SIGKILL);
        scene->check(&play.ring);
        scratch_close(&play.ring);
        scratch_remove_all();
    }
}
#define PLAY(...) play(&(struct scene){__VA_ARGS__})

/* Drains until the producer is gone. All records are whole, as they were written. */
static int take_what_it_left(struct scratch_ring *ring)
{
    int found, taken = 0;
    while ((found = kr_consumer_wait(ring->consumer, -1, 0)) != KR_WAIT_GONE) {
        if (found == KR_WAIT_INTERRUPTED)
            continue;
        CHECK_EQ(scratch_take(ring), 1);
        CHECK_EQ(scratch_length(ring, 0), 8);
        CHECK(!memcmp(ring->area + ring->batch.index + KR_RECORD_BYTES, "12345678", 8));
        taken++;
    }
    return taken;
}

static void a_new_producer_is_heard(struct scratch_ring *ring)
{
    int fd = kr_consumer_wait_fd(ring->consumer);
    CHECK(scratch_readable(fd)); /* for the end of the old one */
    scratch_take_sender(ring);
    CHECK_EQ(scratch_take(ring), 0);
    CHECK(!scratch_readable(fd));
    CHECK_EQ(scratch_write(ring, 1), 1);
    CHECK(scratch_readable(fd));
    CHECK_EQ(scratch_take(ring), 1);
}

static void write_one(struct scratch_ring *ring) { CHECK_EQ(scratch_write(ring, 1), 1); }
static void write_two(struct scratch_ring *ring) { CHECK_EQ(scratch_write(ring, 2), 2); }
static int publish_two(struct scratch_ring *ring) { return scratch_write(ring, 2); }

static void take_and_park(struct scratch_ring *ring)
{
    CHECK_EQ(scratch_take(ring), 1);
    CHECK_EQ(kr_consumer_wait(ring->consumer, A_MOMENT, 0), KR_WAIT_TIMEOUT);
}

static void all_or_nothing(struct scratch_ring *ring)
{
    int taken = take_what_it_left(ring);
    CHECK(taken == 0 || taken == 2); /* one publish */
    a_new_producer_is_heard(ring);
}

static void a_producer_that_publishes(void)
{
    PLAY(KR_ROLE_PRODUCER, write_one, take_and_park, publish_two, all_or_nothing);
}

static void overflow(struct scratch_ring *ring)
{
    char bytes[4080] = {0};
    CHECK_EQ(kr_producer_write(ring->producer, bytes, sizeof bytes), 1);
    for (int i = 0; i < 3; i++)
        CHECK(send_plain(ring->sender, 2, 0, "12345678", 8) & KR_SEND_OVERFLOW);
}

static int pump(struct scratch_ring *ring) { return kr_pump(ring->sender, 0); }

static void as_many_as_were_moved(struct scratch_ring *ring)
{
    CHECK(take_what_it_left(ring) <= 3); /* the rest of the overflow died with it */
    a_new_producer_is_heard(ring);
}

static void take_the_first(struct scratch_ring *ring) { CHECK_EQ(scratch_take(ring), 1); }

static void a_producer_that_pumps(void)
{
    PLAY(KR_ROLE_PRODUCER, overflow, take_the_first, pump, as_many_as_were_moved);
}

/* The producer learns of the death. A successor finds the records that were not given back. */
static void at_most_two_come_again(struct scratch_ring *ring)
{
    while (kr_producer_wait(ring->producer, 4080, -1) != KR_WAIT_GONE)
        ;
    kr_sender_free(ring->sender);
    scratch_take_sender(ring);
    scratch_take_consumer(ring);
    int fd = kr_consumer_wait_fd(ring->consumer), left = 0;
    for (; scratch_has_records(ring); left++) {
        CHECK(scratch_readable(fd));
        CHECK_EQ(scratch_take(ring), 1);
        CHECK(!memcmp(ring->area + ring->batch.index + KR_RECORD_BYTES, "12345678", 8));
    }
    CHECK(left == 0 || left == 2);
    CHECK(!scratch_readable(fd));
    CHECK_EQ(kr_producer_wait(ring->producer, 4080, 0), KR_WAIT_READY);
    write_one(ring);
    CHECK(scratch_readable(fd));
}

static void watch(struct scratch_ring *ring) { CHECK(kr_consumer_wait_fd(ring->consumer) >= 0); }

static int drain_two(struct scratch_ring *ring)
{
    CHECK_EQ(scratch_drain(ring, 10, UINT64_MAX), 2);
    return scratch_release_all(ring);
}

static int wait_a_moment(struct scratch_ring *ring) { return kr_consumer_wait(ring->consumer, A_MOMENT, 0); }

static void a_consumer_that_drains(void)
{
    PLAY(KR_ROLE_CONSUMER, nothing, write_two, drain_two, at_most_two_come_again);
    PLAY(KR_ROLE_CONSUMER, watch, write_two, drain_two, at_most_two_come_again);
}

static void a_consumer_that_goes_to_sleep(void)
{
    PLAY(KR_ROLE_CONSUMER, nothing, nothing, wait_a_moment, at_most_two_come_again);
}

static void close_producer(struct scratch_ring *ring) { kr_sender_close(ring->sender); }
static void close_consumer(struct scratch_ring *ring) { kr_consumer_close(ring->consumer); }

static int open_and_close_producer(struct scratch_ring *ring)
{
    kr_sender_free(ring->sender);
    scratch_take_sender(ring);
    kr_sender_close(ring->sender);
    return 0;
}

static int open_and_close_consumer(struct scratch_ring *ring)
{
    kr_consumer_free(ring->consumer);
    scratch_take_consumer(ring);
    kr_consumer_close(ring->consumer);
    return 0;
}

static void the_producer_is_free(struct scratch_ring *ring)
{
    scratch_take_sender(ring);
    write_one(ring);
    CHECK_EQ(kr_consumer_wait(ring->consumer, -1, 0), KR_WAIT_READY);
    CHECK_EQ(scratch_take(ring), 1);
}

static void the_consumer_is_free(struct scratch_ring *ring)
{
    kr_sender_free(ring->sender); /* it has seen the end of the first holder */
    scratch_take_sender(ring);
    scratch_take_consumer(ring);
    write_one(ring);
    CHECK_EQ(kr_consumer_wait(ring->consumer, -1, 0), KR_WAIT_READY);
    CHECK_EQ(scratch_take(ring), 1);
}

static void one_that_takes_or_gives_up_its_role(void)
{
    PLAY(KR_ROLE_PRODUCER, close_producer, nothing, open_and_close_producer, the_producer_is_free);
    PLAY(KR_ROLE_CONSUMER, close_consumer, nothing, open_and_close_consumer, the_consumer_is_free);
}

static const struct check_case cases[] = {
    CASE(a_producer_that_publishes),
    CASE(a_producer_that_pumps),
    CASE(a_consumer_that_drains),
    CASE(a_consumer_that_goes_to_sleep),
    CASE(one_that_takes_or_gives_up_its_role),
};
CHECK_MAIN(cases)
